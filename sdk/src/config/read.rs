//! JSON, byte by byte, and the path to where one is.

use std::fmt;

use serde::de::{self, Unexpected};

/// Nested deeper than this it is no configuration: a guest's stack is small.
const DEEPEST: usize = 64;

/// Reads JSON (RFC 8259).
pub(super) struct Reader<'a> {
    json: &'a [u8],
    at: usize,
    /// From the outside in. A step is taken back when its value has been read, so that
    /// after a mistake it leads there.
    path: Vec<Step>,
}

enum Step {
    Field(String),
    Item(usize),
}

/// What is wrong, without where.
pub(super) struct Problem(pub(super) String);

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) const fn new(json: &'a [u8]) -> Self {
        Self {
            json,
            at: 0,
            path: Vec::new(),
        }
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) -> Result<(), Problem> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(problem("something follows the value")),
        }
    }

    /// Line and column, from 1.
    pub(super) fn place(&self) -> (usize, usize) {
        let before = self.json.get(..self.at).unwrap_or(self.json);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = before
            .iter()
            .rev()
            .take_while(|byte| **byte != b'\n')
            .count();
        (line, column.max(1))
    }

    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                }
                Step::Item(index) => {
                    path.push('[');
                    path.push_str(&index.to_string());
                    path.push(']');
                }
            }
        }
        path
    }

    pub(super) fn enter_field(&mut self, name: String) -> Result<(), Problem> {
        self.enter(Step::Field(name))
    }

    pub(super) fn enter_item(&mut self, index: usize) -> Result<(), Problem> {
        self.enter(Step::Item(index))
    }

    fn enter(&mut self, step: Step) -> Result<(), Problem> {
        if self.path.len() >= DEEPEST {
            return Err(problem("nested too deep"));
        }
        self.path.push(step);
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.path.pop();
    }

    /// The next byte that is not white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.json.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes that byte, if it is next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Problem> {
        if self.take(byte) {
            return Ok(());
        }
        Err(Problem(match self.peek() {
            Some(found) => format!("'{}' where '{}' should be", found as char, byte as char),
            None => format!("it ends where '{}' should be", byte as char),
        }))
    }

    /// Takes `null`, `true` or `false`.
    pub(super) fn word(&mut self, word: &str) -> bool {
        self.peek();
        let next = self
            .json
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word.as_bytes()));
        if next {
            self.at += word.len();
        }
        next
    }

    /// The value that is next is not what is expected.
    pub(super) fn mistyped(&mut self, expected: &dyn de::Expected) -> Problem {
        let found = match self.peek() {
            Some(b'"') => "a string",
            Some(b'{') => "a map",
            Some(b'[') => "a list",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            Some(b'-' | b'0'..=b'9') => "a number",
            Some(_) => return problem("not JSON"),
            None => return problem("it ends too early"),
        };
        // One column into the value, so that one sees which.
        self.at += 1;
        Problem(format!("invalid type: {found}, expected {expected}"))
    }

    /// The text of a number, as it is written.
    pub(super) fn number(&mut self) -> &'a str {
        self.peek();
        let rest = self.json.get(self.at..).unwrap_or_default();
        let is_part = |byte: &&u8| matches!(**byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
        let length = rest.iter().take_while(is_part).count();
        self.at += length;
        let text = rest.get(..length).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// A string, whose first quote is next.
    pub(super) fn string(&mut self) -> Result<String, Problem> {
        self.expect(b'"')?;
        let mut text = Vec::new();
        loop {
            let byte = self.byte()?;
            match byte {
                b'"' => break,
                b'\\' => self.escape(&mut text)?,
                0..0x20 => return Err(problem("a control character in a string")),
                _ => text.push(byte),
            }
        }
        String::from_utf8(text).map_err(|_| problem("a string that is not UTF-8"))
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        let byte = self.json.get(self.at).copied();
        self.at += 1;
        byte.ok_or_else(|| problem("it ends in a string"))
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Problem> {
        let plain = match self.byte()? {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let character = self.unicode()?;
                let mut bytes = [0; 4];
                text.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
                return Ok(());
            }
            _ => return Err(problem("no such escape in a string")),
        };
        text.push(plain);
        Ok(())
    }

    fn unicode(&mut self) -> Result<char, Problem> {
        let first = self.hexadecimal()?;
        let code = if (0xd800..0xdc00).contains(&first) {
            if (self.byte()?, self.byte()?) != (b'\\', b'u') {
                return Err(problem("half a character in a string"));
            }
            let second = self.hexadecimal()?;
            0x1_0000 + ((first - 0xd800) << 10) + (second.wrapping_sub(0xdc00) & 0x3ff)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| problem("half a character in a string"))
    }

    fn hexadecimal(&mut self) -> Result<u32, Problem> {
        let mut number = 0;
        for _ in 0..4 {
            let digit = char::from(self.byte()?).to_digit(16);
            number = number << 4 | digit.ok_or_else(|| problem("no such escape in a string"))?;
        }
        Ok(number)
    }

    /// Passes over a value, whatever it is.
    pub(super) fn skip(&mut self) -> Result<(), Problem> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => {
                self.number();
                Ok(())
            }
            Some(b'[') => self.skip_all(b']', false),
            Some(b'{') => self.skip_all(b'}', true),
            _ if self.word("null") || self.word("true") || self.word("false") => Ok(()),
            _ => Err(problem("not JSON")),
        }
    }

    fn skip_all(&mut self, end: u8, named: bool) -> Result<(), Problem> {
        self.at += 1;
        if self.take(end) {
            return Ok(());
        }
        for index in 0.. {
            if named {
                self.string()?;
                self.expect(b':')?;
            }
            self.enter_item(index)?;
            self.skip()?;
            self.leave();
            if !self.take(b',') {
                break;
            }
        }
        self.expect(end)
    }
}

pub(super) fn problem(text: &str) -> Problem {
    Problem(text.to_owned())
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    // serde's own would bring the formatting of floating-point numbers into every module.
    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(format!(
            "invalid type: {}, expected {expected}",
            kind(&found)
        ))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(match found {
            Unexpected::Str(text) => format!("invalid value: `{text}`, expected {expected}"),
            Unexpected::Unsigned(number) => {
                format!("invalid value: {number}, expected {expected}")
            }
            Unexpected::Signed(number) => format!("invalid value: {number}, expected {expected}"),
            other => format!("invalid value: {}, expected {expected}", kind(&other)),
        })
    }
}

const fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq | Unexpected::Bytes(_) => "a list",
        _ => "a map",
    }
}
