//! What the two processes say to each other: one JSON object on a line. Other versions of this
//! program read it, so `hello` and `refused` stay as they are for ever.

use std::io;

use serde_json::{Value, json};

use super::Key;

/// Of everything but `hello` and `refused`; the next one is for whoever changes that.
pub(super) const VERSION: u64 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// I would take over, and speak this version.
    Hello(u64),
    /// No, and why; from either side, whenever.
    Refused(String),
    /// So many sockets are there; whose. (The system knows but who listened first.)
    Offer(usize, u32),
    /// Send those from this one on.
    More(usize),
    /// Some of them; the descriptors come with it.
    Sockets(Vec<Key>),
    /// All is there that I need.
    Ready,
    /// Take connections in.
    Go,
    /// I do, by these.
    Serving(Vec<Key>),
    /// It is yours.
    Bye,
}

// === impl Message ===

impl Message {
    pub(super) fn to_line(&self) -> String {
        let names = |keys: &[Key]| -> Vec<String> { keys.iter().map(Key::to_string).collect() };
        let json = match self {
            Self::Hello(version) => json!({ "hello": version }),
            Self::Refused(why) => json!({ "refused": why }),
            Self::Offer(count, process) => json!({ "offer": count, "process": process }),
            Self::More(from) => json!({ "more": from }),
            Self::Sockets(keys) => json!({ "sockets": names(keys) }),
            Self::Ready => json!({ "ready": true }),
            Self::Go => json!({ "go": true }),
            Self::Serving(keys) => json!({ "serving": names(keys) }),
            Self::Bye => json!({ "bye": true }),
        };
        format!("{json}\n")
    }

    pub(super) fn of_line(line: &[u8]) -> io::Result<Self> {
        Self::read(line).ok_or_else(|| {
            let start: String = String::from_utf8_lossy(line).chars().take(80).collect();
            io::Error::other(format!("not understood: {start:?}"))
        })
    }

    fn read(line: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(line).ok()?;
        let (word, value) = json.as_object()?.iter().next()?;
        let number = || usize::try_from(value.as_u64()?).ok();
        let keys = || -> Option<Vec<Key>> {
            let names = value.as_array()?.iter();
            names
                .map(|name| Some(Key(name.as_str()?.to_owned())))
                .collect()
        };
        Some(match &word[..] {
            "hello" => Self::Hello(value.as_u64()?),
            "refused" => Self::Refused(value.as_str()?.to_owned()),
            "offer" => {
                let process = json.get("process")?.as_u64()?;
                Self::Offer(number()?, u32::try_from(process).ok()?)
            }
            "more" => Self::More(number()?),
            "sockets" => Self::Sockets(keys()?),
            "ready" => Self::Ready,
            "go" => Self::Go,
            "serving" => Self::Serving(keys()?),
            "bye" => Self::Bye,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let keys = vec![Key("unix:/a b\n".to_owned()), Key("\"[::]:80\"".to_owned())];
        for message in [
            Message::Hello(VERSION),
            Message::Refused("a\nb".to_owned()),
            Message::Offer(300, 7),
            Message::More(128),
            Message::Sockets(keys.clone()),
            Message::Ready,
            Message::Go,
            Message::Serving(keys),
            Message::Bye,
        ] {
            let line = message.to_line();
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert_eq!(Message::of_line(line.as_bytes()).unwrap(), message);
        }
    }

    #[test]
    fn what_is_not_is_an_error() {
        for line in [
            "",
            "{}",
            "[]",
            "{\"hello\": -1}",
            "{\"offer\": 1e30}",
            "{\"sockets\": [1]}",
            "{\"sockets\": {}}",
            "{\"later\": 1}",
            "GET / HTTP/1.1",
        ] {
            assert!(Message::of_line(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn these_two_are_the_same_in_every_version() {
        assert_eq!(Message::Hello(1).to_line(), "{\"hello\":1}\n");
        assert_eq!(
            Message::Refused("no".to_owned()).to_line(),
            "{\"refused\":\"no\"}\n"
        );
    }
}
