//! What a scalar means: the core schema of YAML 1.2.
//!
//! `yes`, `no`, `on` and `off` are text, as the core schema has it.

use serde_yaml::{ScalarStyle, Tag};

use super::Value;

/// The value of a scalar, or what is wrong with its tag.
pub(super) fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain {
            plain(text)
        } else {
            Value::Text
        });
    };
    let value = match tag_name(tag) {
        Some("str") => return Ok(Value::Text),
        Some("null" | "bool" | "int" | "float") => plain(text),
        _ => return Err(unknown_tag(tag)),
    };
    match (tag_name(tag), value) {
        (Some("float"), Value::Integer(number)) => Ok(Value::Float(number as f64)),
        (Some("null"), value @ Value::Null)
        | (Some("bool"), value @ Value::Boolean(_))
        | (Some("int"), value @ Value::Integer(_))
        | (Some("float"), value @ Value::Float(_)) => Ok(value),
        _ => Err(format!("this value is not what its tag `{tag}` says")),
    }
}

/// Checks the tag of a list or table.
pub(super) fn collection_tag(tag: Option<&Tag>, expected: &str) -> Result<(), String> {
    match tag {
        Some(tag) if tag_name(tag) != Some(expected) => Err(unknown_tag(tag)),
        _ => Ok(()),
    }
}

fn tag_name(tag: &Tag) -> Option<&str> {
    // `!` alone keeps a scalar from being taken for anything but text.
    if (tag.handle == "!" && tag.suffix.is_empty()) || (tag.handle.is_empty() && tag.suffix == "!")
    {
        return Some("str");
    }
    tag.is_yaml_core_schema().then_some(tag.suffix.as_str())
}

fn unknown_tag(tag: &Tag) -> String {
    format!("the tag `{tag}` has no meaning here")
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Boolean(true),
        "false" | "False" | "FALSE" => return Value::Boolean(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    integer(text)
        .map(Value::Integer)
        .or_else(|| float(text).map(Value::Float))
        .unwrap_or(Value::Text)
}

fn integer(text: &str) -> Option<i128> {
    let digits = |text: &str, radix: u32| {
        let fits = !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
        fits.then(|| i128::from_str_radix(text, radix).unwrap_or(i128::MAX))
    };
    if let Some(hex) = text.strip_prefix("0x") {
        return digits(hex, 16);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal, 8);
    }
    match text.strip_prefix('-') {
        Some(rest) => digits(rest, 10).map(|number| -number),
        None => digits(text.strip_prefix('+').unwrap_or(text), 10),
    }
}

fn float(text: &str) -> Option<f64> {
    let shape = text
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    (shape && digits).then(|| text.parse().ok()).flatten()
}
