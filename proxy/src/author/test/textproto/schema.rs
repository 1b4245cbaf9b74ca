//! What a suite may have in it, and what that means.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use cofferdam_abi::{Headers, LogLevel};

use super::super::phases::{Case, Immediate, Phase, Wish};
use super::super::suite::{Body, Filter, Named, Place, Suite, Wanted, What};
use super::super::yaml::whole;
use super::text::{Field, Message, Value, parse};
use crate::config::Diagnostic;
use crate::config::yaml::{Position, Problems, did_you_mean, quote};

/// Reads a suite. `configuration` is a file that is taken instead of the suite's.
///
/// # Errors
/// All that is wrong with it.
pub(in super::super) fn read(
    file: &str,
    bytes: &[u8],
    configuration: Option<&Path>,
) -> Result<Suite, Vec<Diagnostic>> {
    let problems = Problems::new(file);
    let reader = Reader {
        problems: &problems,
        folder: Path::new(file).parent().unwrap_or_else(|| Path::new("")),
        file,
    };
    let suite = match parse(bytes) {
        Ok(message) => Some(reader.suite(&message, configuration)),
        Err(fault) => {
            reader.wrong(fault.line, &fault.what, "see the text form of protobuf");
            None
        }
    };
    match suite {
        Some(suite) if problems.is_empty() => Ok(suite),
        _ => Err(problems.into_sorted()),
    }
}

struct Reader<'t> {
    problems: &'t Problems,
    folder: &'t Path,
    file: &'t str,
}

/// What `env` says.
#[derive(Default)]
struct Env {
    wasm: PathBuf,
    configuration: Bytes,
    level: Option<LogLevel>,
    now: Option<u64>,
}

// === impl Reader ===

impl Reader<'_> {
    fn suite(&self, message: &Message, configuration: Option<&Path>) -> Suite {
        self.known(message, &["env", "test"]);
        let mut env = Env::default();
        if let Some(field) = one(message, "env")
            && let Some(inner) = self.message(field)
        {
            env = self.env(inner);
        }
        if let Some(path) = configuration {
            match std::fs::read(path) {
                Ok(bytes) => env.configuration = bytes.into(),
                Err(error) => {
                    let what = format!("{}: {error}", path.display());
                    self.wrong(1, &what, "give another file to --configuration");
                }
            }
        }
        let tests = message.fields.iter().filter(|field| field.name == "test");
        let cases = tests.filter_map(|field| self.test(field, &env)).collect();
        Suite {
            file: self.file.to_owned(),
            filter: env.wasm,
            shared: Filter::default(),
            clusters: Vec::new(),
            cases,
        }
    }

    fn env(&self, message: &Message) -> Env {
        self.known(
            message,
            &[
                "test_path",
                "wasm_path",
                "config_path",
                "log_level",
                "log_path",
                "time_secs",
                "num_additional_streams",
                "additional_stream_advance_rate",
            ],
        );
        let mut env = Env {
            // INFO, if nothing is said.
            level: Some(LogLevel::Info),
            ..Env::default()
        };
        if let Some(path) = self.text(message, "wasm_path") {
            env.wasm = self.folder.join(path);
        }
        if let Some(field) = one(message, "config_path") {
            env.configuration = self.contents(field).unwrap_or_default();
        }
        if let Some(field) = one(message, "log_level") {
            let level = match &field.value {
                Value::Word(word) => level(word),
                _ => None,
            };
            env.level = level.unwrap_or_else(|| {
                let help = "write TRACE, DEBUG, INFO, WARN, ERROR or CRITICAL";
                self.wrong(field.line, "there is no such level", help);
                Some(LogLevel::Info)
            });
        }
        env.now = self.number(message, "time_secs");
        env
    }

    fn test(&self, field: &Field, env: &Env) -> Option<Named> {
        let message = self.message(field)?;
        self.known(
            message,
            &[
                "name",
                "benchmark",
                "num_chunks",
                "chunk_size",
                "properties",
                "request_headers",
                "request_body",
                "response_headers",
                "response_body",
                "plugin_init",
                "stream_init",
                "stream_destroy",
            ],
        );
        let side = |name: &str| match one(message, name) {
            Some(field) => self
                .message(field)
                .map(|inner| self.wish(field, inner))
                .unwrap_or_default(),
            None => Wish::default(),
        };
        let chunks = self.chunks(field.line, message);
        let properties = message
            .fields
            .iter()
            .filter(|field| field.name == "properties");
        let case = Case {
            filter: Filter {
                configuration: env.configuration.clone(),
                name: "test".to_owned(),
                log_level: env.level,
                ..Filter::default()
            },
            now: env.now,
            properties: properties
                .filter_map(|field| self.property(field))
                .collect(),
            request_headers: one(message, "request_headers")
                .and_then(|field| self.head(field, true)),
            request_body: self.bodies(message, "request_body", chunks),
            response_headers: one(message, "response_headers")
                .and_then(|field| self.head(field, false)),
            response_body: self.bodies(message, "response_body", chunks),
            plugin_init: side("plugin_init"),
            stream_init: side("stream_init"),
            stream_destroy: side("stream_destroy"),
            place: self.place(field.line, "test"),
        };
        Some(Named {
            name: self
                .text(message, "name")
                .unwrap_or_else(|| "(without a name)".to_owned()),
            line: field.line,
            body: Body::Phases(Box::new(case)),
        })
    }

    /// Headers of a phase: by themselves, or as HTTP/1 in `content` or a file.
    fn head(&self, field: &Field, request: bool) -> Option<Phase<Headers>> {
        let (input, wish) = self.invocation(field)?;
        let mut headers = Headers::default();
        if let Some(input) = input {
            if let Some(text) = self.content(input) {
                match http1(&text, request) {
                    Some(read) => headers = read,
                    None => self.wrong(
                        field.line,
                        "this is no head of HTTP/1",
                        "write a first line and headers",
                    ),
                }
            }
            for header in input.fields.iter().filter(|field| field.name == "header") {
                if let Some((name, value)) = self.header(header) {
                    headers.add(&name, value);
                }
            }
        }
        Some(Phase {
            input: headers,
            wish,
        })
    }

    /// Bodies of a phase, each in chunks.
    fn bodies(
        &self,
        message: &Message,
        name: &str,
        chunks: Option<Chunks>,
    ) -> Vec<Phase<Vec<Bytes>>> {
        let fields: Vec<&Field> = message
            .fields
            .iter()
            .filter(|field| field.name == name)
            .collect();
        if chunks.is_some() && fields.len() > 1 {
            let help = "leave num_chunks and chunk_size out";
            self.wrong(
                fields[1].line,
                "there are several bodies and a way to part one",
                help,
            );
        }
        let phase = |field: &&Field| {
            let (input, wish) = self.invocation(field)?;
            let whole = input
                .and_then(|input| self.content(input))
                .unwrap_or_default();
            Some(Phase {
                input: chunks.map_or_else(|| vec![whole.clone()], |chunks| chunks.part(&whole)),
                wish,
            })
        };
        fields.iter().filter_map(phase).collect()
    }

    fn invocation<'m>(&self, field: &'m Field) -> Option<(Option<&'m Message>, Wish)> {
        let message = self.message(field)?;
        self.known(message, &["input", "result"]);
        let input = one(message, "input").and_then(|field| self.message(field));
        if let Some(input) = input {
            self.known(input, &["header", "content", "file"]);
        }
        let wish = match one(message, "result") {
            Some(field) => self.message(field).map(|inner| self.wish(field, inner)),
            None => None,
        };
        let wish = wish.unwrap_or_else(|| Wish {
            place: self.place(field.line, &field.name),
            ..Wish::default()
        });
        Some((input, wish))
    }

    fn wish(&self, field: &Field, message: &Message) -> Wish {
        self.known(
            message,
            &[
                "has_header",
                "no_header",
                "headers",
                "body",
                "immediate",
                "log",
            ],
        );
        let mut wish = Wish {
            place: self.place(field.line, &field.name),
            ..Wish::default()
        };
        for field in &message.fields {
            match &*field.name {
                "has_header" => {
                    if let Some((name, value)) = self.header(field) {
                        let what = What::Exactly(vec![value]);
                        wish.headers.push((name, self.wanted(field, what)));
                    }
                }
                "no_header" => {
                    if let Some((name, _)) = self.header(field) {
                        wish.headers.push((name, self.wanted(field, What::Absent)));
                    }
                }
                "headers" => wish.lines.extend(self.matcher(field)),
                "body" => wish.body.extend(self.matcher(field)),
                "log" => wish.log.extend(self.matcher(field)),
                "immediate" => wish.immediate = self.immediate(field),
                _ => {}
            }
        }
        wish
    }

    fn immediate(&self, field: &Field) -> Option<Immediate> {
        let message = self.message(field)?;
        self.known(message, &["http_status", "grpc_status", "details"]);
        Some(Immediate {
            http_status: self.number(message, "http_status"),
            grpc_status: self.number(message, "grpc_status"),
            details: self.text(message, "details"),
        })
    }

    /// What a text must be, and whether none may be so.
    fn matcher(&self, field: &Field) -> Option<(Wanted, bool)> {
        let message = self.message(field)?;
        self.known(message, &["invert", "exact", "regex", "file"]);
        let invert = self.flag(message, "invert");
        let what = if let Some(field) = one(message, "exact") {
            What::Exactly(vec![self.bytes(field)?])
        } else if let Some(field) = one(message, "file") {
            What::Exactly(vec![self.contents(field)?])
        } else if let Some(text) = self.text(message, "regex") {
            match whole(&text) {
                Ok(pattern) => What::Matches(pattern),
                Err(error) => {
                    self.wrong(field.line, &error, "write a regular expression");
                    return None;
                }
            }
        } else {
            let help = "write one of exact, regex and file";
            self.wrong(field.line, "this says nothing of the text", help);
            return None;
        };
        Some((self.wanted(field, what), invert))
    }

    fn header(&self, field: &Field) -> Option<(Vec<u8>, Bytes)> {
        let message = self.message(field)?;
        self.known(message, &["key", "value"]);
        let Some(key) = self.text(message, "key") else {
            self.wrong(field.line, "`key` is missing", "write the header's name");
            return None;
        };
        let value = one(message, "value").and_then(|field| self.bytes(field));
        Some((
            key.to_ascii_lowercase().into_bytes(),
            value.unwrap_or_default(),
        ))
    }

    fn property(&self, field: &Field) -> Option<(Vec<Bytes>, Bytes)> {
        let message = self.message(field)?;
        self.known(message, &["path", "value"]);
        let path = self.text(message, "path")?;
        let parts = path
            .split('.')
            .map(|part| Bytes::copy_from_slice(part.as_bytes()));
        let value = one(message, "value").and_then(|field| self.bytes(field));
        Some((parts.collect(), value.unwrap_or_default()))
    }

    fn chunks(&self, line: usize, message: &Message) -> Option<Chunks> {
        let many = self.number(message, "num_chunks");
        let long = self.number(message, "chunk_size");
        let fits = |number: u64| usize::try_from(number).ok().filter(|number| *number > 0);
        let chunks = match (many, long) {
            (None, None) => return None,
            (Some(many), None) => fits(many).map(Chunks::Many),
            (None, Some(long)) => fits(long).map(Chunks::Long),
            (Some(_), Some(_)) => None,
        };
        if chunks.is_none() {
            let help = "write one of num_chunks and chunk_size, more than 0";
            self.wrong(line, "a body cannot be parted like that", help);
        }
        chunks
    }

    /// `content`, or what is in `file`.
    fn content(&self, message: &Message) -> Option<Bytes> {
        match one(message, "file") {
            Some(field) => self.contents(field),
            None => self.bytes(one(message, "content")?),
        }
    }

    /// What is in the file that the field names, beside the suite.
    fn contents(&self, field: &Field) -> Option<Bytes> {
        let name = self.bytes(field)?;
        let path = self.folder.join(String::from_utf8_lossy(&name).as_ref());
        match std::fs::read(&path) {
            Ok(bytes) => Some(bytes.into()),
            Err(error) => {
                let what = format!("{}: {error}", path.display());
                self.wrong(
                    field.line,
                    &what,
                    "file names are looked up beside this file",
                );
                None
            }
        }
    }

    fn message<'m>(&self, field: &'m Field) -> Option<&'m Message> {
        let Value::Message(message) = &field.value else {
            let help = format!("write `{} {{ … }}`", field.name);
            self.wrong(field.line, &format!("`{}` is a message", field.name), &help);
            return None;
        };
        Some(message)
    }

    fn bytes(&self, field: &Field) -> Option<Bytes> {
        let Value::Text(bytes) = &field.value else {
            let help = format!("write `{}: \"…\"`", field.name);
            self.wrong(field.line, &format!("`{}` is text", field.name), &help);
            return None;
        };
        Some(bytes.clone())
    }

    fn text(&self, message: &Message, name: &str) -> Option<String> {
        let bytes = self.bytes(one(message, name)?)?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn number(&self, message: &Message, name: &str) -> Option<u64> {
        let field = one(message, name)?;
        let number = match &field.value {
            Value::Word(word) => word.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            let what = format!("`{name}` is a whole number");
            self.wrong(field.line, &what, "write digits alone");
        }
        number
    }

    fn flag(&self, message: &Message, name: &str) -> bool {
        let Some(field) = one(message, name) else {
            return false;
        };
        match &field.value {
            Value::Word(word) if matches!(&**word, "true" | "True" | "t" | "1") => true,
            Value::Word(word) if matches!(&**word, "false" | "False" | "f" | "0") => false,
            _ => {
                let what = format!("`{name}` is a boolean");
                self.wrong(field.line, &what, "write true or false");
                false
            }
        }
    }

    /// Notes fields that mean nothing here, and those that are given more than once though
    /// only one counts.
    fn known(&self, message: &Message, names: &[&str]) {
        for field in &message.fields {
            if !names.contains(&&*field.name) {
                let near = did_you_mean(&field.name, names.iter().copied());
                let help = near.map_or_else(
                    || format!("the fields here are {}", names.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                let what = format!("unknown field {}", quote(&field.name));
                self.wrong(field.line, &what, &help);
            }
        }
    }

    fn wanted(&self, field: &Field, what: What) -> Wanted {
        Wanted {
            place: self.place(field.line, &field.name),
            what,
        }
    }

    fn place(&self, line: usize, path: &str) -> Place {
        Place {
            file: self.file.to_owned(),
            line,
            path: path.to_owned(),
        }
    }

    fn wrong(&self, line: usize, what: &str, help: &str) {
        self.problems
            .add(Position { line, column: 1 }, "$", what, help);
    }
}

/// How a body is parted.
#[derive(Debug, Clone, Copy)]
enum Chunks {
    /// Into so many.
    Many(usize),
    /// Into pieces of that length.
    Long(usize),
}

// === impl Chunks ===

impl Chunks {
    fn part(self, whole: &Bytes) -> Vec<Bytes> {
        let (long, most) = match self {
            Self::Many(many) => ((whole.len() / many).max(1), many),
            Self::Long(long) => (long, usize::MAX),
        };
        let mut rest = whole.clone();
        let mut out = Vec::new();
        while out.len() + 1 < most && rest.len() > long {
            out.push(rest.split_to(long));
        }
        out.push(rest);
        out
    }
}

/// The last field of that name: of several, that is the one that counts.
fn one<'m>(message: &'m Message, name: &str) -> Option<&'m Field> {
    message.fields.iter().rev().find(|field| field.name == name)
}

/// `Some(None)` for a level that says nothing.
fn level(word: &str) -> Option<Option<LogLevel>> {
    Some(Some(match word {
        "UNDEFINED" | "INFO" => LogLevel::Info,
        "TRACE" => LogLevel::Trace,
        "DEBUG" => LogLevel::Debug,
        "WARN" => LogLevel::Warn,
        "ERROR" => LogLevel::Error,
        "CRITICAL" => LogLevel::Critical,
        _ => return None,
    }))
}

/// A head of HTTP/1: what is behind it is left out.
fn http1(bytes: &[u8], request: bool) -> Option<Headers> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let first = lines.next()?;
    let mut words = first.split(' ');
    let mut headers = Headers::default();
    let own = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    if request {
        let (method, target) = (words.next()?, words.next()?);
        headers.add(b":method", own(method));
        // An absolute target has its host and its scheme in it.
        match target.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                headers.add(b":path", own(if path.is_empty() { "/" } else { path }));
                headers.add(b":scheme", own(scheme));
                headers.add(b":authority", own(host));
            }
            None => headers.add(b":path", own(target)),
        }
    } else {
        let status = words.nth(1)?;
        headers.add(b":status", own(status));
    }
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let name = name.trim().to_ascii_lowercase();
        match &*name {
            "host" if request => {
                if headers.get(b":authority").is_none() {
                    headers.add(b":authority", own(value.trim()));
                }
            }
            name => headers.add(name.as_bytes(), own(value.trim())),
        }
    }
    Some(headers)
}
