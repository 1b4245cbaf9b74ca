//! The attributes of `cofferdam-sdk`; they are documented, and tested, there.

mod callback;
mod export;

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
