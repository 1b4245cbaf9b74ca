//! `#[export]` in front of an `impl` of the callback layer.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, ImplItem, ItemImpl, Result, Token, Type};

use crate::callback::{ALWAYS, CALLS, Callback, HTTP, PLUGIN, TCP};

/// What stands in the attribute's brackets.
#[derive(Default)]
pub(crate) struct Options {
    calls: bool,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        for word in input.parse_terminated(Ident::parse, Token![,])? {
            if word != "calls" {
                return Err(Error::new(word.span(), "the one option is `calls`"));
            }
            options.calls = true;
        }
        Ok(options)
    }
}

pub(crate) fn expand(options: &Options, item: &ItemImpl) -> Result<TokenStream> {
    let Some((None, path, _)) = &item.trait_ else {
        return Err(Error::new_spanned(
            item,
            "this stands in front of `impl Plugin`, `impl HttpFilter` or `impl TcpFilter`",
        ));
    };
    if !item.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &item.generics,
            "a module exports one filter: the type must be whole",
        ));
    }
    let name = path
        .segments
        .last()
        .map(|segment| segment.ident.to_string());
    let expanded = match name.as_deref() {
        Some("Plugin") => plugin(options, item),
        Some("HttpFilter") => stream(item, HTTP, &quote!(HttpFilter)),
        Some("TcpFilter") => stream(item, TCP, &quote!(TcpFilter)),
        _ => {
            return Err(Error::new_spanned(
                path,
                "of this trait nothing is exported",
            ));
        }
    };
    Ok(quote!(#item #expanded))
}

/// The rows of `list` whose methods are written in the `impl`.
fn written(item: &ItemImpl, list: &'static [Callback]) -> Vec<&'static Callback> {
    let has = |name: &str| {
        item.items
            .iter()
            .any(|member| matches!(member, ImplItem::Fn(method) if method.sig.ident == name))
    };
    list.iter()
        .filter(|callback| has(callback.method))
        .collect()
}

fn plugin(options: &Options, item: &ItemImpl) -> TokenStream {
    let plugin = &*item.self_ty;
    let mut callbacks: Vec<&Callback> = ALWAYS.iter().collect();
    callbacks.extend(written(item, PLUGIN));
    if options.calls {
        callbacks.extend(CALLS);
    }
    let calls = options.calls;
    let exports = exports(plugin, &quote!(#plugin), &callbacks);
    let wants_calls = !written(item, CALLS).is_empty();
    quote! {
        #[cfg(target_arch = "wasm32")]
        ::cofferdam_sdk::abi!(::cofferdam_sdk::log::set_panic_hook);

        impl ::cofferdam_sdk::callbacks::Entry for #plugin {
            const CALLS: bool = #calls;

            fn with<R>(call: impl FnOnce(&::cofferdam_sdk::callbacks::Dispatcher<Self>) -> R) -> R {
                ::std::thread_local! {
                    static MODULE: ::cofferdam_sdk::callbacks::Dispatcher<#plugin> =
                        const { ::cofferdam_sdk::callbacks::Dispatcher::new() };
                }
                MODULE.with(call)
            }
        }
        const _: () = assert!(#calls || !#wants_calls, "on_http_call_response is never called: write #[export(calls)]");
        #exports
    }
}

fn stream(item: &ItemImpl, list: &'static [Callback], of: &TokenStream) -> TokenStream {
    let stream = &*item.self_ty;
    let plugin = quote!(<#stream as ::cofferdam_sdk::callbacks::#of>::Plugin);
    let exports = exports(stream, &plugin, &written(item, list));
    let wants_calls = !written(item, CALLS).is_empty();
    quote! {
        impl ::cofferdam_sdk::callbacks::Stream for #stream {
            fn wake(&mut self) {
                ::cofferdam_sdk::callbacks::#of::on_wake(self);
            }

            fn http_call_response(&mut self, token: u32, response: ::cofferdam_sdk::HttpCallResponse) {
                ::cofferdam_sdk::callbacks::#of::on_http_call_response(self, token, response);
            }

            fn log(&mut self) {
                ::cofferdam_sdk::callbacks::#of::on_log(self);
            }
        }
        const _: () = assert!(
            <#plugin as ::cofferdam_sdk::callbacks::Entry>::CALLS || !#wants_calls,
            "on_http_call_response is never called: write #[export(calls)] in front of the Plugin",
        );
        #exports
    }
}

fn exports(of: &Type, plugin: &TokenStream, callbacks: &[&Callback]) -> TokenStream {
    let with = quote!(<#plugin as ::cofferdam_sdk::callbacks::Entry>::with);
    let functions = callbacks.iter().map(|callback| callback.export(&with));
    let rows = callbacks.iter().map(|callback| callback.row());
    quote! {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #(#functions)*
        };

        #[cfg(not(target_arch = "wasm32"))]
        impl ::cofferdam_sdk::callbacks::Exports<#plugin> for #of {
            const CALLBACKS: &'static [::cofferdam_sdk::callbacks::Callback<#plugin>] = &[#(#rows),*];
        }
    }
}
