//! Which route a request takes, and what a route does to its path.
//!
//! The first matching route of a listener wins, so the order of the file is the meaning.
//! [`RouteTable`] keeps that order and still does not walk every route: routes with an
//! exact host are found by that host (binary search, compared without case, so nothing
//! has to be lower-cased or copied), and are merged by position with those that take a
//! wildcard or any host. Looking up a route allocates nothing.
//!
//! Paths are compared as they were sent: percent-encoding, `..` and `//` are not resolved,
//! because the upstream is the one who decides what they mean. A prefix ends at a segment
//! border, and a regular expression must match the whole path or value.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use http::{HeaderMap, Method, header};
use regex::Regex;

use crate::config::{
    Action, HeaderMatch, HostMatch, Listener, Match, PathMatch, Route, ValueMatch,
};

/// The routes of one listener, ready to be searched. One per worker: a clone's regular
/// expressions have scratch memory of their own, so that workers do not contend for it.
#[derive(Debug, Clone)]
pub struct RouteTable {
    /// In file order; positions are the answer of [`RouteTable::find`].
    matchers: Vec<Match>,
    /// Exact hosts, sorted, each with the positions of its routes in order.
    by_host: Vec<(String, Vec<usize>)>,
    /// Positions of routes for a wildcard or any host, in order.
    any_host: Vec<usize>,
}

/// What a request asked for, as far as a redirect keeps it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host with its port as sent; empty where an HTTP/1.0 client sent none.
    pub authority: &'a str,
    /// Path with its query.
    pub path_and_query: &'a str,
}

// === impl RouteTable ===

impl RouteTable {
    /// Prepares the routes of `listener`.
    pub fn new(listener: &Listener) -> Self {
        let matchers: Vec<Match> = (listener.routes.iter())
            .map(|route| anchored(&route.matcher))
            .collect();
        let mut by_host: Vec<(String, Vec<usize>)> = Vec::new();
        let mut any_host = Vec::new();
        for (index, matcher) in matchers.iter().enumerate() {
            let Some(HostMatch::Exact(host)) = &matcher.host else {
                any_host.push(index);
                continue;
            };
            match by_host.binary_search_by(|(known, _)| compare_hosts(known, host)) {
                Ok(at) => by_host[at].1.push(index),
                Err(at) => by_host.insert(at, (host.clone(), vec![index])),
            }
        }
        Self {
            matchers,
            by_host,
            any_host,
        }
    }

    /// The position of the first route that takes this request. `host` may carry a port,
    /// `path` a query; neither takes part in the comparison.
    pub fn find(
        &self,
        host: &str,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<usize> {
        let name = host_name(host);
        let path = split_query(path).0;
        let exact = match self
            .by_host
            .binary_search_by(|(known, _)| compare_hosts(known, name))
        {
            Ok(at) => self.by_host[at].1.as_slice(),
            Err(_) => &[],
        };
        in_order(exact, &self.any_host).find(|&index| {
            let matcher = &self.matchers[index];
            (matcher.path.as_ref()).is_none_or(|wanted| path_matches(wanted, path))
                && suffix_matches(matcher.host.as_ref(), name)
                && (matcher.methods.is_empty() || matcher.methods.contains(method))
                && (matcher.headers.iter()).all(|wanted| header_matches(wanted, host, headers))
        })
    }
}

/// One of the clusters, each with a share of `random` (evenly spread over all of `u64`)
/// in proportion to its weight. The configuration never gives an empty list.
pub fn pick_cluster(clusters: &[(usize, u32)], random: u64) -> usize {
    let total: u64 = clusters.iter().map(|&(_, weight)| u64::from(weight)).sum();
    // The high half of the product is `random` scaled to 0..total, without a division.
    let mut point = ((u128::from(random) * u128::from(total)) >> 64) as u64;
    for &(cluster, weight) in clusters {
        match point.checked_sub(u64::from(weight)) {
            Some(rest) => point = rest,
            None => return cluster,
        }
    }
    // Only with weights that are all zero, which the configuration refuses.
    clusters.first().map_or(0, |&(cluster, _)| cluster)
}

/// The path and query to send upstream where `route` rewrites it, else `None`.
///
/// The rewrite takes the place of the matched prefix and what follows is kept; with an
/// exact or regular expression match it takes the place of the whole path. The two halves
/// are joined by exactly one slash: `/api` rewritten to `/` turns `/api//x` into `/x`, not
/// into `//x`, which some servers read as a host name.
pub fn rewrite_path(route: &Route, path_and_query: &str) -> Option<String> {
    let Action::Forward {
        prefix_rewrite: Some(rewrite),
        ..
    } = &route.action
    else {
        return None;
    };
    let (path, query) = split_query(path_and_query);
    let rest = match &route.matcher.path {
        Some(PathMatch::Exact(_) | PathMatch::Regex(_)) => "",
        Some(PathMatch::Prefix(prefix)) => path.strip_prefix(prefix.as_str()).unwrap_or(path),
        // Any path is the prefix `/`.
        None => path.strip_prefix('/').unwrap_or(path),
    };

    let mut out = String::with_capacity(rewrite.len() + rest.len() + query.len() + 2);
    if rest.is_empty() {
        out.push_str(rewrite);
    } else {
        out.push_str(rewrite.trim_end_matches('/'));
        out.push('/');
        out.push_str(rest.trim_start_matches('/'));
    }
    if !out.starts_with('/') {
        out.insert(0, '/');
    }
    out.push_str(query);
    Some(out)
}

/// The `location` of a redirect; `None` for any other action.
///
/// What the action leaves open is the request's own. The query is kept unless the new path
/// brings one. A port that is the default of the old scheme goes when the scheme changes
/// (`http://a:80/` becomes `https://a/`), any other stays, as in Envoy.
pub fn redirect_location(action: &Action, request: &Target<'_>) -> Option<String> {
    let Action::Redirect {
        scheme, host, path, ..
    } = action
    else {
        return None;
    };
    let (old_path, query) = split_query(request.path_and_query);
    let new_scheme = scheme.as_deref().unwrap_or(request.scheme);
    let authority = host.as_deref().unwrap_or_else(|| {
        let default_port = match request.scheme {
            "https" => ":443",
            _ => ":80",
        };
        if new_scheme.eq_ignore_ascii_case(request.scheme) {
            request.authority
        } else {
            (request.authority.strip_suffix(default_port)).unwrap_or(request.authority)
        }
    });
    let path = path.as_deref().unwrap_or(old_path);

    let mut out = String::with_capacity(
        new_scheme.len() + authority.len() + path.len() + query.len() + "://".len() + 1,
    );
    if authority.is_empty() {
        // No host to name: a path alone, which must not begin like one (`//host`).
        out.push('/');
        out.push_str(path.trim_start_matches(['/', '\\']));
    } else {
        out.push_str(new_scheme);
        out.push_str("://");
        out.push_str(authority);
        if !path.starts_with('/') {
            out.push('/');
        }
        out.push_str(path);
    }
    if !path.contains('?') {
        out.push_str(query);
    }
    Some(out)
}

/// A regular expression that matches only whole strings, whatever alternatives `pattern`
/// has (`a|ab` finds `a` in `ab`; this form does not stop there).
///
/// # Errors
/// What the compiler says of the pattern.
pub fn whole_match(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!(r"\A(?:{pattern})\z"))
}

/// The host of an authority: no port, no final dot (`example.com.` is the same name, and
/// must not slip past a route for it), brackets of an IPv6 address kept.
pub fn host_name(authority: &str) -> &str {
    let host = match authority.strip_prefix('[') {
        Some(rest) => match rest.find(']') {
            Some(end) => &authority[..end + 2],
            None => authority,
        },
        None => authority
            .split_once(':')
            .map_or(authority, |(host, _)| host),
    };
    host.strip_suffix('.').unwrap_or(host)
}

/// Path, and query with its question mark (empty where there is none).
pub fn split_query(path_and_query: &str) -> (&str, &str) {
    let end = path_and_query.find('?').unwrap_or(path_and_query.len());
    path_and_query.split_at(end)
}

/// The same conditions with every regular expression anchored. A pattern that compiled
/// alone can fail anchored only by its size (it is then used as it is; [`spans`] checks
/// what it found).
fn anchored(matcher: &Match) -> Match {
    let whole = |regex: &Regex| whole_match(regex.as_str()).unwrap_or_else(|_| regex.clone());
    let mut matcher = matcher.clone();
    if let Some(PathMatch::Regex(regex)) = &mut matcher.path {
        *regex = whole(regex);
    }
    for header in &mut matcher.headers {
        if let ValueMatch::Regex(regex) = &mut header.value {
            *regex = whole(regex);
        }
    }
    matcher
}

/// Two ascending lists as one ascending sequence.
fn in_order<'a>(mut left: &'a [usize], mut right: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    std::iter::from_fn(move || {
        let from_left = match (left.first(), right.first()) {
            (Some(l), Some(r)) => l < r,
            (l, _) => l.is_some(),
        };
        let side = if from_left { &mut left } else { &mut right };
        let (&first, rest) = side.split_first()?;
        *side = rest;
        Some(first)
    })
}

fn compare_hosts(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| lower(a).cmp(lower(b)))
}

fn lower(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().map(|byte| byte.to_ascii_lowercase())
}

/// Exact hosts were settled by the search for the host.
fn suffix_matches(wanted: Option<&HostMatch>, name: &str) -> bool {
    let Some(HostMatch::Suffix(suffix)) = wanted else {
        return true;
    };
    let (name, suffix) = (name.as_bytes(), suffix.as_bytes());
    match name.len().checked_sub(suffix.len()) {
        Some(label @ 1..) => {
            name[label..].eq_ignore_ascii_case(suffix) && !name[..label].starts_with(b".")
        }
        _ => false,
    }
}

fn path_matches(wanted: &PathMatch, path: &str) -> bool {
    match wanted {
        PathMatch::Exact(exact) => path == exact,
        PathMatch::Prefix(prefix) => match path.strip_prefix(prefix.as_str()) {
            Some(rest) => rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'),
            None => false,
        },
        PathMatch::Regex(regex) => spans(regex, path),
    }
}

/// `host` is looked at in the authority, since HTTP/2 requests carry no such field.
fn header_matches(wanted: &HeaderMatch, host: &str, headers: &HeaderMap) -> bool {
    if wanted.name == header::HOST {
        let present = !host.is_empty();
        return match &wanted.value {
            ValueMatch::Present(expected) => present == *expected,
            value => present && value_matches(value, host.as_bytes()),
        };
    }
    match &wanted.value {
        ValueMatch::Present(expected) => headers.contains_key(&wanted.name) == *expected,
        // A field sent several times matches if any of its lines does.
        value => {
            (headers.get_all(&wanted.name).iter()).any(|line| value_matches(value, line.as_bytes()))
        }
    }
}

fn value_matches(wanted: &ValueMatch, value: &[u8]) -> bool {
    match wanted {
        ValueMatch::Present(expected) => *expected,
        ValueMatch::Exact(exact) => value == exact.as_bytes(),
        ValueMatch::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
        ValueMatch::Regex(regex) => {
            std::str::from_utf8(value).is_ok_and(|value| spans(regex, value))
        }
    }
}

fn spans(regex: &Regex, text: &str) -> bool {
    (regex.find(text)).is_some_and(|found| found.start() == 0 && found.end() == text.len())
}
