//! Text to tree, from the parser's events.
//!
//! The events are pulled one at a time, so nothing recurses while a file is read, and a
//! file nested deeper than [`MAX_DEPTH`] is refused before anything does. An alias shares
//! its anchor's item: however many there are, memory is bounded by the file; what walks
//! the tree afterwards is bounded by [`MAX_VALUES`], which counts an aliased item at each
//! of its uses.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde_yaml::{Event, Parser, ScalarStyle, Span, Tag};

use super::fault::{Fault, bad_key, bad_tag, syntax, too_deep, too_many};
use super::scalar::{collection_tag, resolve};
use super::{Item, Pair, Position, Problems, Value, node};

/// Largest file read.
pub const MAX_FILE_BYTES: u64 = 8 << 20;

/// Deepest nesting.
pub(super) const MAX_DEPTH: usize = 64;

/// Most values in one file, aliases counted wherever they are used.
pub(super) const MAX_VALUES: usize = 1_000_000;

/// Reads `text`. `None` when there is no tree to look at; `problems` then says why, and
/// otherwise holds what can be looked past: duplicate keys. `least` is what a file of this kind
/// cannot do without.
#[must_use]
pub fn parse(text: &str, least: &str, problems: &Problems) -> Option<Rc<Item>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        problems,
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
    };
    let mut parser = Parser::new_from_str(text);
    let outcome = loop {
        match parser.next_event() {
            None | Some(Ok((Event::StreamEnd, _))) => break Ok(()),
            Some(Err(error)) => break Err(syntax(&error)),
            Some(Ok((event, span))) => {
                if let Err(mut fault) = builder.event(event, span) {
                    fault.path = builder.path();
                    break Err(fault);
                }
            }
        }
    };
    if let Err(fault) = outcome {
        problems.add(fault.at, &fault.path, &fault.what, fault.help);
        return None;
    }
    match builder.root {
        Some(root) if !matches!(root.value, Value::Null) => Some(root),
        _ => {
            let help = format!("write at least `{least}`");
            problems.add(Position::START, "$", "the file is empty", &help);
            None
        }
    }
}

struct Builder<'p> {
    problems: &'p Problems,
    open: Vec<Open>,
    /// Finished items by anchor. An anchor still open is not here, so that nothing can
    /// contain itself.
    anchors: HashMap<usize, Rc<Item>>,
    root: Option<Rc<Item>>,
}

/// A list or table whose end has not come.
struct Open {
    position: Position,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Rc<Item>>),
    Table {
        pairs: Vec<Pair>,
        keys: HashSet<Rc<str>>,
        /// Tables under `<<`, whose keys come in where they are not written here.
        merged: Vec<Pair>,
        key: Option<Key>,
    },
}

struct Key {
    text: Rc<str>,
    position: Position,
    merge: bool,
}

// === impl Builder ===

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let at = position(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), at)
            }
            Event::Alias(anchor) => {
                let item = self.anchors.get(&anchor).map(Rc::clone).ok_or_else(|| {
                    let what = "this alias stands inside the value it refers to".to_owned();
                    Fault::new(at, what, "write the value out")
                })?;
                if self.expects_key() {
                    let text = item.text.clone();
                    let scalar = !matches!(item.value, Value::List(_) | Value::Table(_));
                    return if scalar {
                        self.key(&text, false, at)
                    } else {
                        Err(bad_key(at))
                    };
                }
                self.finished(item)
            }
            Event::SequenceStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "seq").map_err(|what| bad_tag(at, what))?;
                self.begin(at, anchor, Inside::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "map").map_err(|what| bad_tag(at, what))?;
                let inside = Inside::Table {
                    pairs: Vec::new(),
                    keys: HashSet::new(),
                    merged: Vec::new(),
                    key: None,
                };
                self.begin(at, anchor, inside)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::DocumentStart(_) if self.root.is_some() => Err(Fault::new(
                at,
                "a second document begins here".to_owned(),
                "a configuration is one document; remove the `---` and what follows it",
            )),
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(), Fault> {
        let value = resolve(text, style, tag).map_err(|what| bad_tag(at, what))?;
        let merge = text == "<<" && style == ScalarStyle::Plain && tag.is_none();
        let key = self.expects_key();
        if !key || anchor != 0 {
            let item = Rc::new(Item::new(at, text.to_owned(), value));
            self.remember(anchor, &item);
            if !key {
                return self.finished(item);
            }
        }
        self.key(text, merge, at)
    }

    fn expects_key(&self) -> bool {
        matches!(
            self.open.last(),
            Some(Open {
                inside: Inside::Table { key: None, .. },
                ..
            })
        )
    }

    fn key(&mut self, text: &str, merge: bool, position: Position) -> Result<(), Fault> {
        if let Some(Open {
            inside: Inside::Table { key, .. },
            ..
        }) = self.open.last_mut()
        {
            *key = Some(Key {
                text: Rc::from(text),
                position,
                merge,
            });
        }
        Ok(())
    }

    fn begin(&mut self, position: Position, anchor: usize, inside: Inside) -> Result<(), Fault> {
        if self.expects_key() {
            return Err(bad_key(position));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(too_deep(position));
        }
        self.open.push(Open {
            position,
            anchor,
            inside,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(Open {
            position,
            anchor,
            inside,
        }) = self.open.pop()
        else {
            return Ok(());
        };
        let value = match inside {
            Inside::List(items) => Value::List(items),
            Inside::Table {
                mut pairs,
                mut keys,
                merged,
                ..
            } => {
                for pair in merged {
                    if keys.insert(Rc::clone(&pair.key)) {
                        pairs.push(pair);
                    }
                }
                Value::Table(pairs)
            }
        };
        let item = Rc::new(Item::new(position, String::new(), value));
        self.remember(anchor, &item);
        self.finished(item)
    }

    fn remember(&mut self, anchor: usize, item: &Rc<Item>) {
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(item));
        }
    }

    /// Puts a finished item where it belongs.
    fn finished(&mut self, item: Rc<Item>) -> Result<(), Fault> {
        if item.depth + self.open.len() > MAX_DEPTH {
            return Err(too_deep(item.position));
        }
        if item.weight > MAX_VALUES {
            return Err(too_many(item.position));
        }
        let path = if self.is_repeated() {
            self.path()
        } else {
            String::new()
        };
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => self.root = Some(item),
            Some(Inside::List(items)) => items.push(item),
            Some(Inside::Table {
                pairs,
                keys,
                merged,
                key,
            }) => {
                let Some(key) = key.take() else { return Ok(()) };
                if key.merge {
                    return merge(&item, merged, &key, self.problems, &path);
                }
                if keys.insert(Rc::clone(&key.text)) {
                    pairs.push(Pair {
                        key: key.text,
                        position: key.position,
                        value: item,
                    });
                } else {
                    let what = format!("the key {} is written twice", node::quote(&key.text));
                    self.problems
                        .add(key.position, &path, &what, "remove one of the two");
                }
            }
        }
        Ok(())
    }

    /// Whether the key whose value is finished is `<<` or there already: what may be a
    /// mistake, and worth knowing the path of.
    fn is_repeated(&self) -> bool {
        match self.open.last().map(|open| &open.inside) {
            Some(Inside::Table {
                keys,
                key: Some(key),
                ..
            }) => key.merge || keys.contains(&key.text),
            _ => false,
        }
    }

    /// Where the value being read stands.
    fn path(&self) -> String {
        self.open
            .iter()
            .fold("$".to_owned(), |path, open| match &open.inside {
                Inside::List(items) => node::index_path(&path, items.len()),
                Inside::Table { key: Some(key), .. } => node::key_path(&path, &key.text),
                Inside::Table { .. } => path,
            })
    }
}

/// Takes over the keys of the table, or tables, under `<<`; earlier ones win.
fn merge(
    item: &Rc<Item>,
    merged: &mut Vec<Pair>,
    key: &Key,
    problems: &Problems,
    path: &str,
) -> Result<(), Fault> {
    let sources = match &item.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(item),
    };
    for source in sources {
        let Value::Table(pairs) = &source.value else {
            let what = format!("expected a table to merge, found {}", source.kind());
            let help = "write `<<: *anchor` or `<<: [*one, *other]`, each a table";
            problems.add(key.position, path, &what, help);
            continue;
        };
        if merged.len() + pairs.len() > MAX_VALUES {
            return Err(too_many(key.position));
        }
        merged.extend(pairs.iter().cloned());
    }
    Ok(())
}

fn position(span: Span) -> Position {
    Position {
        line: span.start.line().max(1),
        column: span.start.col() + 1,
    }
}
