//! Texts with variables in them.

use crate::text::parsed_text;
use crate::variable::{Captured, Variable};

/// A text such as `user {header.x-user|nobody} from {ip}`: a variable in braces, with what
/// stands in its place where it has no value behind a bar. `{{` and `}}` are braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable { variable: Variable, default: String },
}

parsed_text!(Template, r#""type":"string""#);

// === impl Template ===

impl Template {
    /// # Errors
    /// What is wrong in it.
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = after.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = after.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else {
                let inside = after
                    .strip_prefix('{')
                    .and_then(|after| after.split_once('}'));
                let Some((inside, after)) = inside else {
                    return Err(format!(
                        "a single brace in `{text}`; `{{{{` is one of the text"
                    ));
                };
                let (name, default) = inside.split_once('|').unwrap_or((inside, ""));
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Variable {
                    variable: Variable::parse(name)?,
                    default: default.to_owned(),
                });
                rest = after;
            }
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }

    /// The variables in it.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Variable { variable, .. } => Some(variable),
        })
    }

    /// The text as it is now, as the value of a header: without control characters, which a
    /// client can write into its query or its cookies, and without white space around it.
    #[must_use]
    pub fn header_value(&self, captured: &Captured<'_>) -> Vec<u8> {
        let mut all = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => all.extend_from_slice(text.as_bytes()),
                Part::Variable { variable, default } => {
                    let value = captured.value(variable).filter(|value| !value.is_empty());
                    all.extend_from_slice(value.as_deref().unwrap_or(default.as_bytes()));
                }
            }
        }
        all.retain(|byte| !byte.is_ascii_control());
        all.trim_ascii().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_variables_unless_doubled() {
        let text = Template::parse("a{{b}}").unwrap();
        assert_eq!(text.0, [Part::Text("a{b}".to_owned())]);
        let template = Template::parse("{ip|?}{method}").unwrap();
        assert_eq!(template.0.len(), 2);
        for wrong in ["{", "}", "{ip", "a}b", "{nothing}", "{header.}", "{header}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
