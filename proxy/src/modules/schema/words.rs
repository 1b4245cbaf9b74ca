//! A schema and a value in words, for whoever has to mend a configuration.

use serde_json::Value;

/// What a value is.
pub(super) fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a whole number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// A value itself, where its type is not what is wrong with it.
pub(super) fn found_in(value: &Value) -> String {
    match value {
        Value::String(_) | Value::Number(_) => shown(value),
        _ => found(value).to_owned(),
    }
}

/// What a `type` asks for.
pub(super) fn kind(name: &str) -> &str {
    match name {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "text",
        "array" => "a list",
        "object" => "a table",
        other => other,
    }
}

/// What a schema asks for, by its outermost keywords.
pub(super) fn wanted(schema: &Value) -> String {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return one_of(values.iter().map(shown));
    }
    if let Some(value) = schema.get("const") {
        return shown(value);
    }
    for alternatives in ["anyOf", "oneOf"] {
        if let Some(schemas) = schema.get(alternatives).and_then(Value::as_array) {
            return one_of(schemas.iter().map(wanted));
        }
    }
    let required = schema.get("required").and_then(Value::as_array);
    if let Some([Value::String(key)]) = required.map(Vec::as_slice) {
        return format!("a table with `{}`", short(key));
    }
    match schema.get("type") {
        Some(Value::String(name)) => kind(name).to_owned(),
        Some(Value::Array(names)) => one_of(names.iter().filter_map(Value::as_str).map(kind_owned)),
        _ => "something else".to_owned(),
    }
}

fn kind_owned(name: &str) -> String {
    kind(name).to_owned()
}

/// `a, b or c`; of many, the first few.
pub(super) fn one_of(words: impl Iterator<Item = String>) -> String {
    const FEW: usize = 12;
    let mut words: Vec<String> = words.take(FEW + 1).collect();
    words.dedup();
    if words.len() > FEW {
        words.truncate(FEW);
        return words.join(", ") + ", …";
    }
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// A value as JSON, if that is short.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => found(value).to_owned(),
        Value::String(text) => Value::from(short(text)).to_string(),
        other => other.to_string(),
    }
}

/// The beginning of a text, fit to be shown: the schema is the module's.
pub(super) fn short(text: &str) -> String {
    const LONGEST: usize = 60;
    let plain = |letter: char| if letter.is_control() { '?' } else { letter };
    let mut letters = text.chars().map(plain);
    let begin: String = letters.by_ref().take(LONGEST).collect();
    match letters.next() {
        Some(_) => begin + "…",
        None => begin,
    }
}
