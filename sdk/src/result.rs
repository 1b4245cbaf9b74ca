//! One error for everything a filter may come across.

use std::fmt;

use crate::types::Status;

/// Why something did not work, for the log. Any error becomes one with `?`; a sentence of
/// one's own is [`Error::new`].
///
/// ```
/// use cofferdam_sdk::Error;
///
/// fn limit(text: &str) -> Result<u32, Error> {
///     let limit = text.parse()?;
///     if limit == 0 {
///         return Err(Error::new("the limit is 0"));
///     }
///     Ok(limit)
/// }
/// assert_eq!(limit("7").unwrap(), 7);
/// assert_eq!(limit("0").unwrap_err().to_string(), "the limit is 0");
/// assert_eq!(limit("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
pub struct Error(Kind);

enum Kind {
    /// A hostcall's answer: without the heap, because these are common.
    Status(Status),
    Text(&'static str),
    Other(Box<dyn core::error::Error>),
}

/// A result with an [`Error`] of this crate.
///
/// ```
/// fn nothing() -> cofferdam_sdk::Result<()> {
///     Ok(())
/// }
/// # nothing().unwrap();
/// ```
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// `Debug` as people read an error: derived, it would bring half of `core::fmt` into every
/// module that may fail.
macro_rules! debug_is_display {
    ($error:ty) => {
        impl ::std::fmt::Debug for $error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }
    };
}
pub(crate) use debug_is_display;

impl Error {
    /// An error that says `text`.
    ///
    /// ```
    /// assert_eq!(cofferdam_sdk::Error::new("no key").to_string(), "no key");
    /// ```
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self(Kind::Text(text))
    }

    /// An error that says what was put together.
    ///
    /// ```
    /// let error = cofferdam_sdk::Error::text(format!("no key {:?}", "k1"));
    /// assert_eq!(error.to_string(), "no key \"k1\"");
    /// ```
    #[must_use]
    pub fn text(text: String) -> Self {
        Self(Kind::Other(text.into()))
    }

    /// What a hostcall answered, if that is what it is.
    ///
    /// ```
    /// use cofferdam_sdk::{Error, Status};
    /// assert_eq!(Error::from(Status::NotFound).status(), Some(Status::NotFound));
    /// ```
    #[must_use]
    pub const fn status(&self) -> Option<Status> {
        match self.0 {
            Kind::Status(status) => Some(status),
            _ => None,
        }
    }

    /// What it was made of, if it was an `E`.
    ///
    /// ```
    /// let error = cofferdam_sdk::Error::from("x".parse::<u8>().unwrap_err());
    /// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
    /// ```
    #[must_use]
    pub fn downcast_ref<E: core::error::Error + 'static>(&self) -> Option<&E> {
        match &self.0 {
            Kind::Other(error) => error.downcast_ref(),
            Kind::Status(_) | Kind::Text(_) => None,
        }
    }
}

impl<E: core::error::Error + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let any: &dyn core::any::Any = &error;
        match any.downcast_ref::<Status>() {
            Some(status) => Self(Kind::Status(*status)),
            None => Self(Kind::Other(Box::new(error))),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Status(status) => status.fmt(f),
            Kind::Text(text) => f.write_str(text),
            Kind::Other(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
