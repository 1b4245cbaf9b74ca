//! What is changed of one message.

use cofferdam_sdk::config::Schema;
use cofferdam_sdk::{Headers, Status, info};
use filters_common::{Captured, HeaderName, Template};
use serde::Deserialize;

/// Changes of a message's headers, in the order in which they are made.
#[derive(Deserialize, Schema, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Changes {
    /// Only if all of these hold.
    when: Vec<Condition>,
    /// Headers to remove.
    remove: Vec<HeaderName>,
    /// Headers whose name begins so are removed.
    remove_prefix: Vec<HeaderName>,
    /// Headers to give another name. One that has the other name already is replaced.
    rename: Vec<Move>,
    /// Headers to copy to another name.
    map: Vec<Move>,
    /// Headers to set, whether they are there or not.
    set: Vec<Header>,
    /// Headers to add where they are not there.
    add: Vec<Header>,
    /// Headers to add to those of the same name.
    append: Vec<Header>,
}

/// A header and its value. A value that comes to nothing leaves the header as it is.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Header {
    /// The header's name.
    name: HeaderName,
    /// Its value, a template.
    value: Template,
}

#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Move {
    /// The name it has.
    from: HeaderName,
    /// The name it gets.
    to: HeaderName,
}

/// Something that holds or does not.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
struct Condition {
    /// What is looked at, a template such as `{header.x-plan}`.
    value: Template,
    /// What it is to be; without this, anything but nothing.
    equals: Option<String>,
    /// Holds where it otherwise would not.
    #[serde(default)]
    not: bool,
}

// === impl Changes ===

impl Changes {
    /// Reads what they will need of the request when it is gone.
    pub(crate) fn capture<'a>(&'a self, captured: &mut Captured<'a>) {
        let conditions = self.when.iter().map(|condition| &condition.value);
        let headers = self.set.iter().chain(&self.add).chain(&self.append);
        let templates = conditions.chain(headers.map(|header| &header.value));
        captured.capture(templates.flat_map(Template::variables));
    }

    /// Makes them; whether there were any to make. In a dry run they are only logged.
    pub(crate) fn apply(
        &self,
        headers: &mut Headers,
        captured: &Captured<'_>,
        dry_run: bool,
    ) -> Result<bool, Status> {
        if self.is_empty() || !self.when.iter().all(|when| when.holds(captured)) {
            return Ok(false);
        }
        if dry_run {
            self.log();
            return Ok(true);
        }
        for name in &self.remove {
            headers.remove(name.as_str())?;
        }
        if !self.remove_prefix.is_empty() {
            headers.retain(|name, _| !self.is_removed(name))?;
        }
        for Move { from, to } in &self.rename {
            let values = headers.get_all(from.as_str());
            if !values.is_empty() {
                headers.remove(from.as_str())?;
                replace(headers, to, &values)?;
            }
        }
        for Move { from, to } in &self.map {
            let values = headers.get_all(from.as_str());
            if !values.is_empty() {
                replace(headers, to, &values)?;
            }
        }
        for (name, value) in self.set.iter().filter_map(|header| header.read(captured)) {
            headers.set(name, value)?;
        }
        for (name, value) in self.add.iter().filter_map(|header| header.read(captured)) {
            if !headers.contains(name) {
                headers.set(name, value)?;
            }
        }
        for (name, value) in self
            .append
            .iter()
            .filter_map(|header| header.read(captured))
        {
            headers.add(name, value)?;
        }
        Ok(true)
    }

    const fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.remove_prefix.is_empty()
            && self.rename.is_empty()
            && self.map.is_empty()
            && self.set.is_empty()
            && self.add.is_empty()
            && self.append.is_empty()
    }

    fn is_removed(&self, name: &[u8]) -> bool {
        let begins = |prefix: &HeaderName| {
            let start = name.get(..prefix.as_str().len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_str().as_bytes()))
        };
        self.remove_prefix.iter().any(begins)
    }

    /// What would be done, by names alone: values may be secrets.
    fn log(&self) {
        let names = |verb: &str, names: &mut dyn Iterator<Item = &HeaderName>| {
            for name in names {
                info!("dry run: would {verb} {}", name.as_str());
            }
        };
        names("remove", &mut self.remove.iter());
        names("remove what begins with", &mut self.remove_prefix.iter());
        names("rename", &mut self.rename.iter().map(|header| &header.from));
        names("copy", &mut self.map.iter().map(|header| &header.from));
        names("set", &mut self.set.iter().map(|header| &header.name));
        names("add", &mut self.add.iter().map(|header| &header.name));
        names("append", &mut self.append.iter().map(|header| &header.name));
    }
}

fn replace(
    headers: &mut Headers,
    name: &HeaderName,
    values: &[impl AsRef<[u8]>],
) -> Result<(), Status> {
    headers.remove(name.as_str())?;
    values
        .iter()
        .try_for_each(|value| headers.add(name.as_str(), value))
}

// === impl Header ===

impl Header {
    fn read(&self, captured: &Captured<'_>) -> Option<(&str, Vec<u8>)> {
        let value = self.value.header_value(captured);
        (!value.is_empty()).then(|| (self.name.as_str(), value))
    }
}

// === impl Condition ===

impl Condition {
    fn holds(&self, captured: &Captured<'_>) -> bool {
        let value = self.value.header_value(captured);
        let holds = match &self.equals {
            Some(wanted) => value == wanted.as_bytes(),
            None => !value.is_empty(),
        };
        holds != self.not
    }
}
