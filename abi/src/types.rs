//! The numbers of the ABI (`abi/ABI.md`, section 4). Literal on purpose: the wire is the
//! only contract between a guest and a host.

/// What a hostcall answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// No such thing.
    NotFound = 1,
    /// An argument is out of its range.
    BadArgument = 2,
    /// A value could not be put into bytes.
    SerializationFailure = 3,
    /// Bytes could not be read.
    ParseFailure = 4,
    /// A pointer or length leaves the guest's memory.
    InvalidMemoryAccess = 6,
    /// Nothing there now.
    Empty = 7,
    /// Somebody else was faster.
    CasMismatch = 8,
    /// The host failed, or a capability is missing.
    InternalFailure = 10,
    /// This host does not offer the call.
    Unimplemented = 12,
}

/// Severity of a log record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum LogLevel {
    /// 0
    Trace = 0,
    /// 1
    Debug = 1,
    /// 2
    Info = 2,
    /// 3
    Warn = 3,
    /// 4
    Error = 4,
    /// 5: always written.
    Critical = 5,
}

/// What `proxy_get_buffer_bytes` and its kin speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufferType {
    /// 0
    RequestBody,
    /// 1
    ResponseBody,
    /// 2
    DownstreamData,
    /// 3
    UpstreamData,
    /// 4
    HttpCallResponseBody,
    /// 5
    GrpcMessage,
    /// 6
    VmConfiguration,
    /// 7
    PluginConfiguration,
    /// 8
    CallData,
    /// 9
    RedisCallResponse,
}

/// What the header-map calls speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapType {
    /// 0
    RequestHeaders,
    /// 1
    RequestTrailers,
    /// 2
    ResponseHeaders,
    /// 3
    ResponseTrailers,
    /// 4
    GrpcInitialMetadata,
    /// 5
    GrpcTrailingMetadata,
    /// 6
    HttpCallResponseHeaders,
    /// 7
    HttpCallResponseTrailers,
}

/// What `proxy_continue_stream` and `proxy_close_stream` speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamType {
    /// 0
    HttpRequest,
    /// 1
    HttpResponse,
    /// 2
    Downstream,
    /// 3
    Upstream,
}

/// Who closed a connection, as close callbacks are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Peer {
    /// 0: it cannot be told.
    Unknown = 0,
    /// 1: this proxy.
    Local = 1,
    /// 2: who is at the other end.
    Remote = 2,
}

/// Which way a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Client to upstream.
    Request,
    /// Upstream to client.
    Response,
}

/// What a header callback's return value means to the chain (section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadersAction {
    /// Forward.
    Continue,
    /// Hold the headers; body callbacks go on.
    StopHeaders,
    /// Hold everything, buffer the body, fail past the limit.
    StopAllAndBuffer,
    /// Hold everything, stop reading past the limit.
    StopAllAndWatermark,
}

/// What a body callback's return value means to the chain (section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataAction {
    /// Forward this and everything kept.
    Continue,
    /// Keep, show the whole again with the next chunk, fail past the limit.
    StopAndBuffer,
    /// Keep, do not show again, stop reading past the limit.
    StopAndWatermark,
    /// Forget the bytes.
    StopNoBuffer,
}

// === impl LogLevel ===

impl LogLevel {
    /// The level of that number, if there is one.
    #[must_use]
    pub const fn from_wire(value: u32) -> Option<Self> {
        Some(match value {
            0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            4 => Self::Error,
            5 => Self::Critical,
            _ => return None,
        })
    }
}

// === impl BufferType ===

impl BufferType {
    /// The buffer of that number, if there is one.
    #[must_use]
    pub const fn from_wire(value: u32) -> Option<Self> {
        Some(match value {
            0 => Self::RequestBody,
            1 => Self::ResponseBody,
            2 => Self::DownstreamData,
            3 => Self::UpstreamData,
            4 => Self::HttpCallResponseBody,
            5 => Self::GrpcMessage,
            6 => Self::VmConfiguration,
            7 => Self::PluginConfiguration,
            8 => Self::CallData,
            9 => Self::RedisCallResponse,
            _ => return None,
        })
    }
}

// === impl MapType ===

impl MapType {
    /// The map of that number, if there is one.
    #[must_use]
    pub const fn from_wire(value: u32) -> Option<Self> {
        Some(match value {
            0 => Self::RequestHeaders,
            1 => Self::RequestTrailers,
            2 => Self::ResponseHeaders,
            3 => Self::ResponseTrailers,
            4 => Self::GrpcInitialMetadata,
            5 => Self::GrpcTrailingMetadata,
            6 => Self::HttpCallResponseHeaders,
            7 => Self::HttpCallResponseTrailers,
            _ => return None,
        })
    }
}

// === impl StreamType ===

impl StreamType {
    /// The stream of that number, if there is one.
    #[must_use]
    pub const fn from_wire(value: u32) -> Option<Self> {
        Some(match value {
            0 => Self::HttpRequest,
            1 => Self::HttpResponse,
            2 => Self::Downstream,
            3 => Self::Upstream,
            _ => return None,
        })
    }

    /// Whether it is of a TCP connection, not of an HTTP stream.
    #[must_use]
    pub const fn is_tcp(self) -> bool {
        matches!(self, Self::Downstream | Self::Upstream)
    }
}

// === impl HeadersAction ===

impl HeadersAction {
    /// What `value` means; `real_stop` is `allow_on_headers_stop_iteration`, without
    /// which 1 is a full stop (as Envoy).
    #[must_use]
    pub const fn from_wire(value: u32, real_stop: bool) -> Self {
        match value {
            // 2 was ContinueAndEndStream, which Envoy took out: it does not end anything.
            0 | 2 => Self::Continue,
            1 if real_stop => Self::StopHeaders,
            3 => Self::StopAllAndBuffer,
            _ => Self::StopAllAndWatermark,
        }
    }
}

// === impl DataAction ===

impl DataAction {
    /// What `value` means.
    #[must_use]
    pub const fn from_wire(value: u32) -> Self {
        match value {
            0 => Self::Continue,
            1 => Self::StopAndBuffer,
            2 => Self::StopAndWatermark,
            _ => Self::StopNoBuffer,
        }
    }
}
