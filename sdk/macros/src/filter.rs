//! `#[filter]` in front of an `async fn`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{
    Error, FnArg, GenericArgument, Ident, ItemFn, LitStr, Path, PathArguments, PathSegment, Result,
    ReturnType, Token, Type,
};

use crate::callback::{ALWAYS, CALLS, Callback, GRPC, GRPC_STREAMS, HTTP, PLUGIN, TCP};

/// What stands in the attribute's brackets.
#[derive(Default)]
pub(crate) struct Options {
    on_error: OnError,
    background: Option<Path>,
}

#[derive(Default)]
enum OnError {
    #[default]
    Fail,
    Status(u16),
    Open,
}

/// What the signature says.
struct Signature {
    config: Option<Type>,
    request: Kind,
    tools: Vec<Type>,
    response: Kind,
    /// It is of connections, not of HTTP.
    tcp: bool,
}

/// What is seen of a message.
struct Kind {
    marker: TokenStream,
    seen: bool,
    held: bool,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match name.to_string().as_str() {
                "on_error" => options.on_error = input.parse()?,
                "background" => options.background = Some(input.parse()?),
                _ => {
                    let wrong = "the options are `on_error` and `background`";
                    return Err(Error::new(name.span(), wrong));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Parse for OnError {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let wrong = "`\"open\"`, or the status of the answer (200 to 599)";
        if input.peek(LitStr) {
            let text: LitStr = input.parse()?;
            return match text.value().as_str() {
                "open" => Ok(Self::Open),
                _ => Err(Error::new(text.span(), wrong)),
            };
        }
        let status: syn::LitInt = input.parse()?;
        match status.base10_parse() {
            Ok(code @ 200..=599) => Ok(Self::Status(code)),
            _ => Err(Error::new(status.span(), wrong)),
        }
    }
}

pub(crate) fn expand(options: &Options, item: &ItemFn) -> Result<TokenStream> {
    let signature = Signature::read(item)?;
    let (name, visibility) = (&item.sig.ident, &item.vis);
    let none: Type = syn::parse_quote!(::cofferdam_sdk::config::None);
    let config = signature.config.as_ref().unwrap_or(&none);
    let held = signature.request.held || signature.response.held;
    let stream = match signature.tcp {
        false => quote!(Exchange),
        true => quote!(Wire),
    };
    let on_error = match options.on_error {
        OnError::Fail => quote!(Reply(500)),
        OnError::Status(status) => quote!(Reply(#status)),
        OnError::Open => quote!(Open),
    };
    let call = call(name, &signature);
    let background = options.background.as_ref().map(background);
    let exports = exports(name, options, &signature);
    Ok(quote! {
        #item

        /// The filter, as a type.
        #[allow(non_camel_case_types, reason = "it is named like the function")]
        #[derive(Debug)]
        #visibility enum #name {}

        impl ::cofferdam_sdk::filter::Function for #name {
            type Config = #config;
            type Stream = ::cofferdam_sdk::filter::#stream<Self>;
            const ON_ERROR: ::cofferdam_sdk::filter::OnError =
                ::cofferdam_sdk::filter::OnError::#on_error;

            const HELD: bool = #held;

            #background
        }

        #call
        #exports
    })
}

/// The `impl` that calls the function.
fn call(name: &Ident, signature: &Signature) -> TokenStream {
    let lent = signature.config.is_some().then(|| quote!(&config,));
    let tools = &signature.tools;
    let tool_names: Vec<Ident> = (0..tools.len())
        .map(|at| format_ident!("tool_{at}"))
        .collect();
    let (kind, associated, given, result) = if signature.tcp {
        let given = quote!(::cofferdam_sdk::filter::Connection);
        (quote!(TcpFunction), quote!(), given, quote!(()))
    } else {
        let (request, response) = (&signature.request.marker, &signature.response.marker);
        (
            quote!(HttpFunction),
            quote!(type Request = #request; type Response = #response;),
            quote!(::cofferdam_sdk::filter::Request<#request>),
            quote!(::cofferdam_sdk::filter::Response<#response>),
        )
    };
    quote! {
        impl ::cofferdam_sdk::filter::#kind for #name {
            #associated

            fn call(
                config: ::std::rc::Rc<Self::Config>,
                given: #given,
                tools: &::cofferdam_sdk::filter::Tools,
            ) -> ::cofferdam_sdk::filter::Pending<::cofferdam_sdk::Result<#result>> {
                let _ = (&config, tools);
                #(let #tool_names = <#tools as ::cofferdam_sdk::filter::Tool>::of(tools);)*
                ::std::boxed::Box::pin(async move { #name(#lent given, #(#tool_names),*).await })
            }
        }

        // Off wasm nothing else uses what tests may.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(
            ::std::rc::Rc<<#name as ::cofferdam_sdk::filter::Function>::Config>,
            #given,
            &::cofferdam_sdk::filter::Tools,
        ) -> ::cofferdam_sdk::filter::Pending<::cofferdam_sdk::Result<#result>> =
            <#name as ::cofferdam_sdk::filter::#kind>::call;
    }
}

fn background(path: &Path) -> TokenStream {
    quote! {
        fn background(
            config: ::std::rc::Rc<Self::Config>,
            tools: &::cofferdam_sdk::filter::Tools,
        ) -> ::core::option::Option<
            ::cofferdam_sdk::filter::Pending<::cofferdam_sdk::Result<()>>
        > {
            let http = <::cofferdam_sdk::filter::Http as ::cofferdam_sdk::filter::Tool>::of(tools);
            let clock = <::cofferdam_sdk::filter::Clock as ::cofferdam_sdk::filter::Tool>::of(tools);
            ::core::option::Option::Some(::std::boxed::Box::pin(async move {
                #path(&config, http, clock).await
            }))
        }
    }
}

fn exports(name: &Ident, options: &Options, signature: &Signature) -> TokenStream {
    let Signature {
        config,
        request,
        tools,
        response,
        tcp,
    } = signature;
    let has_tool = |wanted: &str| {
        tools
            .iter()
            .any(|tool| last(tool).is_some_and(|s| s.ident == wanted))
    };
    let beside = options.background.is_some();
    let calls = beside || has_tool("Http");
    let ticks = beside || has_tool("Clock") || request.held || response.held;
    let wanted = |callback: &&Callback| match callback.method {
        "on_request_headers" | "on_response_headers" => !tcp,
        "on_new_connection" | "on_downstream_data" | "on_upstream_data" => *tcp,
        "on_request_body" | "on_request_trailers" => request.seen,
        "on_response_body" | "on_response_trailers" => response.seen,
        "on_tick" => ticks,
        _ => false,
    };
    let mut callbacks: Vec<&Callback> = ALWAYS.iter().collect();
    callbacks.extend(PLUGIN.iter().chain(HTTP).chain(TCP).filter(wanted));
    if calls {
        callbacks.extend(CALLS);
    }
    let (grpc, streams) = (has_tool("Grpc"), has_tool("GrpcStreams"));
    // Streams' callbacks are those of calls, and more.
    if streams {
        callbacks.extend(GRPC_STREAMS);
    } else if grpc {
        callbacks.extend(GRPC);
    }
    let functions = callbacks
        .iter()
        .map(|callback| callback.export(&quote!(with)));
    let rows = callbacks.iter().map(|callback| callback.row());
    let schema = config.as_ref().map(|config| {
        quote! {
            #[cfg(target_arch = "wasm32")]
            const _: () = {
                const SCHEMA: &::cofferdam_sdk::config::schema::Piece =
                    <#config as ::cofferdam_sdk::config::Schema>::SCHEMA;
                #[used]
                #[unsafe(link_section = "filter.schema")]
                static SECTION: [u8; SCHEMA.length() + 2] = SCHEMA.braced();
            };
        }
    });
    let mark = (request.held || response.held).then(|| {
        let ways: &[u8] = match (request.held, response.held) {
            (true, true) => b"request,response",
            (true, false) => b"request",
            _ => b"response",
        };
        let (text, length) = (proc_macro2::Literal::byte_string(ways), ways.len());
        quote! {
            #[cfg(target_arch = "wasm32")]
            const _: () = {
                #[used]
                #[unsafe(link_section = "filter.hold_headers")]
                static SECTION: [u8; #length] = *#text;
            };
        }
    });
    let checks = [request, response].map(|kind| {
        let Kind { marker, seen, held } = kind;
        quote! {
            assert!(
                <#marker as ::cofferdam_sdk::filter::BodyKind>::SEEN == #seen
                    && <#marker as ::cofferdam_sdk::filter::BodyKind>::HELD == #held,
                "write NoBody, Body or Held in the signature, and not another name for it",
            );
        }
    });
    let tool_checks = tools.iter().map(|tool| {
        quote! {
            assert!(
                (!<#tool as ::cofferdam_sdk::filter::Tool>::CALLS || #calls)
                    && (!<#tool as ::cofferdam_sdk::filter::Tool>::GRPC || #grpc)
                    && (!<#tool as ::cofferdam_sdk::filter::Tool>::GRPC_STREAMS || #streams)
                    && (!<#tool as ::cofferdam_sdk::filter::Tool>::TICKS || #ticks),
                "write Http, Grpc, GrpcStreams or Clock in the signature, and not another name for it",
            );
        }
    });
    quote! {
        const _: () = { #(#checks)* #(#tool_checks)* };

        #[cfg(target_arch = "wasm32")]
        ::cofferdam_sdk::abi!(::cofferdam_sdk::log::set_panic_hook);

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Module = ::cofferdam_sdk::callbacks::Dispatcher<::cofferdam_sdk::filter::Runner<#name>>;

            fn with<R>(call: impl FnOnce(&Module) -> R) -> R {
                ::std::thread_local! {
                    static MODULE: Module = const { Module::new() };
                }
                MODULE.with(call)
            }

            #(#functions)*
        };

        #[cfg(not(target_arch = "wasm32"))]
        impl ::cofferdam_sdk::callbacks::Exports<::cofferdam_sdk::filter::Runner<#name>> for #name {
            const CALLBACKS: &'static [
                ::cofferdam_sdk::callbacks::Callback<::cofferdam_sdk::filter::Runner<#name>>
            ] = &[#(#rows),*];
        }

        #schema
        #mark
    }
}

// === impl Signature ===

impl Signature {
    fn read(item: &ItemFn) -> Result<Self> {
        let sig = &item.sig;
        let wrong = "a filter is `async fn name(config: &Config, request: Request, …) -> Result<Response>`, \
             or takes a `Connection` and returns `Result<()>`";
        if sig.asyncness.is_none() || !sig.generics.params.is_empty() {
            return Err(Error::new(sig.span(), wrong));
        }
        let mut arguments = Vec::new();
        for argument in &sig.inputs {
            match argument {
                FnArg::Typed(typed) => arguments.push(&*typed.ty),
                FnArg::Receiver(this) => return Err(Error::new(this.span(), wrong)),
            }
        }
        let mut arguments = arguments.into_iter().peekable();
        let config = match arguments.peek() {
            Some(Type::Reference(reference)) if reference.mutability.is_none() => {
                let config = (*reference.elem).clone();
                arguments.next();
                Some(config)
            }
            _ => None,
        };
        let wrong_argument = || Error::new(sig.inputs.span(), wrong);
        let given = arguments.next().and_then(last).ok_or_else(wrong_argument)?;
        let ReturnType::Type(_, returned) = &sig.output else {
            return Err(Error::new(sig.span(), wrong));
        };
        if given.ident == "Connection" {
            return Ok(Self {
                config,
                request: Kind::none(),
                tools: arguments.cloned().collect(),
                response: Kind::none(),
                tcp: true,
            });
        }
        if given.ident != "Request" {
            return Err(wrong_argument());
        }
        let request = Kind::of(given)?;
        let inner = last(returned)
            .filter(|ty| ty.ident == "Result")
            .and_then(argument);
        let response = inner.and_then(last).filter(|ty| ty.ident == "Response");
        let response = response.ok_or_else(|| Error::new(returned.span(), wrong))?;
        Ok(Self {
            config,
            request,
            tools: arguments.cloned().collect(),
            response: Kind::of(response)?,
            tcp: false,
        })
    }
}

// === impl Kind ===

impl Kind {
    fn none() -> Self {
        Self {
            marker: quote!(::cofferdam_sdk::filter::NoBody),
            seen: false,
            held: false,
        }
    }

    /// What stands in the brackets of `Request` or `Response`.
    fn of(message: &PathSegment) -> Result<Self> {
        let Some(marker) = argument(message) else {
            return Ok(Self::none());
        };
        let name = last(marker).map(|segment| segment.ident.to_string());
        let (seen, held) = match name.as_deref() {
            Some("NoBody") => (false, false),
            Some("Body") => (true, false),
            Some("Held") => (true, true),
            _ => return Err(Error::new(marker.span(), "`NoBody`, `Body` or `Held`")),
        };
        Ok(Self {
            marker: quote!(#marker),
            seen,
            held,
        })
    }
}

fn last(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

/// The first type in the brackets.
fn argument(segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    match arguments.args.first() {
        Some(GenericArgument::Type(ty)) => Some(ty),
        _ => None,
    }
}
