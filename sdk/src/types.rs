//! The numbers of the ABI, by name.

use core::fmt;

/// What a hostcall answered instead of OK.
///
/// ```
/// use cofferdam_sdk::Status;
///
/// assert_eq!(Status::check(1), Err(Status::NotFound));
/// assert_eq!(Status::NotFound.to_string(), "not found");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// No such key, header, buffer, property, queue, token.
    NotFound,
    /// An argument the host does not take, or a map that is not there now.
    BadArgument,
    /// The host could not turn a value into bytes.
    SerializationFailure,
    /// The host could not read what it was given.
    ParseFailure,
    /// An expression that makes no sense.
    BadExpression,
    /// A pointer outside memory, or the allocator had nothing left.
    InvalidMemoryAccess,
    /// Nothing in the queue.
    Empty,
    /// Somebody else changed the value first.
    CasMismatch,
    /// The result is not of the expected kind.
    ResultMismatch,
    /// The host failed, or does not allow this call.
    InternalFailure,
    /// The connection broke.
    BrokenConnection,
    /// The host does not have this call.
    Unimplemented,
    /// A number this version of the ABI does not know.
    Unknown(u32),
}

impl Status {
    /// The answer `code` of a hostcall, as a result.
    ///
    /// # Errors
    /// Every answer but OK.
    ///
    /// ```
    /// assert_eq!(cofferdam_sdk::Status::check(0), Ok(()));
    /// ```
    pub const fn check(code: u32) -> Result<(), Self> {
        Err(match code {
            0 => return Ok(()),
            1 => Self::NotFound,
            2 => Self::BadArgument,
            3 => Self::SerializationFailure,
            4 => Self::ParseFailure,
            5 => Self::BadExpression,
            6 => Self::InvalidMemoryAccess,
            7 => Self::Empty,
            8 => Self::CasMismatch,
            9 => Self::ResultMismatch,
            10 => Self::InternalFailure,
            11 => Self::BrokenConnection,
            12 => Self::Unimplemented,
            other => Self::Unknown(other),
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::BadArgument => "bad argument",
            Self::SerializationFailure => "serialization failure",
            Self::ParseFailure => "parse failure",
            Self::BadExpression => "bad expression",
            Self::InvalidMemoryAccess => "invalid memory access",
            Self::Empty => "empty",
            Self::CasMismatch => "compare-and-swap mismatch",
            Self::ResultMismatch => "result mismatch",
            Self::InternalFailure => "internal failure",
            Self::BrokenConnection => "broken connection",
            Self::Unimplemented => "unimplemented",
            Self::Unknown(code) => return write!(f, "status {code}"),
        })
    }
}

impl core::error::Error for Status {}

/// How important a line of the log is.
///
/// ```
/// assert!(cofferdam_sdk::Level::Debug < cofferdam_sdk::Level::Warn);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Level {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

impl Level {
    /// The level with this number; a host that logs nothing may answer 6.
    ///
    /// ```
    /// use cofferdam_sdk::Level;
    /// assert_eq!(Level::from_number(3), Some(Level::Warn));
    /// ```
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
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

/// Which bytes a buffer call means.
///
/// ```
/// assert_eq!(cofferdam_sdk::BufferType::RequestBody as u32, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names say it")]
pub enum BufferType {
    RequestBody = 0,
    ResponseBody = 1,
    DownstreamData = 2,
    UpstreamData = 3,
    HttpCallResponseBody = 4,
    GrpcMessage = 5,
    VmConfiguration = 6,
    PluginConfiguration = 7,
    ForeignFunctionArguments = 8,
}

/// Which header map a call means.
///
/// ```
/// assert_eq!(cofferdam_sdk::MapType::ResponseHeaders as u32, 2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MapType {
    RequestHeaders = 0,
    RequestTrailers = 1,
    ResponseHeaders = 2,
    ResponseTrailers = 3,
    GrpcInitialMetadata = 4,
    GrpcTrailingMetadata = 5,
    HttpCallResponseHeaders = 6,
    HttpCallResponseTrailers = 7,
}

/// Which direction of a stream a call means.
///
/// ```
/// assert_eq!(cofferdam_sdk::StreamType::Downstream as u32, 2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names say it")]
pub enum StreamType {
    HttpRequest = 0,
    HttpResponse = 1,
    Downstream = 2,
    Upstream = 3,
}

/// What a metric counts.
///
/// ```
/// assert_eq!(cofferdam_sdk::MetricType::Histogram as u32, 2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MetricType {
    /// Only goes up.
    Counter = 0,
    /// Goes up and down.
    Gauge = 1,
    /// Collects samples.
    Histogram = 2,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_a_result() {
        assert_eq!(Status::check(0), Ok(()));
        assert_eq!(Status::check(1), Err(Status::NotFound));
        assert_eq!(Status::check(12), Err(Status::Unimplemented));
        assert_eq!(Status::check(13), Err(Status::Unknown(13)));
        assert_eq!(Status::check(u32::MAX), Err(Status::Unknown(u32::MAX)));
    }

    #[test]
    fn levels_keep_their_numbers() {
        for number in 0..=5 {
            assert_eq!(
                Level::from_number(number).map(|level| level as u32),
                Some(number)
            );
        }
        assert_eq!(Level::from_number(6), None);
    }
}
