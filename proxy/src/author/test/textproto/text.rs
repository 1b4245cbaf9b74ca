//! Protobuf's text form as a tree that knows its lines.
//! <https://protobuf.dev/reference/protobuf/textformat-spec/>
//!
//! All of the form but extensions and `Any` (`[name] {…}`), which no suite can have.

use bytes::Bytes;

/// A message: its fields, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) fields: Vec<Field>,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

/// What a field is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Message(Message),
    /// Strings that follow each other are one.
    Text(Bytes),
    /// A number, an enum's value, `true`.
    Word(String),
}

/// What is wrong, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) what: String,
}

/// Deepest nesting.
const DEEPEST: usize = 32;

/// Reads a whole file.
///
/// # Errors
/// The first thing that is wrong with it.
pub(super) fn parse(text: &[u8]) -> Result<Message, Fault> {
    let mut reader = Reader {
        rest: text,
        line: 1,
    };
    let message = reader.message(None, 0)?;
    Ok(message)
}

struct Reader<'t> {
    rest: &'t [u8],
    line: usize,
}

// === impl Reader ===

impl Reader<'_> {
    /// Fields up to `end`, which is taken, or to the end of the file.
    fn message(&mut self, end: Option<u8>, depth: usize) -> Result<Message, Fault> {
        if depth > DEEPEST {
            return Err(self.fault("messages lie too deep inside each other"));
        }
        let opened = self.line;
        let mut fields = Vec::new();
        loop {
            self.skip();
            match self.rest.first() {
                None if end.is_none() => return Ok(Message { fields }),
                None => {
                    return Err(Fault {
                        line: opened,
                        what: "this message has no end".to_owned(),
                    });
                }
                Some(byte) if Some(*byte) == end => {
                    self.next();
                    return Ok(Message { fields });
                }
                Some(_) => self.field(&mut fields, depth)?,
            }
            self.skip();
            if matches!(self.rest.first(), Some(b',' | b';')) {
                self.next();
            }
        }
    }

    fn field(&mut self, fields: &mut Vec<Field>, depth: usize) -> Result<(), Fault> {
        let line = self.line;
        let name = self.word();
        if name.is_empty()
            || !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        {
            return Err(self.unexpected("the name of a field"));
        }
        self.skip();
        let colon = self.take(b':');
        self.skip();
        let mut add = |value| {
            let name = name.clone();
            fields.push(Field { name, line, value });
        };
        if !self.take(b'[') {
            add(self.value(colon, depth)?);
            return Ok(());
        }
        // A list is the field several times.
        self.skip();
        while !self.take(b']') {
            add(self.value(colon, depth)?);
            self.skip();
            if !self.take(b',') {
                self.skip();
                if self.rest.first() != Some(&b']') {
                    return Err(self.unexpected("`,` or `]`"));
                }
            }
            self.skip();
        }
        Ok(())
    }

    /// One value. Without a colon it can only be a message.
    fn value(&mut self, colon: bool, depth: usize) -> Result<Value, Fault> {
        match self.rest.first() {
            Some(b'{') => {
                self.next();
                self.message(Some(b'}'), depth + 1).map(Value::Message)
            }
            Some(b'<') => {
                self.next();
                self.message(Some(b'>'), depth + 1).map(Value::Message)
            }
            _ if !colon => Err(self.unexpected("`:` or `{`")),
            Some(b'"' | b'\'') => self.strings().map(Value::Text),
            _ => {
                let minus = self.take(b'-');
                self.skip();
                let word = self.word();
                if word.is_empty() {
                    return Err(self.unexpected("a value"));
                }
                Ok(Value::Word(if minus { format!("-{word}") } else { word }))
            }
        }
    }

    fn strings(&mut self) -> Result<Bytes, Fault> {
        let mut out = Vec::new();
        loop {
            let Some(&quote) = self
                .rest
                .first()
                .filter(|byte| matches!(byte, b'"' | b'\''))
            else {
                return Ok(out.into());
            };
            self.next();
            self.string(quote, &mut out)?;
            self.skip();
        }
    }

    fn string(&mut self, quote: u8, out: &mut Vec<u8>) -> Result<(), Fault> {
        loop {
            match self.next() {
                None | Some(b'\n') => return Err(self.fault("a string has no end in its line")),
                Some(byte) if byte == quote => return Ok(()),
                Some(b'\\') => self.escape(out)?,
                Some(byte) => out.push(byte),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(byte) = self.next() else {
            return Err(self.fault("a string has no end"));
        };
        let plain = match byte {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'?' | b'\\' | b'\'' | b'"' => byte,
            b'0'..=b'7' => {
                let more = self.digits(2, 8);
                let number = more
                    .iter()
                    .fold(u32::from(byte - b'0'), |sum, digit| sum * 8 + digit);
                match u8::try_from(number) {
                    Ok(byte) => byte,
                    Err(_) => return Err(self.fault("an octal escape is past \\377")),
                }
            }
            b'x' | b'X' => {
                let digits = self.digits(2, 16);
                let number = digits.iter().fold(0, |sum, digit| sum * 16 + digit);
                match (digits.is_empty(), u8::try_from(number)) {
                    (false, Ok(byte)) => byte,
                    _ => return Err(self.fault("\\x has no digits behind it")),
                }
            }
            b'u' | b'U' => {
                let wanted = if byte == b'u' { 4 } else { 8 };
                let digits = self.digits(wanted, 16);
                let number = digits
                    .iter()
                    .fold(0_u32, |sum, digit| sum.wrapping_mul(16) + digit);
                let letter = char::from_u32(number).filter(|_| digits.len() == wanted);
                let Some(letter) = letter else {
                    return Err(self.fault("this is the number of no letter"));
                };
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.fault("there is no such escape")),
        };
        out.push(plain);
        Ok(())
    }

    /// Up to `most` digits.
    fn digits(&mut self, most: usize, radix: u32) -> Vec<u32> {
        let mut out = Vec::new();
        while out.len() < most
            && let Some(digit) = self
                .rest
                .first()
                .and_then(|byte| char::from(*byte).to_digit(radix))
        {
            self.next();
            out.push(digit);
        }
        out
    }

    /// Letters, digits and what numbers are made of.
    fn word(&mut self) -> String {
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'+');
        let length = self.rest.iter().position(|byte| !part(byte));
        let (word, rest) = self.rest.split_at(length.unwrap_or(self.rest.len()));
        self.rest = rest;
        String::from_utf8_lossy(word).into_owned()
    }

    /// Blanks and comments.
    fn skip(&mut self) {
        while let Some(byte) = self.rest.first() {
            match byte {
                b'#' => while !matches!(self.next(), None | Some(b'\n')) {},
                byte if byte.is_ascii_whitespace() => {
                    self.next();
                }
                _ => return,
            }
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.rest.first() == Some(&byte);
        if there {
            self.next();
        }
        there
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.line += usize::from(*first == b'\n');
        Some(*first)
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let found = self.rest.first().map_or_else(
            || "the end of the file".to_owned(),
            |byte| format!("`{}`", char::from(*byte).escape_default()),
        );
        self.fault(&format!("expected {wanted}, found {found}"))
    }

    fn fault(&self, what: &str) -> Fault {
        Fault {
            line: self.line,
            what: what.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, line: usize, value: &[u8]) -> Field {
        Field {
            name: name.to_owned(),
            line,
            value: Value::Text(Bytes::copy_from_slice(value)),
        }
    }

    fn word(name: &str, line: usize, value: &str) -> Field {
        Field {
            name: name.to_owned(),
            line,
            value: Value::Word(value.to_owned()),
        }
    }

    fn fault(of: &str) -> (usize, String) {
        let fault = parse(of.as_bytes()).expect_err("a mistake");
        (fault.line, fault.what)
    }

    #[test]
    fn fields_messages_lists_and_comments_are_read_with_their_lines() {
        let read = parse(
            b"# first\nname: \"a\" 'b'\n  \"c\" # and\ntest { on: true; n: -3, }\ntest: <x: 1.5e+3>\nl: [\"p\", \"q\"]\nm []",
        );
        let inner = |fields| Value::Message(Message { fields });
        let test = |line, fields| Field {
            name: "test".to_owned(),
            line,
            value: inner(fields),
        };
        let wanted = vec![
            text("name", 2, b"abc"),
            test(4, vec![word("on", 4, "true"), word("n", 4, "-3")]),
            test(5, vec![word("x", 5, "1.5e+3")]),
            text("l", 6, b"p"),
            text("l", 6, b"q"),
        ];
        assert_eq!(read, Ok(Message { fields: wanted }));
    }

    #[test]
    fn every_escape_is_what_the_form_says() {
        let read = parse(br#"s: "\a\b\f\n\r\t\v\?\\\'\"\7\101\377\x4\x41\u00e9\U0001F600""#);
        let wanted = b"\x07\x08\x0c\n\r\t\x0b?\\'\"\x07A\xff\x04A\xc3\xa9\xf0\x9f\x98\x80";
        assert_eq!(
            read,
            Ok(Message {
                fields: vec![text("s", 1, wanted)]
            })
        );
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let cases = [
            ("a: 1\nb 2", 2, "expected `:` or `{`, found `2`"),
            ("a {\n b: 1", 1, "this message has no end"),
            ("a: \"x\n", 2, "a string has no end in its line"),
            ("a: \"\\q\"", 1, "there is no such escape"),
            ("a: \"\\777\"", 1, "an octal escape is past \\377"),
            ("a: \"\\xg\"", 1, "\\x has no digits behind it"),
            ("a: \"\\ud800\"", 1, "this is the number of no letter"),
            ("\n\n= 3", 3, "expected the name of a field, found `=`"),
            ("a: [1 2]", 1, "expected `,` or `]`, found `2`"),
            ("a:", 1, "expected a value, found the end of the file"),
            ("}", 1, "expected the name of a field, found `}`"),
        ];
        for (of, line, what) in cases {
            assert_eq!(fault(of), (line, what.to_owned()), "{of}");
        }
        let deep = "a {".repeat(100_000);
        assert_eq!(fault(&deep).1, "messages lie too deep inside each other");
    }
}
