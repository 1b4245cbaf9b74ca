//! The attributes of `cofferdam-sdk`; they are documented, and tested, there.

mod callback;
mod export;
mod filter;
mod schema;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Makes exports of the methods that are written in an `impl` of `Plugin`, `HttpFilter` or
/// `TcpFilter`, and of no others.
///
/// In front of a `Plugin` it also writes what every module needs (`abi!`, with the panic
/// hook). `#[export(calls)]` there says that the plugin or its streams make HTTP calls and
/// want the answers.
#[proc_macro_attribute]
pub fn export(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as export::Options);
    let item = parse_macro_input!(item as syn::ItemImpl);
    export::expand(&options, &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a filter of an `async fn`: `(config: &Config, request: Request, …)` to
/// `Result<Response>`. The module `filter` of `cofferdam-sdk` says what the signature means.
///
/// Options: `on_error = 503` is the status of the answer when the function returns an `Err`
/// (500 by default), `on_error = "open"` lets the exchange go on instead;
/// `background = path` names an `async fn(&Config, Http, Clock) -> Result<()>` that runs
/// beside all exchanges from when the filter is configured.
#[proc_macro_attribute]
pub fn filter(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as filter::Options);
    let item = parse_macro_input!(item as syn::ItemFn);
    filter::expand(&options, &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Describes a configuration as JSON schema, from its fields, their comments and serde's
/// attributes.
#[proc_macro_derive(Schema, attributes(schema, serde))]
pub fn schema(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as syn::DeriveInput);
    schema::expand(&item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
