//! Cookies, which share a header.

use crate::headers::{HeaderValue, Headers};

/// The value of the cookie of that name in a request's headers, without the quotes it may
/// stand in; the first one, where there are several.
///
/// ```no_run
/// # fn f(request: cofferdam_sdk::filter::Request) {
/// let session = cofferdam_sdk::cookie::find(request.headers(), "session");
/// # }
/// ```
#[must_use]
pub fn find(headers: &Headers, name: &str) -> Option<HeaderValue> {
    // HTTP/2 clients may send each cookie in a header of its own.
    let all = headers.get_all("cookie");
    all.iter()
        .find_map(|cookies| find_in(cookies.as_bytes(), name))
}

/// Likewise in the value of one `cookie` header.
///
/// ```
/// use cofferdam_sdk::cookie::find_in;
///
/// assert_eq!(find_in(b"a=1; b=\"2\"", "b").unwrap(), "2");
/// assert_eq!(find_in(b"a=1; b=2", "c"), None);
/// ```
#[must_use]
pub fn find_in(cookies: &[u8], name: &str) -> Option<HeaderValue> {
    cookies.split(|byte| *byte == b';').find_map(|cookie| {
        let value = cookie.trim_ascii().strip_prefix(name.as_bytes())?;
        let value = value.strip_prefix(b"=")?;
        let quoted = value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_suffix(b"\""));
        Some(HeaderValue::from(quoted.unwrap_or(value).to_vec()))
    })
}

/// The value of a `set-cookie` header that sets a cookie for the whole host, out of reach of
/// scripts and of other sites' forms, over TLS only; until the browser is closed, or for
/// `max_age` seconds.
///
/// ```
/// assert_eq!(
///     cofferdam_sdk::cookie::secure("session", "x1", Some(3600)),
///     "session=x1; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=3600",
/// );
/// ```
#[must_use]
pub fn secure(name: &str, value: &str, max_age: Option<u32>) -> String {
    let mut cookie = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax");
    if let Some(seconds) = max_age {
        cookie.push_str("; Max-Age=");
        cookie.push_str(&seconds.to_string());
    }
    cookie
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_found_inside_another() {
        assert_eq!(find_in(b"xid=1; id2=2;id=3", "id").unwrap(), "3");
        assert_eq!(find_in(b"id", "id"), None);
        assert_eq!(find_in(b"id=", "id").unwrap(), "");
        assert_eq!(
            find_in(b"\xff=\xff; id=\xfe", "id").unwrap().as_bytes(),
            [0xfe]
        );
    }
}
