//! `compat`: a preset, or switches over one. The switches are the host's own list.

use cofferdam_abi::Compat;

use crate::config::yaml::{Node, did_you_mean, quote};

/// What `node` says over `base`; `base` itself when there is none.
pub(super) fn read(node: Option<&Node<'_>>, base: Compat) -> Compat {
    let Some(node) = node else { return base };
    if !node.is_table() {
        return preset(node).unwrap_or(base);
    }
    let entries = node.entries().unwrap_or_default();
    // The preset first, wherever it is written: the switches are changes to it.
    let mut compat = entries
        .iter()
        .find(|entry| entry.key == PRESET)
        .and_then(|entry| preset(&entry.value))
        .unwrap_or(base);
    for entry in entries.iter().filter(|entry| entry.key != PRESET) {
        let Some(words) = Compat::words(entry.key) else {
            let known: Vec<_> = [PRESET].into_iter().chain(Compat::switches()).collect();
            entry.at_key.unknown_key(entry.key, &known);
            continue;
        };
        if let Some(word) = word(&entry.value, words) {
            // Cannot fail: the switch and its word are both known.
            let _ = compat.set(entry.key, word);
        }
    }
    compat
}

const PRESET: &str = "preset";

fn preset(node: &Node<'_>) -> Option<Compat> {
    let name = node.text()?;
    let preset = Compat::preset(name);
    if preset.is_none() {
        let help = did_you_mean(name, Compat::PRESETS).map_or_else(
            || format!("write one of {}", Compat::PRESETS.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        node.wrong(format!("there is no preset {}", quote(name)), help);
    }
    preset
}

/// The word of a switch. `on` and `off` may come as booleans.
fn word(node: &Node<'_>, words: [&'static str; 2]) -> Option<&'static str> {
    if words == ["on", "off"] && node.as_text().is_none() {
        return node.boolean().map(|on| if on { "on" } else { "off" });
    }
    let written = node.text()?;
    let word = words.into_iter().find(|word| *word == written);
    if word.is_none() {
        let what = format!("{} is not a position of this switch", quote(written));
        node.wrong(what, format!("write {} or {}", words[0], words[1]));
    }
    word
}
