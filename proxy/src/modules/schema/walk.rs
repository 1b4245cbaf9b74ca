//! The walk through a value and its schema at once.
//!
//! | keyword | |
//! |---|---|
//! | `type`, `enum`, `const` | as in JSON Schema 2020-12; beside a word of `enum`, `{word: null}`, which serde reads as it |
//! | `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum` | numbers |
//! | `minLength`, `maxLength` | of texts, in characters |
//! | `minItems`, `maxItems`, `prefixItems`, `items` | a list as `items` is `prefixItems`, as before 2020; `prefixItems` not if `$schema` is of before |
//! | `properties`, `required`, `minProperties`, `maxProperties`, `additionalProperties` | the last not beside `patternProperties`, which is not known |
//! | `allOf`, `anyOf`, `oneOf` | `oneOf` like `anyOf`: two that both fit may differ in a keyword not known here |
//! | `$ref` | `#` and what follows it as a JSON pointer; nothing is ever fetched. What stands beside it is passed over, as before 2019, unless `$schema` is later |
//! | `$id` | what is in a schema of another name than the whole is not known |

use serde_json::{Map, Number, Value};

use super::words::{found, found_in, kind, one_of, short, shown, wanted};
use super::{Fit, How, MOST_TOLD, Mistake, Unusable};
use crate::config::yaml::did_you_mean;

/// The most that is looked at: a schema may refer to itself, and alternatives multiply.
const MOST_STEPS: usize = 1 << 20;
/// The deepest that schemas refer into each other.
const DEEPEST: usize = 256;

/// One check of one value.
pub(super) struct Walk<'s> {
    root: &'s Value,
    steps: usize,
    /// Levels of schemas.
    level: usize,
    /// The way to the value in hand.
    path: Vec<Step>,
}

enum Step {
    Key(String),
    Index(usize),
}

type Mistakes = Vec<Mistake>;

// === impl Walk ===

impl<'s> Walk<'s> {
    pub(super) const fn new(root: &'s Value) -> Self {
        Self {
            root,
            steps: 0,
            level: 0,
            path: Vec::new(),
        }
    }

    pub(super) fn run(mut self, value: &Value) -> Result<Mistakes, Unusable> {
        let mut mistakes = Vec::new();
        self.value(self.root, value, &mut mistakes)?;
        Ok(mistakes)
    }

    fn value(
        &mut self,
        schema: &'s Value,
        value: &Value,
        to: &mut Mistakes,
    ) -> Result<(), Unusable> {
        self.spend(1)?;
        let Value::Object(schema) = schema else {
            if schema == &Value::Bool(false) {
                tell(
                    to,
                    self.mistake("nothing may be here".to_owned(), "remove it".to_owned()),
                );
            }
            return Ok(());
        };
        if self.level == DEEPEST {
            return Err(Unusable(format!("it goes deeper than {DEEPEST} levels")));
        }
        self.level += 1;
        let done = self.keywords(schema, value, to);
        self.level -= 1;
        done
    }

    fn keywords(
        &mut self,
        schema: &'s Map<String, Value>,
        value: &Value,
        to: &mut Mistakes,
    ) -> Result<(), Unusable> {
        if self.named(schema) {
            return Ok(());
        }
        if let Some(reference) = schema.get("$ref") {
            self.spend(reference.as_str().map_or(0, |text| text.len() / 64))?;
            if let Some(target) = self.target(reference) {
                self.value(target, value, to)?;
            }
            if !self.is_of(&["2019-09", "2020-12"]) {
                return Ok(());
            }
        }
        if let Some(wanted) = schema.get("type")
            && let Some(wanted) = mismatch(wanted, value)
        {
            // What else is asked for is asked of another type.
            tell(to, self.mistyped(&wanted, found(value)));
            return Ok(());
        }
        self.choice(schema, value, to)?;
        match value {
            Value::Number(number) => self.number(schema, number, to),
            Value::String(text) => {
                self.spend(text.len() / 64)?;
                let length = || text.chars().count();
                self.count(schema, ["minLength", "maxLength"], length, "characters", to);
            }
            Value::Array(items) => self.list(schema, items, to)?,
            Value::Object(entries) => self.table(schema, entries, to)?,
            Value::Null | Value::Bool(_) => {}
        }
        for part in list(schema, "allOf") {
            self.value(part, value, to)?;
        }
        for alternatives in ["anyOf", "oneOf"] {
            self.alternatives(list(schema, alternatives), value, to)?;
        }
        Ok(())
    }

    /// `enum` and `const`.
    fn choice(
        &mut self,
        schema: &'s Map<String, Value>,
        value: &Value,
        to: &mut Mistakes,
    ) -> Result<(), Unusable> {
        let choices = match (schema.get("enum"), schema.get("const")) {
            (Some(Value::Array(values)), _) => values.as_slice(),
            (_, Some(value)) => std::slice::from_ref(value),
            _ => return Ok(()),
        };
        for choice in choices {
            if self.same(choice, value)? || word_as_table(choice, value) {
                return Ok(());
            }
        }
        let mut mistake = self.unexpected(&one_of(choices.iter().map(shown)), &shown(value));
        self.suggest(choices.len());
        let names = choices.iter().filter_map(Value::as_str);
        mistake.fit.how = match value.as_str() {
            Some(_) if names.clone().next().is_some() => How::Word,
            _ if choices.iter().any(|choice| found(choice) == found(value)) => How::Content,
            _ => How::Type,
        };
        if let Some(near) = value.as_str().and_then(|word| did_you_mean(word, names)) {
            mistake.help = format!("did you mean {}?", shown(&Value::from(near)));
            mistake.fit.how = How::Near;
        }
        tell(to, mistake);
        Ok(())
    }

    fn number(&mut self, schema: &Map<String, Value>, number: &Number, to: &mut Mistakes) {
        use std::cmp::Ordering::{Greater, Less};
        let bounds = [
            ("minimum", &[Less][..], "at least"),
            ("maximum", &[Greater], "at most"),
            (
                "exclusiveMinimum",
                &[Less, std::cmp::Ordering::Equal],
                "more than",
            ),
            (
                "exclusiveMaximum",
                &[Greater, std::cmp::Ordering::Equal],
                "less than",
            ),
        ];
        for (keyword, wrong, words) in bounds {
            if let Some(Value::Number(bound)) = schema.get(keyword)
                && compare(number, bound).is_some_and(|order| wrong.contains(&order))
            {
                tell(
                    to,
                    self.unexpected(&format!("{words} {bound}"), &number.to_string()),
                );
            }
        }
    }

    /// That there are not too few and not too many of something.
    fn count(
        &mut self,
        schema: &Map<String, Value>,
        [least, most]: [&str; 2],
        count: impl Fn() -> usize,
        of: &str,
        to: &mut Mistakes,
    ) {
        let bound = |keyword| {
            let bound = schema.get(keyword).and_then(Value::as_u64)?;
            usize::try_from(bound).ok()
        };
        if let Some(least) = bound(least).filter(|least| count() < *least) {
            tell(
                to,
                self.unexpected(&format!("at least {least} {of}"), &count().to_string()),
            );
        }
        if let Some(most) = bound(most).filter(|most| count() > *most) {
            tell(
                to,
                self.unexpected(&format!("at most {most} {of}"), &count().to_string()),
            );
        }
    }

    fn list(
        &mut self,
        schema: &'s Map<String, Value>,
        items: &[Value],
        to: &mut Mistakes,
    ) -> Result<(), Unusable> {
        self.count(
            schema,
            ["minItems", "maxItems"],
            || items.len(),
            "items",
            to,
        );
        let all = schema.get("items");
        let first = match all {
            Some(Value::Array(first)) => first.as_slice(),
            _ if self.is_of(&["draft-0", "2019-09"]) => &[][..],
            _ => list(schema, "prefixItems"),
        };
        let all = all.filter(|all| !all.is_array());
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).or(all) {
                self.path.push(Step::Index(index));
                self.value(schema, item, to)?;
                self.path.pop();
            }
        }
        Ok(())
    }

    fn table(
        &mut self,
        schema: &'s Map<String, Value>,
        entries: &Map<String, Value>,
        to: &mut Mistakes,
    ) -> Result<(), Unusable> {
        let length = || entries.len();
        self.count(
            schema,
            ["minProperties", "maxProperties"],
            length,
            "keys",
            to,
        );
        let known = schema.get("properties").and_then(Value::as_object);
        let patterns = schema.contains_key("patternProperties");
        let others = schema.get("additionalProperties").filter(|_| !patterns);
        for (key, value) in entries {
            self.spend(key.len() / 64)?;
            let schema = match known.and_then(|known| known.get(key)) {
                Some(schema) => schema,
                None if others == Some(&Value::Bool(false)) => {
                    tell(to, self.unknown(key, known));
                    continue;
                }
                None => match others {
                    Some(schema) => schema,
                    None => continue,
                },
            };
            self.path.push(Step::Key(short(key)));
            self.value(schema, value, to)?;
            self.path.pop();
        }
        for key in list(schema, "required").iter().filter_map(Value::as_str) {
            self.spend(1 + key.len() / 64)?;
            if !entries.contains_key(key) {
                let wanted = known.and_then(|known| known.get(key)).map(wanted);
                let key = short(key);
                let help = match wanted {
                    Some(wanted) => format!("write `{key}`: {wanted}"),
                    None => format!("write `{key}`"),
                };
                tell(to, self.mistake(format!("`{key}` is missing"), help));
            }
        }
        Ok(())
    }

    /// That one of several schemas fits; if not, what keeps the likeliest from it.
    fn alternatives(
        &mut self,
        schemas: &'s [Value],
        value: &Value,
        to: &mut Mistakes,
    ) -> Result<(), Unusable> {
        if schemas.is_empty() {
            return Ok(());
        }
        let here = self.path.len();
        let mut nearest: Option<(Fit, Mistakes)> = None;
        // Those for a value of this type: if that is one, it was meant.
        let mut likely = 0;
        for schema in schemas {
            let mut mistakes = Vec::new();
            self.value(schema, value, &mut mistakes)?;
            let Some(fit) = mistakes.iter().map(|mistake| mistake.fit).min() else {
                return Ok(());
            };
            likely += usize::from(fit.depth > here || fit.how > How::Type);
            if nearest.as_ref().is_none_or(|(best, _)| fit > *best) {
                nearest = Some((fit, mistakes));
            }
        }
        let Some((fit, mut mistakes)) = nearest else {
            return Ok(());
        };
        let wanted = || one_of(schemas.iter().map(|schema| wanted(self.meant(schema))));
        if fit.depth > here || likely == 1 || schemas.len() == 1 {
            // Of a word, all that might stand there in its place.
            if let (How::Word | How::Near, [mistake]) = (fit.how, &mut mistakes[..])
                && fit.depth == here
            {
                let wanted = wanted();
                mistake.what = format!("expected {wanted}, found {}", shown(value));
                if fit.how == How::Word {
                    mistake.help = format!("write {wanted}");
                }
            }
            mistakes.into_iter().for_each(|mistake| tell(to, mistake));
        } else if likely == 0 {
            let wanted = wanted();
            tell(to, self.mistyped(&wanted, found(value)));
        } else {
            let wanted = wanted();
            tell(to, self.unexpected(&wanted, &found_in(value)));
        }
        Ok(())
    }

    /// What a `$ref` refers to, where that is in this schema.
    fn target(&self, reference: &Value) -> Option<&'s Value> {
        let pointer = reference.as_str()?.strip_prefix('#')?;
        // Names there may be as in addresses; nobody writes them so.
        if pointer.contains('%') {
            return None;
        }
        let mut steps = pointer.split('/');
        if !steps.next()?.is_empty() {
            return None;
        }
        steps.try_fold(self.root, |at, step| match at {
            Value::Object(at) if self.named(at) => None,
            Value::Object(at) => at.get(&step.replace("~1", "/").replace("~0", "~")),
            Value::Array(at) => at.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Whether a schema in this one has a name of its own: what it refers to, and in which
    /// words, is not known then.
    fn named(&self, schema: &Map<String, Value>) -> bool {
        let whole = self.root.as_object();
        let named = |key| schema.get(key).is_some_and(Value::is_string);
        !whole.is_some_and(|whole| std::ptr::eq(whole, schema)) && (named("$id") || named("id"))
    }

    /// Whether the schema says that it is of one of these drafts.
    fn is_of(&self, drafts: &[&str]) -> bool {
        let says = self.root.get("$schema").and_then(Value::as_str);
        says.is_some_and(|says| drafts.iter().any(|draft| says.contains(draft)))
    }

    /// The schema itself, or what it refers to.
    fn meant(&self, schema: &'s Value) -> &'s Value {
        let target = schema.get("$ref").and_then(|at| self.target(at));
        target.unwrap_or(schema)
    }

    /// Equal as JSON: 1 is 1.0.
    fn same(&mut self, a: &Value, b: &Value) -> Result<bool, Unusable> {
        self.spend(1)?;
        Ok(match (a, b) {
            (Value::Number(a), Value::Number(b)) => {
                compare(a, b) == Some(std::cmp::Ordering::Equal)
            }
            (Value::String(a), Value::String(b)) if a.len() == b.len() => {
                self.spend(a.len() / 64)?;
                a == b
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                for (a, b) in a.iter().zip(b) {
                    if !self.same(a, b)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
                for (key, a) in a {
                    let Some(b) = b.get(key) else {
                        return Ok(false);
                    };
                    if !self.same(a, b)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            _ => false,
        })
    }

    fn spend(&mut self, steps: usize) -> Result<(), Unusable> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MOST_STEPS {
            return Err(Unusable(
                "it asks for more work than it is worth".to_owned(),
            ));
        }
        Ok(())
    }

    fn unexpected(&mut self, wanted: &str, found: &str) -> Mistake {
        self.mistake(
            format!("expected {wanted}, found {found}"),
            format!("write {wanted}"),
        )
    }

    /// Likewise, of a value whose type is another.
    fn mistyped(&mut self, wanted: &str, found: &str) -> Mistake {
        let mut mistake = self.unexpected(wanted, found);
        mistake.fit.how = How::Type;
        mistake
    }

    /// A key that is not known, of a table that says which are.
    fn unknown(&mut self, key: &str, known: Option<&Map<String, Value>>) -> Mistake {
        let names = || known.into_iter().flat_map(|known| known.keys());
        self.suggest(known.map_or(0, Map::len));
        let help = match did_you_mean(key, names().map(String::as_str)) {
            Some(near) => format!("did you mean `{}`?", short(near)),
            None if names().next().is_none() => "remove it".to_owned(),
            None => format!(
                "write {}",
                one_of(names().map(|name| format!("`{}`", short(name))))
            ),
        };
        let mut mistake = self.mistake(format!("unknown key {}", shown(&Value::from(key))), help);
        mistake.path = dotted(mistake.path, &short(key));
        mistake
    }

    /// Looks for the nearest of so many names; what that takes is seen at the next step.
    const fn suggest(&mut self, names: usize) {
        self.steps = self.steps.saturating_add(names.saturating_mul(64));
    }

    fn mistake(&mut self, what: String, help: String) -> Mistake {
        self.steps = self.steps.saturating_add(16);
        let path = self
            .path
            .iter()
            .fold(String::new(), |path, step| match step {
                Step::Key(key) => dotted(path, key),
                Step::Index(index) => format!("{path}[{index}]"),
            });
        Mistake {
            path,
            what,
            help,
            fit: Fit {
                depth: self.path.len(),
                how: How::Content,
            },
        }
    }
}

/// `{word: null}`, which serde reads as the word.
fn word_as_table(choice: &Value, value: &Value) -> bool {
    let (Some(word), Some(table)) = (choice.as_str(), value.as_object()) else {
        return false;
    };
    table.len() == 1 && table.get(word).is_some_and(Value::is_null)
}

/// As many as are worth reading.
fn tell(to: &mut Mistakes, mistake: Mistake) {
    if to.len() < MOST_TOLD {
        to.push(mistake);
    }
}

fn dotted(mut path: String, key: &str) -> String {
    if !path.is_empty() {
        path.push('.');
    }
    path + key
}

fn list<'s>(schema: &'s Map<String, Value>, keyword: &str) -> &'s [Value] {
    let list = schema.get(keyword).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// What is asked for, if the value is not that. A type that is not known may be anything.
fn mismatch(wanted: &Value, value: &Value) -> Option<String> {
    let fits = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => match value {
            Value::Number(number) => {
                !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
            }
            _ => false,
        },
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    match wanted {
        Value::String(name) => (!fits(name)).then(|| kind(name).to_owned()),
        Value::Array(names) => {
            // Once these might be schemas.
            let known = !names.is_empty() && names.iter().all(Value::is_string);
            let names = || names.iter().filter_map(Value::as_str);
            let none = known && !names().any(fits);
            none.then(|| one_of(names().map(|name| kind(name).to_owned())))
        }
        _ => None,
    }
}

/// Whole numbers are compared as such: a number with a fraction has not room for all of them.
fn compare(a: &Number, b: &Number) -> Option<std::cmp::Ordering> {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}
