//! Every public item has an example: in its own documentation, or, for what belongs to a type, in
//! the type's, the module's, or that of an item it names in "… has an example".
//!
//! The lint `unreachable_pub` keeps what is not public from being `pub`, so each `pub` counts. What
//! only our own macros write (`#[doc(hidden)]`) does not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use syn::{Attribute, Expr, ImplItem, Item, Lit, Meta, TraitItem, Type, Visibility};

/// An item, and what is said of it.
struct Documented {
    place: String,
    name: String,
    docs: String,
    /// The type or trait it belongs to.
    of: Option<String>,
    module: String,
}

#[derive(Default)]
struct Library {
    items: Vec<Documented>,
    /// Types and traits that are left out, and what belongs to them with them.
    hidden: Vec<(String, String)>,
    /// Documentation by name of an item (`Type`, `Type::method`) or module (its file).
    docs: BTreeMap<String, String>,
}

fn docs(attributes: &[Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes {
        if let Meta::NameValue(doc) = &attribute.meta
            && attribute.path().is_ident("doc")
        {
            match &doc.value {
                Expr::Lit(literal) => {
                    if let Lit::Str(line) = &literal.lit {
                        let _ = writeln!(text, "{}", line.value());
                    }
                }
                // `concat!(…)`, in macros.
                _ => text.push_str("…\n"),
            }
        }
    }
    text
}

/// Tests, and what macros alone write.
fn is_left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else {
            return false;
        };
        let inside = list.tokens.to_string();
        (attribute.path().is_ident("doc") && inside == "hidden")
            || (attribute.path().is_ident("cfg")
                && (inside == "test" || inside.contains("doctest")))
    })
}

/// The code in a text, without the signs around it.
fn code(docs: &str) -> String {
    let blocks = docs.split("```").skip(1).step_by(2);
    let code = blocks.filter(|block| !block.trim_start().starts_with("text"));
    code.collect::<Vec<_>>().join("\n")
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .any(|found| found == word)
}

impl Library {
    fn source(&mut self, source: &str, module: &str) {
        let parsed = syn::parse_file(source).unwrap_or_else(|error| panic!("{module}: {error}"));
        self.docs.insert(module.to_owned(), docs(&parsed.attrs));
        for item in &parsed.items {
            self.item(item, module);
        }
    }

    fn add(&mut self, module: &str, of: Option<&str>, name: &str, attributes: &[Attribute]) {
        let full = of.map_or_else(|| name.to_owned(), |of| format!("{of}::{name}"));
        let docs = docs(attributes);
        self.docs.entry(full.clone()).or_default().push_str(&docs);
        self.items.push(Documented {
            place: format!("{module}: {full}"),
            name: name.to_owned(),
            docs,
            of: of.map(str::to_owned),
            module: module.to_owned(),
        });
    }

    fn item(&mut self, item: &Item, module: &str) {
        if let Item::Struct(syn::ItemStruct { ident, attrs, .. })
        | Item::Trait(syn::ItemTrait { ident, attrs, .. }) = item
            && is_left_out(attrs)
        {
            self.hidden.push((module.to_owned(), ident.to_string()));
        }
        let public = |visibility: &Visibility| matches!(visibility, Visibility::Public(_));
        macro_rules! plain {
            ($item:expr, $name:expr) => {
                if public(&$item.vis) && !is_left_out(&$item.attrs) {
                    self.add(module, None, &$name.to_string(), &$item.attrs);
                }
            };
        }
        match item {
            Item::Fn(item) => plain!(item, item.sig.ident),
            Item::Struct(item) => plain!(item, item.ident),
            Item::Enum(item) => plain!(item, item.ident),
            Item::Type(item) => plain!(item, item.ident),
            Item::Const(item) => plain!(item, item.ident),
            Item::Static(item) => plain!(item, item.ident),
            Item::Macro(item) => {
                let exported = item.attrs.iter().any(|a| a.path().is_ident("macro_export"));
                if let (true, Some(name)) = (exported, &item.ident) {
                    self.add(module, None, &name.to_string(), &item.attrs);
                }
            }
            // Documented where it is lent from; of another crate, here.
            Item::Use(item) if public(&item.vis) => {
                let mut names = Vec::new();
                if let syn::UseTree::Path(path) = &item.tree
                    && path.ident.to_string().starts_with("cofferdam")
                {
                    used(&path.tree, &mut names);
                }
                for name in names {
                    self.add(module, None, &name, &item.attrs);
                }
            }
            Item::Trait(item) if public(&item.vis) && !is_left_out(&item.attrs) => {
                let name = item.ident.to_string();
                self.add(module, None, &name, &item.attrs);
                for member in &item.items {
                    let (ident, attributes) = match member {
                        TraitItem::Fn(member) => (&member.sig.ident, &member.attrs),
                        TraitItem::Const(member) => (&member.ident, &member.attrs),
                        TraitItem::Type(member) => (&member.ident, &member.attrs),
                        _ => continue,
                    };
                    if !is_left_out(attributes) {
                        self.add(module, Some(&name), &ident.to_string(), attributes);
                    }
                }
            }
            Item::Impl(item) if item.trait_.is_none() && !is_left_out(&item.attrs) => {
                let Type::Path(of) = &*item.self_ty else {
                    return;
                };
                let of = of.path.segments.last().unwrap().ident.to_string();
                for member in &item.items {
                    let (vis, ident, attributes) = match member {
                        ImplItem::Fn(member) => (&member.vis, &member.sig.ident, &member.attrs),
                        ImplItem::Const(member) => (&member.vis, &member.ident, &member.attrs),
                        _ => continue,
                    };
                    if public(vis) && !is_left_out(attributes) {
                        self.add(module, Some(&of), &ident.to_string(), attributes);
                    }
                }
            }
            Item::Mod(item) if public(&item.vis) && !is_left_out(&item.attrs) => {
                for inner in item.content.iter().flat_map(|(_, items)| items) {
                    self.item(inner, module);
                }
            }
            _ => {}
        }
    }

    /// Where an item says its example is: "[`Chunk`] has an example".
    fn named(&self, item: &Documented) -> String {
        let text = item.docs.replace('\n', " ");
        let Some((before, _)) = text.split_once("has an example") else {
            return String::new();
        };
        let parent = Path::new(&item.module)
            .parent()
            .unwrap_or_else(|| Path::new(""));
        let link = before.rsplit_once('[').map_or("", |(_, link)| link);
        let (shown, target) = link.split_once(']').unwrap_or_default();
        let target = target.trim().trim_start_matches('(').trim_end_matches(')');
        let key = match target {
            "Self" => item.of.clone().unwrap_or_default(),
            "self" => item.module.clone(),
            "super" => format!("{}.rs", parent.display()),
            _ => shown.trim_matches('`').to_owned(),
        };
        code(self.docs.get(&key).map_or("", |docs| docs))
    }

    fn has_example(&self, item: &Documented) -> bool {
        if !code(&item.docs).is_empty() {
            return true;
        }
        let around = [item.of.as_ref(), Some(&item.module)];
        let around = around.into_iter().flatten();
        let mut around = around.map(|key| code(self.docs.get(key).map_or("", |docs| docs)));
        has_word(&self.named(item), &item.name) || around.any(|code| has_word(&code, &item.name))
    }
}

impl Library {
    /// Places of what has no example.
    fn lacking(&self) -> Vec<&str> {
        let is_hidden = |item: &&Documented| {
            let of = item.of.clone();
            of.is_some_and(|of| self.hidden.contains(&(item.module.clone(), of)))
        };
        let shown = self.items.iter().filter(|item| !is_hidden(item));
        let lacking = shown.filter(|item| !self.has_example(item));
        lacking.map(|item| &item.place[..]).collect()
    }
}

fn used(tree: &syn::UseTree, names: &mut Vec<String>) {
    match tree {
        syn::UseTree::Name(name) => names.push(name.ident.to_string()),
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| used(tree, names)),
        syn::UseTree::Path(path) => used(&path.tree, names),
        _ => {}
    }
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
}

#[test]
fn every_public_item_has_an_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    let mut library = Library::default();
    for file in &files {
        let module = file.strip_prefix(&root).unwrap().display().to_string();
        library.source(&std::fs::read_to_string(file).unwrap(), &module);
    }
    // A check that finds nothing to look at proves nothing.
    assert!(library.items.len() > 250, "{}", library.items.len());
    let lacking = library.lacking();
    assert!(
        lacking.is_empty(),
        "{} of {} have no example:\n{}",
        lacking.len(),
        library.items.len(),
        lacking.join("\n")
    );
}

#[test]
fn what_has_no_example_is_found() {
    let mut library = Library::default();
    let source = r#"
//! A module.
//! ```
//! bare();
//! ```

/// Nothing.
pub fn lacks() {}
/// In the module.
pub fn bare() {}
/// ```text
/// no code
/// ```
pub struct Shown;
impl Shown {
    /// ```
    /// Shown::has();
    /// ```
    pub fn has() {}
    /// [`Shown::has`] has an example.
    pub fn refers() {}
    fn private() {}
}
#[doc(hidden)]
pub trait Written {
    fn by_macros();
}
"#;
    library.source(source, "m.rs");
    assert_eq!(
        library.lacking(),
        ["m.rs: lacks", "m.rs: Shown", "m.rs: Shown::refers"]
    );
}
