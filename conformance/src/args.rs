//! Command lines of the drivers: long options only, checked against a list.
//!
//! A full argument parser would be the crate's largest dependency; the drivers take a
//! handful of options each.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::{Error, Result};

/// One option a command takes.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// The name with its dashes, as typed.
    pub name: &'static str,
    /// The value's name in the help; none for a switch.
    pub value: Option<&'static str>,
    /// One line of help.
    pub help: &'static str,
}

/// What was typed.
#[derive(Debug)]
pub struct Args(BTreeMap<&'static str, String>);

impl Args {
    /// Reads the process's own command line; `None` when help was asked for and printed.
    ///
    /// # Errors
    /// An unknown option, a missing value or a stray word.
    pub fn from_env(about: &str, options: &[Opt]) -> Result<Option<Self>> {
        let mut words = Vec::new();
        for word in std::env::args_os().skip(1) {
            let word = word
                .into_string()
                .map_err(|word| Error::Usage(format!("{} is not UTF-8", word.display())))?;
            words.push(word);
        }
        if words.iter().any(|word| word == "--help" || word == "-h") {
            print!("{}", help(about, options));
            return Ok(None);
        }
        Self::parse(words, options).map(Some)
    }

    /// Reads `words` against `options`; both `--name value` and `--name=value` work.
    ///
    /// # Errors
    /// An unknown option, a missing value or a stray word.
    pub fn parse(words: impl IntoIterator<Item = String>, options: &[Opt]) -> Result<Self> {
        let mut found = BTreeMap::new();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let (name, inline) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let Some(option) = options.iter().find(|option| option.name == name) else {
                return Err(Error::Usage(format!("unknown option {name}; see --help")));
            };
            let value = match (option.value, inline) {
                (None, None) => String::new(),
                (None, Some(_)) => {
                    return Err(Error::Usage(format!("{name} takes no value")));
                }
                (Some(_), Some(value)) => value,
                (Some(what), None) => words
                    .next()
                    .ok_or_else(|| Error::Usage(format!("{name} needs {what} after it")))?,
            };
            if found.insert(option.name, value).is_some() {
                return Err(Error::Usage(format!("{name} is given twice")));
            }
        }
        Ok(Self(found))
    }

    /// Whether an option was given.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// An option's value as typed.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// An option's value as typed, which must be there.
    ///
    /// # Errors
    /// The option was not given.
    pub fn required(&self, name: &str) -> Result<&str> {
        self.text(name)
            .ok_or_else(|| Error::Usage(format!("{name} is needed; see --help")))
    }

    /// A number within bounds, or the default when the option was not given.
    ///
    /// # Errors
    /// Not a number, or out of bounds.
    pub fn number<T>(&self, name: &str, default: T, least: T, most: T) -> Result<T>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        match text.parse::<T>() {
            Ok(value) if value >= least && value <= most => Ok(value),
            _ => Err(Error::Usage(format!(
                "{name} must be a number from {least} to {most}, not {text:?}"
            ))),
        }
    }
}

fn help(about: &str, options: &[Opt]) -> String {
    let mut text = format!("{about}\n\n");
    for option in options {
        let left = match option.value {
            Some(value) => format!("{} {value}", option.name),
            None => option.name.to_owned(),
        };
        text.push_str(&format!("  {left:<24} {}\n", option.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[Opt] = &[
        Opt {
            name: "--slices",
            value: Some("N"),
            help: "",
        },
        Opt {
            name: "--idle",
            value: None,
            help: "",
        },
    ];

    fn parse(line: &str) -> Result<Args> {
        Args::parse(line.split_whitespace().map(str::to_owned), OPTIONS)
    }

    #[test]
    fn both_spellings_of_a_value_are_read() {
        for line in ["--slices 9 --idle", "--idle --slices=9"] {
            let args = parse(line).unwrap();
            assert!(args.has("--idle"));
            assert_eq!(args.number("--slices", 7, 1, 100).unwrap(), 9);
        }
        assert_eq!(parse("").unwrap().number("--slices", 7, 1, 100).unwrap(), 7);
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for line in [
            "--slice 9",
            "word",
            "--slices",
            "--idle=yes",
            "--idle --idle",
        ] {
            assert_eq!(parse(line).unwrap_err().status(), 64, "{line}");
        }
        for line in ["--slices x", "--slices 0", "--slices 101"] {
            let args = parse(line).unwrap();
            assert!(args.number("--slices", 7, 1, 100).is_err(), "{line}");
        }
    }
}
