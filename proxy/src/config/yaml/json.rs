//! A value of the file as JSON: what a guest is handed as its configuration.

use serde_json::{Map, Number, Value as Json};

use super::{Node, Value, quote};

impl Node<'_> {
    /// This value as a guest gets it: text as it is, nothing as nothing, all else as JSON.
    /// Whole numbers stay whole and keys keep their order.
    #[must_use]
    pub fn configuration(&self) -> Option<String> {
        if self.is_null() {
            return Some(String::new());
        }
        match self.as_text() {
            Some(text) => Some(text.to_owned()),
            None => self.json().map(|json| json.to_string()),
        }
    }

    /// This value as JSON. `None` when it has no such form, which is noted.
    #[must_use]
    pub fn json(&self) -> Option<Json> {
        let item = self.item();
        match &item.value {
            Value::Null => Some(Json::Null),
            Value::Boolean(value) => Some(Json::Bool(*value)),
            Value::Integer(number) => {
                let json = i64::try_from(*number)
                    .map(Number::from)
                    .or_else(|_| u64::try_from(*number).map(Number::from));
                self.number(json.ok())
            }
            Value::Float(number) => self.number(Number::from_f64(*number)),
            Value::Text => Some(Json::String(item.text.clone())),
            Value::List(_) => {
                // Collected whole before it is judged, so that every mistake in it is noted.
                let all: Vec<_> = self.list()?.iter().map(Self::json).collect();
                all.into_iter().collect::<Option<_>>().map(Json::Array)
            }
            Value::Table(_) => {
                let pair =
                    |entry: &super::Entry<'_>| Some((entry.key.to_owned(), entry.value.json()?));
                let all: Vec<_> = self.entries()?.iter().map(pair).collect();
                all.into_iter()
                    .collect::<Option<Map<_, _>>>()
                    .map(Json::Object)
            }
        }
    }

    fn number(&self, json: Option<Number>) -> Option<Json> {
        if json.is_none() {
            let what = format!("JSON has no number {}", quote(&self.item().text));
            self.wrong(what, "put it in quotes");
        }
        json.map(Json::Number)
    }
}
