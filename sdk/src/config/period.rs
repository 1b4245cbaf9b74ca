//! Times in a configuration.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::schema::{Piece, Schema};

/// A time as people write it: `"250ms"`, `"5s"`, `"10m"`, `"1h"`, `"7d"`.
///
/// ```
/// use std::time::Duration;
/// use cofferdam_sdk::config::{Period, parse};
///
/// let period: Period = parse(br#""250ms""#)?;
/// assert_eq!(*period, Duration::from_millis(250));
/// let wrong = parse::<Period>(br#""5 minutes""#).unwrap_err();
/// assert_eq!(wrong.problem(), "invalid value: `5 minutes`, expected a time such as 250ms, 5s, 10m, 1h");
/// # Ok::<(), cofferdam_sdk::config::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Period(pub Duration);

/// Milliseconds, if it is a time.
fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

// === impl Period ===

impl Deref for Period {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0.as_millis())
    }
}

impl Schema for Period {
    const SCHEMA: &'static Piece =
        &Piece::Text(r#""type":"string","pattern":"^[0-9]+(ms|s|m|h|d)$""#);
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Period;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as 250ms, 5s, 10m, 1h")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Period, E> {
                let time = milliseconds(text).map(Duration::from_millis);
                let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                time.map(Period).ok_or_else(wrong)
            }
        }
        from.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn only_times_are_times() {
        for (text, time) in [
            ("0s", Some(0)),
            ("7d", Some(604_800_000)),
            ("1h", Some(3_600_000)),
            ("", None),
            ("s", None),
            ("5", None),
            ("-5s", None),
            ("5S", None),
            ("1.5s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
            ("5\u{e4}", None),
        ] {
            assert_eq!(milliseconds(text), time, "{text}");
        }
    }
}
