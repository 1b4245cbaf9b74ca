//! What stands behind `?`.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::percent_decode_str;

/// The query of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a>(&'a str);

// === impl Query ===

impl<'a> Query<'a> {
    pub(super) fn of(uri: &'a Uri) -> Self {
        Self(uri.query().unwrap_or(""))
    }

    /// The first value of that name, decoded.
    pub(super) fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.pairs()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| decoded(value))
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }
}

/// `%41` and `+` as they are meant. What is no such escape stays as it is.
fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains(['%', '+']) {
        return Cow::Borrowed(value);
    }
    let spaced = value.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_and_decoded() {
        let get = |query: &str, name: &str| Query(query).get(name).map(Cow::into_owned);
        for (query, wanted) in [
            ("level=info", Some("info")),
            ("a=b&level=info%2Cfilter%3Ddebug", Some("info,filter=debug")),
            ("level", Some("")),
            ("level=a+b", Some("a b")),
            ("level=%zz%4", Some("%zz%4")),
            ("level=%ff", Some("\u{fffd}")),
            ("level=one&level=two", Some("one")),
            ("xlevel=1", None),
            ("", None),
        ] {
            assert_eq!(get(query, "level").as_deref(), wanted, "{query}");
        }
    }
}
