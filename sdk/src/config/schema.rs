//! The JSON schema of a configuration, made while the filter is compiled.
//!
//! `#[derive(Schema)]` beside `#[derive(Deserialize)]` describes a type by its fields, their
//! comments and serde's attributes; [`filter`](macro@crate::filter) puts it into the module
//! as the custom section `filter.schema`, where a host can read it without running anything.
//!
//! ```
//! use cofferdam_sdk::config::{Schema, schema};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize, Schema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// Whom to greet.
//!     #[serde(default)]
//!     who: String,
//!     times: Option<u8>,
//! }
//! assert_eq!(schema::text::<Config>(), concat!(
//!     r#"{"type":"object","properties":{"#,
//!     r#""who":{"description":"Whom to greet.","type":"string"},"#,
//!     r#""times":{"anyOf":[{"type":"integer","minimum":0,"maximum":255},{"type":"null"}]}},"#,
//!     r#""required":[],"additionalProperties":false}"#));
//! # let _ = |c: Config| (c.who, c.times);
//! ```
//! Whatever serde takes, the schema allows: `null` for an [`Option`], a name and its aliases.
//! But for `{"name": null}`, which serde reads as the variant `"name"`: Cofferdam lets that pass
//! where a schema has `"enum": ["name"]`, and an editor need not propose it.
//!
//! ```
//! # use cofferdam_sdk::config::{Schema, schema};
//! # use serde::Deserialize;
//! #[derive(Deserialize, Schema)]
//! struct Old {
//!     #[serde(alias = "name")]
//!     who: bool,
//! }
//! assert_eq!(schema::text::<Old>(), concat!(
//!     r#"{"type":"object","properties":{"who":{"type":"boolean"},"name":{"type":"boolean"}},"#,
//!     r#""required":[]}"#));
//! # let _ = |c: Old| c.who;
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A type whose JSON has a schema.
///
/// ```
/// use cofferdam_sdk::config::schema::{Schema, text};
/// assert_eq!(text::<Vec<bool>>(), r#"{"type":"array","items":{"type":"boolean"}}"#);
/// ```
/// By hand, where it cannot be derived:
/// ```
/// use cofferdam_sdk::config::schema::{Piece, Schema, text};
///
/// struct Colour([u8; 3]);
///
/// impl Schema for Colour {
///     const SCHEMA: &'static Piece = &Piece::Text(r#""type":"string","pattern":"^#[0-9a-f]{6}$""#);
///     const OPTIONAL: bool = false; // it must be there, as is so if nothing is said
/// }
/// # let _ = |colour: Colour| colour.0;
/// assert!(text::<Colour>().starts_with(r#"{"type":"string""#));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no JSON schema",
    note = "write `#[derive(Schema)]` in front of it"
)]
pub trait Schema {
    /// Its members, without the braces around them.
    const SCHEMA: &'static Piece;
    /// Whether it may be left out.
    const OPTIONAL: bool = false;
}

/// Text, in pieces, because a constant cannot be put together otherwise.
///
/// ```
/// use cofferdam_sdk::config::schema::Piece;
/// const BOTH: &Piece = &Piece::All(&[&Piece::Text("a"), &Piece::Text("b")]);
/// assert_eq!(BOTH.length(), 2);
/// ```
#[derive(Debug)]
pub enum Piece {
    /// One text.
    Text(&'static str),
    /// One after the other.
    All(&'static [&'static Self]),
    /// Names in quotes, with commas between them, of those that are not optional.
    Required(&'static [(&'static str, bool)]),
}

/// The whole schema.
///
/// ```
/// assert_eq!(cofferdam_sdk::config::schema::text::<bool>(), r#"{"type":"boolean"}"#);
/// ```
#[must_use]
pub fn text<T: Schema>() -> String {
    fn write(piece: &Piece, to: &mut String) {
        match piece {
            Piece::Text(text) => to.push_str(text),
            Piece::All(pieces) => pieces.iter().for_each(|piece| write(piece, to)),
            Piece::Required(names) => {
                let names = names.iter().filter(|(_, optional)| !optional);
                to.push_str(&names.map(|(name, _)| *name).collect::<Vec<_>>().join(","));
            }
        }
    }
    let mut text = String::from("{");
    write(T::SCHEMA, &mut text);
    text.push('}');
    text
}

// === impl Piece ===

#[expect(
    clippy::indexing_slicing,
    reason = "runs in the compiler, where a slip is an error of the build"
)]
impl Piece {
    /// How many bytes it comes to.
    ///
    /// ```
    /// use cofferdam_sdk::config::schema::Piece;
    /// assert_eq!(Piece::Text("abc").length(), 3);
    /// ```
    #[must_use]
    pub const fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::All(pieces) => {
                let (mut length, mut index) = (0, 0);
                while index < pieces.len() {
                    length += pieces[index].length();
                    index += 1;
                }
                length
            }
            Self::Required(names) => {
                let (mut length, mut index) = (0, 0);
                while index < names.len() {
                    if !names[index].1 {
                        let comma = if length > 0 { 1 } else { 0 };
                        length += comma + names[index].0.len();
                    }
                    index += 1;
                }
                length
            }
        }
    }

    /// Its bytes, between braces; `N` is [`Piece::length`] and two.
    ///
    /// ```
    /// use cofferdam_sdk::config::schema::Piece;
    /// const EMPTY: [u8; 2] = Piece::Text("").braced();
    /// assert_eq!(&EMPTY, b"{}");
    /// ```
    #[must_use]
    pub const fn braced<const N: usize>(&self) -> [u8; N] {
        let (mut bytes, end) = self.fill([b'{'; N], 1);
        bytes[end] = b'}';
        bytes
    }

    const fn fill<const N: usize>(&self, mut bytes: [u8; N], mut at: usize) -> ([u8; N], usize) {
        let mut index = 0;
        match self {
            Self::Text(text) => {
                let text = text.as_bytes();
                while index < text.len() {
                    bytes[at] = text[index];
                    (at, index) = (at + 1, index + 1);
                }
            }
            Self::All(pieces) => {
                while index < pieces.len() {
                    (bytes, at) = pieces[index].fill(bytes, at);
                    index += 1;
                }
            }
            Self::Required(names) => {
                let start = at;
                while index < names.len() {
                    if !names[index].1 {
                        if at > start {
                            (bytes, at) = Self::Text(",").fill(bytes, at);
                        }
                        (bytes, at) = Self::Text(names[index].0).fill(bytes, at);
                    }
                    index += 1;
                }
            }
        }
        (bytes, at)
    }
}

macro_rules! plain {
    ($($text:expr; $($type:ty),*;)*) => {
        $($(impl Schema for $type {
            const SCHEMA: &'static Piece = &Piece::Text($text);
        })*)*
    };
}

plain! {
    r#""type":"boolean""#; bool;
    r#""type":"string""#; String, Box<str>, char;
    r#""type":"number""#; f32, f64;
    r#""type":"integer""#; i64, isize;
    r#""type":"integer","minimum":0"#; u64, usize;
    r#""type":"integer","minimum":0,"maximum":255"#; u8;
    r#""type":"integer","minimum":0,"maximum":65535"#; u16;
    r#""type":"integer","minimum":0,"maximum":4294967295"#; u32;
    r#""type":"integer","minimum":-128,"maximum":127"#; i8;
    r#""type":"integer","minimum":-32768,"maximum":32767"#; i16;
    r#""type":"integer","minimum":-2147483648,"maximum":2147483647"#; i32;
    r#""type":"integer","minimum":1,"maximum":255"#; NonZeroU8;
    r#""type":"integer","minimum":1,"maximum":65535"#; NonZeroU16;
    r#""type":"integer","minimum":1,"maximum":4294967295"#; NonZeroU32;
    r#""type":"integer","minimum":1"#; NonZeroU64, NonZeroUsize;
    // As serde reads it; `Period` is for people.
    concat!(r#""type":"object","properties":{"secs":{"type":"integer","minimum":0},"#,
        r#""nanos":{"type":"integer","minimum":0,"maximum":4294967295}},"#,
        r#""required":["secs","nanos"],"additionalProperties":false"#); Duration;
    r#""type":"object","additionalProperties":false"#; super::None;
}

impl<T: Schema> Schema for Option<T> {
    const SCHEMA: &'static Piece = &Piece::All(&[
        &Piece::Text(r#""anyOf":[{"#),
        T::SCHEMA,
        &Piece::Text(r#"},{"type":"null"}]"#),
    ]);
    const OPTIONAL: bool = true;
}

/// What has the schema of what is in it. serde reads `Rc` and `Arc` with its feature `rc`.
macro_rules! around {
    ($($type:ident),*) => {
        $(impl<T: Schema> Schema for $type<T> {
            const SCHEMA: &'static Piece = T::SCHEMA;
            const OPTIONAL: bool = T::OPTIONAL;
        })*
    };
}

around!(Box, Rc, Arc);

impl<T: Schema> Schema for Vec<T> {
    const SCHEMA: &'static Piece = &Piece::All(&[
        &Piece::Text(r#""type":"array","items":{"#),
        T::SCHEMA,
        &Piece::Text("}"),
    ]);
}

impl<T: Schema> Schema for BTreeSet<T> {
    const SCHEMA: &'static Piece = <Vec<T>>::SCHEMA;
}

impl<T: Schema, S> Schema for HashSet<T, S> {
    const SCHEMA: &'static Piece = <Vec<T>>::SCHEMA;
}

impl<T: Schema> Schema for BTreeMap<String, T> {
    const SCHEMA: &'static Piece = &Piece::All(&[
        &Piece::Text(r#""type":"object","additionalProperties":{"#),
        T::SCHEMA,
        &Piece::Text("}"),
    ]);
}

impl<T: Schema, S> Schema for HashMap<String, T, S> {
    const SCHEMA: &'static Piece = &Piece::All(&[
        &Piece::Text(r#""type":"object","additionalProperties":{"#),
        T::SCHEMA,
        &Piece::Text("}"),
    ]);
}
