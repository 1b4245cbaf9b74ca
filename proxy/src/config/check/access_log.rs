//! `access_log`: where lines go and how they look.

use super::{Context, fields, only_one_of};
use crate::access_log::Format;
use crate::config::AccessLogConfig;
use crate::config::yaml::{Node, quote};

const STDOUT: &str = "stdout";

/// The short form `stdout`, or a table.
pub(super) fn read(node: &Node<'_>, context: &Context<'_>) -> Option<AccessLogConfig> {
    if let Some(text) = node.as_text() {
        if text == STDOUT {
            return Some(AccessLogConfig {
                file: None,
                format: Format::default(),
            });
        }
        let help = "write `stdout`, or `{ file: NAME }`; without the key no log is kept";
        node.wrong(format!("{} is not an access log", quote(text)), help);
        return None;
    }
    if !node.is_table() {
        node.unexpected("`stdout` or a table", "write `stdout`, or `{ file: NAME }`");
        return None;
    }
    let object = node.object(&fields::ACCESS_LOG)?;
    let file = object.get("file").and_then(|node| file(&node, context));
    let written = ["format", "json"].map(|name| (name, object.get(name)));
    let format = match only_one_of(&written) {
        None => Format::default(),
        Some(("format", node)) => text(node)?,
        Some((_, node)) => json(node)?,
    };
    Some(AccessLogConfig { file, format })
}

/// The file to append to. It is opened later; here it must be possible that it can be.
fn file(node: &Node<'_>, context: &Context<'_>) -> Option<std::path::PathBuf> {
    let name = node.filled()?;
    if name == STDOUT {
        return None;
    }
    let path = context.files.locate(name);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if path.is_dir() {
        node.wrong(format!("{} is a folder", quote(name)), "name a file in it");
    } else if folder.is_some_and(|folder| !folder.is_dir()) {
        let what = format!("the folder of {} does not exist", quote(name));
        node.wrong(what, "create it, or name another file");
    }
    Some(path)
}

fn text(node: &Node<'_>) -> Option<Format> {
    accepted(node, Format::text(node.filled()?))
}

fn json(node: &Node<'_>) -> Option<Format> {
    let mut good = true;
    let mut fields = Vec::new();
    for entry in node.entries()? {
        // Each by itself first, so that a mistake is told where it is.
        let template = entry.value.scalar();
        let compiled = template.and_then(|text| accepted(&entry.value, Format::text(text)));
        good &= compiled.is_some();
        fields.push((entry.key.to_owned(), template.unwrap_or("").to_owned()));
    }
    if fields.is_empty() {
        node.wrong(
            "there are no fields here",
            "add at least one, or remove `json`",
        );
        return None;
    }
    if good {
        accepted(node, Format::json(fields))
    } else {
        None
    }
}

fn accepted(node: &Node<'_>, format: Result<Format, String>) -> Option<Format> {
    let why = match format {
        Ok(format) => return Some(format),
        Err(why) => why,
    };
    node.refused("", &why, "mend the template");
    None
}
