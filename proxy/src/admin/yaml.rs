//! JSON written as YAML: tables and lists by indentation, scalars as JSON has them, which
//! YAML reads alike.

use std::fmt::Write as _;

use serde_json::Value;

pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(_) | Value::Array(_) if !is_empty(value) => block(value, 0, &mut out),
        _ => {
            let _ = writeln!(out, "{value}");
        }
    }
    out
}

/// Each entry on a line of its own, from `indent` on; the first where the line stands.
fn block(value: &Value, indent: usize, out: &mut String) {
    // Writing to a string cannot fail.
    match value {
        Value::Object(fields) => {
            for (at, (key, value)) in fields.iter().enumerate() {
                begin(at, indent, out);
                let _ = write!(out, "{}:", Value::from(&key[..]));
                if is_nested(value) {
                    out.push('\n');
                    let _ = write!(out, "{:1$}", "", indent + 2);
                    block(value, indent + 2, out);
                } else {
                    let _ = writeln!(out, " {value}");
                }
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                begin(at, indent, out);
                out.push_str("- ");
                if is_nested(value) {
                    block(value, indent + 2, out);
                } else {
                    let _ = writeln!(out, "{value}");
                }
            }
        }
        _ => {
            let _ = writeln!(out, "{value}");
        }
    }
}

fn begin(at: usize, indent: usize, out: &mut String) {
    if at > 0 {
        let _ = write!(out, "{:1$}", "", indent);
    }
}

fn is_nested(value: &Value) -> bool {
    (value.is_object() || value.is_array()) && !is_empty(value)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::yaml::{Node, Problems, parse};

    #[test]
    fn what_is_written_reads_as_what_it_was() {
        let long = "a: [1]\n- b # c\u{1}\u{85}\"é";
        let value = json!({
            "listeners": [{"name": "web", "on": true, "empty": {}, "none": []}, [1, [2.5, null]], []],
            "key: odd": {"text": long, "number": "1", "deep": {"deeper": [{"x": -1}]}},
            "yes": "no",
        });
        let written = text(&value);
        let problems = Problems::new("test.yaml");
        let tree = parse(&written, "", &problems).unwrap_or_else(|| panic!("{written}"));
        assert_eq!(Node::root(&tree, &problems).masked(), value, "{written}");
        assert_eq!(
            text(&json!({"a": [{"b": 1, "c": [2]}]})),
            "\"a\":\n  - \"b\": 1\n    \"c\":\n      - 2\n"
        );
        assert_eq!(text(&json!({})), "{}\n");
    }
}
