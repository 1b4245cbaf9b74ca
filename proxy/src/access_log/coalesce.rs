//! `%COALESCE({"operators": [...]}):LENGTH%`: the first of several operators that has
//! something to say, in Envoy's form.

use serde_json::Value;

use super::operator::{Part, parse_operator};

/// Most operators in one.
const MOST: usize = 16;

/// `text` is the operator without its percent signs, `rest` what follows its name.
///
/// # Errors
/// One sentence: what is wrong, and what to do.
pub(super) fn parse(text: &str, rest: &str) -> Result<Part, String> {
    let wanted = || {
        format!(
            "`%{text}%` names no operators; write it as \
             `%COALESCE({{\"operators\": [\"PROTOCOL\", {{\"command\": \"REQ\", \"param\": \"x-id\"}}]}})%`"
        )
    };
    let (json, length) = rest
        .strip_prefix('(')
        .and_then(|rest| rest.rsplit_once(')'))
        .ok_or_else(wanted)?;
    let given: Value = serde_json::from_str(json).map_err(|_| wanted())?;
    let operators = given.get("operators").and_then(Value::as_array);
    let operators = operators.filter(|all| (1..=MOST).contains(&all.len()));
    let parts = operators.ok_or_else(wanted)?.iter().map(|operator| {
        let written = written(operator).ok_or_else(wanted)?;
        if written.starts_with("COALESCE") {
            return Err(wanted());
        }
        // Its own length where it has none, so that each is cut alike.
        let cut = if operator.get("max_length").is_none() && written.contains('(') {
            format!("{written}{length}")
        } else {
            written
        };
        parse_operator(&cut)
    });
    parts.collect::<Result<_, _>>().map(Part::Coalesce)
}

/// As it would stand between percent signs.
fn written(operator: &Value) -> Option<String> {
    if let Some(name) = operator.as_str() {
        return Some(name.trim_matches('%').to_owned());
    }
    let command = operator.get("command")?.as_str()?;
    let mut written = command.to_owned();
    if let Some(param) = operator.get("param") {
        written.push_str(&format!("({})", param.as_str()?));
    }
    if let Some(max) = operator.get("max_length") {
        written.push_str(&format!(":{}", max.as_u64()?));
    }
    Some(written)
}
