//! The one list of what a host may call in a guest (section 3). Every engine and the
//! loader expand it; a callback missing from an engine does not compile.

use crate::version::AbiVersion;

/// Expands `$expand!` with one row per callback:
/// `Variant "export" params [=> result]`, where params counts `i32` parameters.
macro_rules! for_each_callback {
    ($expand:ident) => {
        $expand! {
            ContextCreate "proxy_on_context_create" 2,
            VmStart "proxy_on_vm_start" 2 => i32,
            Configure "proxy_on_configure" 2 => i32,
            Tick "proxy_on_tick" 1,
            QueueReady "proxy_on_queue_ready" 2,
            ForeignFunction "proxy_on_foreign_function" 3,
            NewConnection "proxy_on_new_connection" 1 => i32,
            DownstreamData "proxy_on_downstream_data" 3 => i32,
            UpstreamData "proxy_on_upstream_data" 3 => i32,
            DownstreamConnectionClose "proxy_on_downstream_connection_close" 2,
            UpstreamConnectionClose "proxy_on_upstream_connection_close" 2,
            RequestHeaders "proxy_on_request_headers" 3 => i32,
            RequestBody "proxy_on_request_body" 3 => i32,
            RequestTrailers "proxy_on_request_trailers" 2 => i32,
            RequestMetadata "proxy_on_request_metadata" 2 => i32,
            ResponseHeaders "proxy_on_response_headers" 3 => i32,
            ResponseBody "proxy_on_response_body" 3 => i32,
            ResponseTrailers "proxy_on_response_trailers" 2 => i32,
            ResponseMetadata "proxy_on_response_metadata" 2 => i32,
            HttpCallResponse "proxy_on_http_call_response" 5,
            GrpcReceiveInitialMetadata "proxy_on_grpc_receive_initial_metadata" 3,
            GrpcReceive "proxy_on_grpc_receive" 3,
            GrpcReceiveTrailingMetadata "proxy_on_grpc_receive_trailing_metadata" 3,
            GrpcClose "proxy_on_grpc_close" 3,
            RedisCallResponse "proxy_on_redis_call_response" 4,
            Done "proxy_on_done" 1 => i32,
            Log "proxy_on_log" 1,
            Delete "proxy_on_delete" 1,
        }
    };
}

macro_rules! define_callbacks {
    ($($variant:ident $name:literal $params:literal $(=> $result:ident)?,)*) => {
        /// An export the host calls.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Callback {
            $(#[doc = $name] $variant,)*
        }

        impl Callback {
            /// Every callback, in the order of its discriminant.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name of the export.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// How many `i32` it takes in the newest version.
            const fn newest_params(self) -> usize {
                match self { $(Self::$variant => $params,)* }
            }

            /// Whether it returns an `i32`.
            #[must_use]
            pub const fn returns(self) -> bool {
                match self { $(Self::$variant => define_callbacks!(@has $($result)?),)* }
            }
        }
    };
    (@has) => { false };
    (@has $result:ident) => { true };
}

for_each_callback!(define_callbacks);

// === impl Callback ===

impl Callback {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// How many `i32` it takes in that version: in 0.1.0 header callbacks are not told
    /// about the end of the stream.
    #[must_use]
    pub const fn params(self, version: AbiVersion) -> usize {
        match (self, version) {
            (Self::RequestHeaders | Self::ResponseHeaders, AbiVersion::V0_1_0) => 2,
            _ => self.newest_params(),
        }
    }

    /// Whether it may be exported with that many `i32` too: some guests of 0.1.0 were built
    /// by SDKs whose header callbacks are told about the end of the stream already.
    #[must_use]
    pub const fn also_takes(self, params: usize, version: AbiVersion) -> bool {
        matches!(
            (self, params, version),
            (
                Self::RequestHeaders | Self::ResponseHeaders,
                3,
                AbiVersion::V0_1_0
            )
        )
    }

    /// Whether that version has it at all.
    #[must_use]
    pub const fn exists_in(self, version: AbiVersion) -> bool {
        !matches!((self, version), (Self::ForeignFunction, AbiVersion::V0_1_0))
    }

    /// The callback of that export name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|callback| callback.name() == name)
    }
}
