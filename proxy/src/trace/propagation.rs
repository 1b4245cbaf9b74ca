//! How services tell each other of a trace: W3C `traceparent`, and Zipkin's B3 in its two
//! forms. What comes in is looked for in the configured order; what goes out is said in all
//! of the configured forms. `tracestate` and baggage pass like any other header.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Ids;
use crate::config::{Propagation, Tracing};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const B3: HeaderName = HeaderName::from_static("b3");
const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// What a caller says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Incoming {
    /// The span above; B3 can say that nothing is sampled without naming any.
    pub(super) ids: Option<Ids>,
    /// `None`: it is left to us.
    pub(super) sampled: Option<bool>,
}

/// The first of the configured forms that is there and right.
pub(super) fn extract(headers: &HeaderMap, config: &Tracing) -> Option<Incoming> {
    config.propagation.iter().find_map(|form| match form {
        Propagation::W3c => w3c(text(headers, &TRACEPARENT)?),
        Propagation::B3Single => b3_single(text(headers, &B3)?),
        Propagation::B3 => b3(headers),
    })
}

/// Says it in all configured forms.
pub(super) fn inject(headers: &mut HeaderMap, config: &Tracing, ids: Ids, sampled: bool) {
    let Ids { trace, span } = ids;
    let mut set = |name: HeaderName, value: String| {
        // Hexadecimal digits and dashes are always one.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    let digit = u8::from(sampled);
    for form in &config.propagation {
        match form {
            Propagation::W3c => set(TRACEPARENT, format!("00-{trace:032x}-{span:016x}-0{digit}")),
            Propagation::B3Single => set(B3, format!("{trace:032x}-{span:016x}-{digit}")),
            Propagation::B3 => {
                set(TRACE_ID, format!("{trace:032x}"));
                set(SPAN_ID, format!("{span:016x}"));
                set(SAMPLED, digit.to_string());
            }
        }
    }
    if config.propagation.contains(&Propagation::B3) {
        // They were the caller's word on its own span.
        headers.remove(PARENT_ID);
        headers.remove(FLAGS);
    }
}

/// `00-TRACE-SPAN-FLAGS`; later versions may say more behind that.
fn w3c(value: &str) -> Option<Incoming> {
    let mut parts = value.split('-');
    let mut next = |digits: usize| parts.next().filter(|part| part.len() == digits);
    let version = lower_hex(next(2)?)?;
    let (trace, span) = (lower_hex(next(32)?)?, lower_hex(next(16)?)?);
    let flags = lower_hex(next(2)?)?;
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    Some(Incoming {
        ids: Some(ids(trace, span)?),
        sampled: Some(flags & 1 == 1),
    })
}

/// `TRACE-SPAN[-SAMPLED[-PARENT]]`, or the sampling state alone.
fn b3_single(value: &str) -> Option<Incoming> {
    let mut parts = value.split('-');
    let first = parts.next()?;
    let Some(second) = parts.next() else {
        return Some(Incoming {
            ids: None,
            sampled: Some(state(first)?),
        });
    };
    let sampled = match parts.next() {
        Some(text) => Some(state(text)?),
        None => None,
    };
    Some(Incoming {
        ids: Some(ids(b3_trace(first)?, b3_span(second)?)?),
        sampled,
    })
}

fn b3(headers: &HeaderMap) -> Option<Incoming> {
    let debug = text(headers, &FLAGS) == Some("1");
    let said = text(headers, &SAMPLED).and_then(state);
    let sampled = if debug { Some(true) } else { said };
    let named = text(headers, &TRACE_ID).zip(text(headers, &SPAN_ID));
    let ids = match named {
        Some((trace, span)) => Some(ids(b3_trace(trace)?, b3_span(span)?)?),
        None => None,
    };
    (ids.is_some() || sampled.is_some()).then_some(Incoming { ids, sampled })
}

/// Whether a trace is sampled, in B3's words.
fn state(text: &str) -> Option<bool> {
    match text {
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn b3_trace(text: &str) -> Option<u128> {
    matches!(text.len(), 16 | 32).then(|| hex(text)).flatten()
}

fn b3_span(text: &str) -> Option<u128> {
    (text.len() == 16).then(|| hex(text)).flatten()
}

/// Ids that are nothing but zeros name nothing.
fn ids(trace: u128, span: u128) -> Option<Ids> {
    let span = u64::try_from(span).ok()?;
    (trace != 0 && span != 0).then_some(Ids { trace, span })
}

fn hex(text: &str) -> Option<u128> {
    // The parser would take a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

fn lower_hex(text: &str) -> Option<u128> {
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    lower.then(|| hex(text)).flatten()
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
    const SPAN: u64 = 0xb7ad_6b71_6920_3331;

    fn known(sampled: Option<bool>) -> Option<Incoming> {
        let ids = Some(Ids {
            trace: TRACE,
            span: SPAN,
        });
        Some(Incoming { ids, sampled })
    }

    fn unnamed(sampled: bool) -> Option<Incoming> {
        Some(Incoming {
            ids: None,
            sampled: Some(sampled),
        })
    }

    #[test]
    fn traceparent_is_taken_as_its_specification_says() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(w3c(good), known(Some(true)));
        assert_eq!(w3c(&good.replace("-01", "-00")), known(Some(false)));
        // Other flags say nothing of sampling; later versions may go on.
        assert_eq!(w3c(&good.replace("-01", "-03")), known(Some(true)));
        let later = format!("cc{}-what-the-future-will-be-like", &good[2..]);
        assert_eq!(w3c(&later), known(Some(true)));
        for bad in [
            "",
            "00",
            &format!("{good}-"),
            &format!("ff{}", &good[2..]),
            &good.to_uppercase(),
            &good.replace("0af7", "0ag7"),
            &good.replace("0af7", "+af7"),
            &good.replace("b7ad6b7169203331", "0000000000000000"),
            &good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &good.replace("-01", "-1"),
        ] {
            assert_eq!(w3c(bad), None, "{bad}");
        }
    }

    #[test]
    fn b3_is_taken_in_both_of_its_forms() {
        let both = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        assert_eq!(b3_single(both), known(None));
        assert_eq!(b3_single(&format!("{both}-1")), known(Some(true)));
        assert_eq!(b3_single(&format!("{both}-d")), known(Some(true)));
        let parent = format!("{both}-0-05e3ac9a4f6e3b90");
        assert_eq!(b3_single(&parent), known(Some(false)));
        assert_eq!(b3_single("0"), unnamed(false));
        for bad in ["", "x", "af-7", &format!("{both}-x"), &both[1..]] {
            assert_eq!(b3_single(bad), None, "{bad}");
        }

        let several = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            b3(&pairs.collect())
        };
        let trace = ("x-b3-traceid", "0af7651916cd43dd8448eb211c80319c");
        let span = ("x-b3-spanid", "b7ad6b7169203331");
        assert_eq!(several(&[trace, span]), known(None));
        assert_eq!(
            several(&[trace, span, ("x-b3-sampled", "true")]),
            known(Some(true))
        );
        assert_eq!(
            several(&[trace, span, ("x-b3-flags", "1")]),
            known(Some(true))
        );
        assert_eq!(several(&[("x-b3-sampled", "0")]), unnamed(false));
        assert_eq!(several(&[trace]), None);
        let short = several(&[("x-b3-traceid", "b7ad6b7169203331"), span]);
        let short = short.and_then(|incoming| incoming.ids);
        assert_eq!(short.map(|ids| ids.trace), Some(u128::from(SPAN)));
        assert_eq!(several(&[("x-b3-traceid", "b7ad"), span]), None);
    }

    #[test]
    fn what_goes_out_comes_in_again() {
        let ids = Ids {
            trace: TRACE,
            span: SPAN,
        };
        for form in [Propagation::W3c, Propagation::B3, Propagation::B3Single] {
            for sampled in [true, false] {
                let config = Tracing {
                    propagation: vec![form],
                    ..Tracing::for_tests()
                };
                let mut headers = HeaderMap::new();
                inject(&mut headers, &config, ids, sampled);
                assert_eq!(extract(&headers, &config), known(Some(sampled)), "{form:?}");
            }
        }
    }

    #[test]
    fn the_first_form_that_is_right_is_believed() {
        let config = Tracing {
            propagation: vec![Propagation::W3c, Propagation::B3Single],
            ..Tracing::for_tests()
        };
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static("00-no-trace-01"));
        assert_eq!(extract(&headers, &config), None);
        headers.insert(B3, HeaderValue::from_static("0"));
        assert_eq!(extract(&headers, &config), unnamed(false));
    }
}
