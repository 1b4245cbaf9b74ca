//! One shape for the answers that filters make themselves.

use cofferdam_sdk::Reply;

/// An answer of that status with a body of problem details (RFC 9457): `code` is for
/// programs (`rate_limited`), `detail` for people.
pub fn problem(status: u16, code: &'static str, detail: &str) -> Reply {
    let title = title(status);
    let mut body = format!(r#"{{"type":"about:blank","title":"{title}","status":{status},"#);
    body.push_str(&format!(r#""code":"{code}","detail":"#));
    push_json(&mut body, detail);
    body.push('}');
    Reply::new(status)
        .header("content-type", "application/problem+json")
        .body(body)
        .details(code)
}

const fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ if status < 500 => "Request Refused",
        _ => "Server Error",
    }
}

fn push_json(to: &mut String, text: &str) {
    to.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => to.extend(['\\', letter]),
            letter if letter.is_control() => to.push_str(&format!("\\u{:04x}", u32::from(letter))),
            letter => to.push(letter),
        }
    }
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::push_json;

    #[test]
    fn a_detail_cannot_leave_its_string() {
        let mut text = String::new();
        push_json(&mut text, "a\"b\\\n");
        assert_eq!(text, r#""a\"b\\\u000a""#);
    }
}
