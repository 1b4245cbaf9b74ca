//! The callbacks of the ABI, by the methods that become them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

/// A callback: the method of a trait, and the export that calls it.
pub(crate) struct Callback {
    pub(crate) method: &'static str,
    export: &'static str,
    /// Names of the export's arguments, each an `u32`.
    arguments: &'static [&'static str],
    /// Whether it answers an `u32`, and not nothing.
    returns: bool,
    /// The call of a method of `Dispatcher`.
    call: &'static str,
}

macro_rules! callbacks {
    ($($list:ident { $($method:ident => $export:ident ($($argument:ident),*) $(-> $result:ident)?
        = $call:expr;)* })*) => {
        $(pub(crate) static $list: &[Callback] = &[$(Callback {
            method: stringify!($method),
            export: stringify!($export),
            arguments: &[$(stringify!($argument)),*],
            returns: callbacks!(@has $($result)?),
            call: stringify!($call),
        }),*];)*
    };
    (@has) => { false };
    (@has $result:ident) => { true };
}

callbacks! {
    ALWAYS {
        stream => proxy_on_context_create(id, parent) = context_create(id, parent);
        configure => proxy_on_configure(root, _size) -> u32 = configure(root).into();
        delete => proxy_on_delete(id) = delete(id);
    }
    PLUGIN {
        on_tick => proxy_on_tick(root) = tick(root);
        on_queue_ready => proxy_on_queue_ready(root, queue) = queue_ready(root, queue);
        on_done => proxy_on_done(id) -> u32 = done(id).into();
    }
    CALLS {
        on_http_call_response
            => proxy_on_http_call_response(root, token, headers, size, trailers)
            = http_call_response(root, token, [headers, size, trailers]);
    }
    GRPC {
        on_grpc_response => proxy_on_grpc_receive(root, token, size)
            = grpc_receive(root, token, size);
        on_grpc_response => proxy_on_grpc_close(root, token, status)
            = grpc_close(root, token, status);
    }
    GRPC_STREAMS {
        on_grpc_event => proxy_on_grpc_receive_initial_metadata(root, token, count)
            = grpc_initial_metadata(root, token, count);
        on_grpc_event => proxy_on_grpc_receive(root, token, size)
            = grpc_message(root, token, size);
        on_grpc_event => proxy_on_grpc_receive_trailing_metadata(root, token, count)
            = grpc_trailing_metadata(root, token, count);
        on_grpc_event => proxy_on_grpc_close(root, token, status)
            = grpc_end(root, token, status);
    }
    HTTP {
        on_request_headers => proxy_on_request_headers(id, _count, end) -> u32
            = request_headers(id, end != 0);
        on_request_body => proxy_on_request_body(id, size, end) -> u32
            = request_body(id, size, end != 0);
        on_request_trailers => proxy_on_request_trailers(id, _count) -> u32 = request_trailers(id);
        on_response_headers => proxy_on_response_headers(id, _count, end) -> u32
            = response_headers(id, end != 0);
        on_response_body => proxy_on_response_body(id, size, end) -> u32
            = response_body(id, size, end != 0);
        on_response_trailers => proxy_on_response_trailers(id, _count) -> u32
            = response_trailers(id);
        on_log => proxy_on_log(id) = log(id);
    }
    TCP {
        on_new_connection => proxy_on_new_connection(id) -> u32 = new_connection(id);
        on_downstream_data => proxy_on_downstream_data(id, size, end) -> u32
            = downstream_data(id, size, end != 0);
        on_upstream_data => proxy_on_upstream_data(id, size, end) -> u32
            = upstream_data(id, size, end != 0);
        on_downstream_close => proxy_on_downstream_connection_close(id, by)
            = downstream_close(id, by);
        on_upstream_close => proxy_on_upstream_connection_close(id, by) = upstream_close(id, by);
        on_log => proxy_on_log(id) = log(id);
    }
}

// === impl Callback ===

impl Callback {
    /// The export of the module. `with` is a path to a function that lends the dispatcher.
    pub(crate) fn export(&self, with: &TokenStream) -> TokenStream {
        let (name, arguments, call) = self.parts();
        let result = self.returns.then(|| quote!(-> u32));
        quote! {
            #[unsafe(no_mangle)]
            extern "C" fn #name(#(#arguments: u32),*) #result {
                #with(|dispatcher| dispatcher.#call)
            }
        }
    }

    /// Its row in `Exports::CALLBACKS`.
    pub(crate) fn row(&self) -> TokenStream {
        let name = self.export;
        let (_, arguments, call) = self.parts();
        let rest = (arguments.len() < 5).then(|| quote!(, ..));
        let none = (!self.returns).then(|| quote!(; 0));
        quote!((#name, |dispatcher, [#(#arguments),* #rest]| { dispatcher.#call #none }))
    }

    fn parts(&self) -> (Ident, Vec<Ident>, TokenStream) {
        let ident = |name: &&str| Ident::new(name, Span::call_site());
        (
            ident(&self.export),
            self.arguments.iter().map(ident).collect(),
            // It has been Rust before it was text.
            self.call.parse().unwrap_or_default(),
        )
    }
}
