//! Parameters of a query.

/// The parameters behind a path's `?`, in order.
///
/// ```
/// use cofferdam_sdk::query::Query;
///
/// let query = Query::of_path(b"/find?q=a%20b&page=2&q=c+d&flag");
/// assert_eq!(query.get("q"), Some("a b"));
/// assert_eq!(query.get_all("q").collect::<Vec<_>>(), ["a b", "c d"]);
/// assert_eq!(query.get("flag"), Some(""));
/// assert_eq!(query.get("none"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query(Vec<(String, String)>);

// === impl Query ===

impl Query {
    /// Those of a request's `:path`. What is not UTF-8 is U+FFFD; a `%` that is no escape
    /// stands for itself.
    ///
    /// ```
    /// let query = cofferdam_sdk::query::Query::of_path(b"/?a=100%");
    /// assert_eq!(query.get("a"), Some("100%"));
    /// ```
    #[must_use]
    pub fn of_path(path: &[u8]) -> Self {
        let mut halves = path.splitn(2, |byte| *byte == b'?');
        let query = halves.nth(1).unwrap_or_default();
        let query = query.split(|byte| *byte == b'#').next().unwrap_or_default();
        let parameters = query
            .split(|byte| *byte == b'&')
            .filter(|part| !part.is_empty());
        let pairs = parameters.map(|part| {
            let mut halves = part.splitn(2, |byte| *byte == b'=');
            let mut half = || decode(halves.next().unwrap_or_default());
            (half(), half())
        });
        Self(pairs.collect())
    }

    /// The first value of that name.
    ///
    /// ```
    /// let query = cofferdam_sdk::query::Query::of_path(b"/?a=1&a=2");
    /// assert_eq!(query.get("a"), Some("1"));
    /// ```
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.iter().filter(|(found, _)| *found == name);
        all.next().map(|(_, value)| value)
    }

    /// Every value of that name.
    ///
    /// ```
    /// let query = cofferdam_sdk::query::Query::of_path(b"/?a=1&a=2");
    /// assert_eq!(query.get_all("a").count(), 2);
    /// ```
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let same = self.0.iter().filter(move |(found, _)| found == name);
        same.map(|(_, value)| &value[..])
    }

    /// All names and values.
    ///
    /// ```
    /// let query = cofferdam_sdk::query::Query::of_path(b"/?a=1");
    /// assert_eq!(query.iter().next(), Some(("a", "1")));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&name[..], &value[..]))
    }
}

fn decode(part: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match (byte, after) {
            (b'+', _) => b' ',
            (b'%', [high, low, end @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = end;
                    high << 4 | low
                }
                _ => b'%',
            },
            (byte, _) => *byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_a_query() {
        for path in [
            &b""[..],
            b"?",
            b"?&&",
            b"/a?=",
            b"?%",
            b"?%f",
            b"?%ff=%zz#x",
            b"??a=1",
        ] {
            let _ = Query::of_path(path);
        }
        let query = Query::of_path(b"/a?x=%E4&y=%c3%a4#z=1");
        assert_eq!(
            query.iter().collect::<Vec<_>>(),
            [("x", "\u{fffd}"), ("y", "\u{e4}")]
        );
        assert_eq!(Query::of_path(b"/a"), Query::default());
    }
}
