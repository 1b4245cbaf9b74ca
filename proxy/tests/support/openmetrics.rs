//! OpenMetrics text as a strict reader sees it (the specification's version 1.0.0).

use std::collections::{BTreeMap, BTreeSet};

/// A page that is as it should be: values by series, as `name{label="value"}`.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) samples: BTreeMap<String, f64>,
    /// Kinds by family.
    pub(crate) families: BTreeMap<String, String>,
}

/// One line's name, labels and value.
struct Line<'a> {
    name: &'a str,
    labels: Vec<(String, String)>,
    value: f64,
}

// === impl Page ===

impl Page {
    /// Panics where the text is not what the specification says.
    pub(crate) fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n");
        let body = body.unwrap_or_else(|| panic!("no end: {text}"));
        let mut page = Self {
            samples: BTreeMap::new(),
            families: BTreeMap::new(),
        };
        let mut family: Option<(String, String)> = None;
        // Of each histogram's series: the bound and the count of its last bucket.
        let mut buckets: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        let mut helped = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert!(is_name(name), "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let before = page.families.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "a family is in one place: {line}");
                let ends: &[&str] = match kind {
                    "counter" => &["", "_total", "_created"],
                    "gauge" => &[""],
                    _ => &["", "_bucket", "_sum", "_count", "_created"],
                };
                for end in ends {
                    let name = format!("{name}{end}");
                    assert!(!taken.contains(&name), "{name} is another family's: {line}");
                    taken.insert(name);
                }
                family = Some((name.to_owned(), kind.to_owned()));
                continue;
            }
            let (name, kind) = family.as_ref().unwrap_or_else(|| panic!("{line}"));
            if let Some(rest) = line.strip_prefix("# HELP ") {
                assert_eq!(rest.split(' ').next(), Some(&name[..]), "{line}");
                assert!(helped.insert(name.clone()), "{line}");
                continue;
            }
            let sample = Line::parse(line);
            let suffix = sample.name.strip_prefix(&name[..]);
            let suffix = suffix.unwrap_or_else(|| panic!("of another family than {name}: {line}"));
            let fits: &[&str] = match &kind[..] {
                "counter" => &["_total"],
                "gauge" => &[""],
                _ => &["_bucket", "_sum", "_count"],
            };
            assert!(fits.contains(&suffix), "{kind}: {line}");
            assert!(kind == "gauge" || sample.value >= 0.0, "{line}");
            let mut names: Vec<_> = sample.labels.iter().map(|(name, _)| name).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), sample.labels.len(), "a label twice: {line}");
            let bound = sample.labels.iter().find(|(name, _)| name == "le");
            assert_eq!(bound.is_some(), suffix == "_bucket", "{line}");
            let others = sample.labels.iter().filter(|(name, _)| name != "le");
            let series = format!("{name} {:?}", others.collect::<Vec<_>>());
            if let Some((_, bound)) = bound {
                let bound: f64 = match &bound[..] {
                    "+Inf" => f64::INFINITY,
                    number => number.parse().expect(line),
                };
                let before = buckets.insert(series, (bound, sample.value));
                let (last, count) = before.unwrap_or((f64::NEG_INFINITY, 0.0));
                assert!(last < bound && count <= sample.value, "{line}");
            } else if suffix == "_count" {
                let last = (f64::INFINITY, sample.value);
                assert_eq!(buckets.get(&series), Some(&last), "{line}");
            }
            let key = key(sample.name, &sample.labels);
            let before = page.samples.insert(key, sample.value);
            assert_eq!(before, None, "a series is there once: {line}");
        }
        page
    }

    /// The value of a series, labels in their order.
    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }

    /// Of all series of a name that have these labels among theirs.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |series: &&String| {
            series.split('{').next() == Some(name)
                && labels
                    .iter()
                    .all(|(label, value)| series.contains(&format!("{label}=\"{value}\"")))
        };
        let names = self.samples.keys().filter(fits);
        names.map(|name| self.samples[name]).sum()
    }
}

fn key(name: &str, labels: &[(String, String)]) -> String {
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    if labels.is_empty() {
        name.to_owned()
    } else {
        format!("{name}{{{}}}", labels.join(","))
    }
}

fn is_name(name: &str) -> bool {
    let letter = |(at, byte): (usize, u8)| {
        byte == b'_' || byte.is_ascii_alphabetic() || at > 0 && byte.is_ascii_digit()
    };
    !name.is_empty() && name.bytes().enumerate().all(letter)
}

// === impl Line ===

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
        let (name, mut rest) = line.split_at(end);
        assert!(is_name(name), "{line}");
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                let (label, after) = rest.split_once("=\"").expect(line);
                assert!(is_name(label), "{line}");
                let (value, after) = quoted(after, line);
                labels.push((label.to_owned(), value));
                rest = after;
                match rest.split_at(1) {
                    (",", after) => rest = after,
                    ("}", after) => {
                        rest = after;
                        break;
                    }
                    _ => panic!("{line}"),
                }
            }
        }
        let value = rest.strip_prefix(' ').expect(line);
        assert!(!value.contains(' '), "{line}");
        Self {
            name,
            labels,
            value: value.parse().expect(line),
        }
    }
}

/// Up to the closing quote, and what comes after it.
fn quoted<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => match letters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                _ => panic!("an escape that there is not: {line}"),
            },
            letter => value.push(letter),
        }
    }
    panic!("no closing quote: {line}")
}
