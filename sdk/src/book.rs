//! The book in `docs`, compiled and run as documentation tests. `tests/book.rs` sees that no
//! chapter is missing here.

macro_rules! chapters {
    ($($name:ident $file:literal;)*) => {
        $(#[doc = include_str!(concat!("../docs/", $file))]
        mod $name {})*
    };
}

chapters! {
    index "README.md";
    first_filter "01-first-filter.md";
    exchange "02-exchange.md";
    headers "03-headers.md";
    bodies "04-bodies.md";
    waiting "05-waiting.md";
    configuration "06-configuration.md";
    state "07-state.md";
    testing "08-testing.md";
    small_and_fast "09-small-and-fast.md";
    tcp "10-tcp.md";
    deploying "11-deploying.md";
    from_proxy_wasm "12-from-proxy-wasm.md";
}
