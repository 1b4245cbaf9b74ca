//! `#[export]` in front of an `impl` of the callback layer.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, ImplItem, ItemImpl, Result, Token, Type};

use crate::callback::{ALWAYS, CALLS, Callback, GRPC, GRPC_STREAMS, HTTP, PLUGIN, TCP};

/// What stands in the attribute's brackets.
#[derive(Default)]
pub(crate) struct Options {
    calls: bool,
    grpc: bool,
    grpc_streams: bool,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        for word in input.parse_terminated(Ident::parse, Token![,])? {
            match word.to_string().as_str() {
                "calls" => options.calls = true,
                "grpc" => options.grpc = true,
                "grpc_streams" => options.grpc_streams = true,
                _ => {
                    return Err(Error::new(
                        word.span(),
                        "the options are `calls`, `grpc` and `grpc_streams`",
                    ));
                }
            }
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
    // Streams' callbacks are those of calls, and more.
    if options.grpc_streams {
        callbacks.extend(GRPC_STREAMS);
    } else if options.grpc {
        callbacks.extend(GRPC);
    }
    let Options {
        calls,
        grpc_streams,
        ..
    } = options;
    let grpc = options.grpc || options.grpc_streams;
    let exports = exports(plugin, &quote!(#plugin), &callbacks);
    let wants_calls = !written(item, CALLS).is_empty();
    let wants_grpc = !written(item, GRPC).is_empty();
    let wants_streams = !written(item, GRPC_STREAMS).is_empty();
    quote! {
        #[cfg(target_arch = "wasm32")]
        ::cofferdam_sdk::abi!(::cofferdam_sdk::log::set_panic_hook);

        impl ::cofferdam_sdk::callbacks::Entry for #plugin {
            const CALLS: bool = #calls;
            const GRPC: bool = #grpc;
            const GRPC_STREAMS: bool = #grpc_streams;

            fn with<R>(call: impl FnOnce(&::cofferdam_sdk::callbacks::Dispatcher<Self>) -> R) -> R {
                ::std::thread_local! {
                    static MODULE: ::cofferdam_sdk::callbacks::Dispatcher<#plugin> =
                        const { ::cofferdam_sdk::callbacks::Dispatcher::new() };
                }
                MODULE.with(call)
            }
        }
        const _: () = {
            assert!(#calls || !#wants_calls, "nothing calls on_http_call_response: #[export(calls)]");
            assert!(#grpc || !#wants_grpc, "nothing calls on_grpc_response: #[export(grpc)]");
            assert!(
                #grpc_streams || !#wants_streams,
                "nothing calls on_grpc_event: #[export(grpc_streams)]",
            );
        };
        #exports
    }
}

fn stream(item: &ItemImpl, list: &'static [Callback], of: &TokenStream) -> TokenStream {
    let stream = &*item.self_ty;
    let plugin = quote!(<#stream as ::cofferdam_sdk::callbacks::#of>::Plugin);
    let exports = exports(stream, &plugin, &written(item, list));
    let wants_calls = !written(item, CALLS).is_empty();
    let wants_grpc = !written(item, GRPC).is_empty();
    let wants_streams = !written(item, GRPC_STREAMS).is_empty();
    quote! {
        impl ::cofferdam_sdk::callbacks::Stream for #stream {
            fn wake(&mut self) {
                ::cofferdam_sdk::callbacks::#of::on_wake(self);
            }

            fn http_call_response(&mut self, token: u32, response: ::cofferdam_sdk::HttpCallResponse) {
                ::cofferdam_sdk::callbacks::#of::on_http_call_response(self, token, response);
            }

            fn grpc_response(&mut self, token: u32, response: ::cofferdam_sdk::GrpcResponse) {
                ::cofferdam_sdk::callbacks::#of::on_grpc_response(self, token, response);
            }

            fn grpc_event(&mut self, token: u32, event: ::cofferdam_sdk::grpc::GrpcEvent) {
                ::cofferdam_sdk::callbacks::#of::on_grpc_event(self, token, event);
            }

            fn log(&mut self) {
                ::cofferdam_sdk::callbacks::#of::on_log(self);
            }
        }
        const _: () = {
            assert!(
                <#plugin as ::cofferdam_sdk::callbacks::Entry>::CALLS || !#wants_calls,
                "nothing calls on_http_call_response: write #[export(calls)] before the Plugin",
            );
            assert!(
                <#plugin as ::cofferdam_sdk::callbacks::Entry>::GRPC || !#wants_grpc,
                "nothing calls on_grpc_response: write #[export(grpc)] before the Plugin",
            );
            assert!(
                <#plugin as ::cofferdam_sdk::callbacks::Entry>::GRPC_STREAMS || !#wants_streams,
                "nothing calls on_grpc_event: write #[export(grpc_streams)] before the Plugin",
            );
        };
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
