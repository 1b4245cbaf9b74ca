//! Our own form of file, by the walk that configurations are read with: all mistakes at once,
//! each with its place.

mod expect;

pub(super) use expect::whole;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_abi::Headers;

use super::fields;
use super::suite::{
    Answer, Body, Case, Cluster, Connection, Content, Exchange, Fails, Filter, Named, Place, Rule,
    Step, Suite,
};
use crate::config::Diagnostic;
use crate::config::yaml::{MAX_FILE_BYTES, Node, Object, Position, Problems, parse};

/// Reads a file of cases.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Suite, Vec<Diagnostic>> {
    let problems = Problems::new(file);
    let suite = match std::str::from_utf8(bytes) {
        _ if bytes.len() as u64 > MAX_FILE_BYTES => {
            problems.add(
                Position::START,
                "$",
                "the file is too large",
                "make several of it",
            );
            None
        }
        Err(_) => {
            problems.add(
                Position::START,
                "$",
                "this is not UTF-8",
                "write it as text",
            );
            None
        }
        Ok(text) => parse(text, "cases:", &problems).and_then(|tree| {
            let root = Node::root(&tree, &problems).object(&fields::FILE)?;
            Some(suite(&root, file))
        }),
    };
    match suite {
        Some(suite) if problems.is_empty() => Ok(suite),
        _ => Err(problems.into_sorted()),
    }
}

fn suite(root: &Object<'_>, file: &str) -> Suite {
    let folder = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
    let named = root.get("filter").and_then(|node| node.filled());
    let filter = Filter {
        configuration: bytes(root, "configuration"),
        vm_configuration: bytes(root, "vm_configuration"),
        name: root.text("name").unwrap_or("test").to_owned(),
        root_id: root.text("root_id").unwrap_or_default().to_owned(),
        vm_id: root.text("vm_id").unwrap_or_default().to_owned(),
        environment: environment(root),
        hold_headers: root.boolean("hold_headers"),
        log_level: None,
    };
    let shared = clusters(root);
    let nodes = root.list("cases");
    if nodes.is_empty() && root.get("cases").is_some() {
        root.node()
            .wrong("there are no cases", "write one under `cases`");
    }
    let cases = nodes.iter();
    let cases = cases
        .filter_map(|node| case(node, file, &filter, &shared))
        .collect();
    Suite {
        file: file.to_owned(),
        filter: named.map(|name| folder.join(name)).unwrap_or_default(),
        shared: filter,
        clusters: shared,
        cases,
    }
}

fn case(node: &Node<'_>, file: &str, filter: &Filter, shared: &[Cluster]) -> Option<Named> {
    let keys = node.object(&fields::CASE)?;
    let mut filter = filter.clone();
    if keys.get("configuration").is_some() {
        filter.configuration = bytes(&keys, "configuration");
    }
    let own = clusters(&keys);
    let others = shared
        .iter()
        .filter(|cluster| own.iter().all(|other| other.name != cluster.name));
    let clusters = others.cloned().chain(own.clone()).collect();
    let mut expect = super::suite::Expect::default();
    let stepwise = keys.get("steps");
    let steps = match &stepwise {
        None => vec![once(&keys, file, &mut expect)],
        Some(steps) => {
            for key in ["request", "connection", "upstream", "properties", "expect"] {
                if let Some(node) = keys.get(key) {
                    let help = "put it into one of the steps";
                    node.wrong(format!("`{key}` stands beside `steps`"), help);
                }
            }
            let list = steps.list().unwrap_or_default();
            list.iter().filter_map(|node| step(node, file)).collect()
        }
    };
    let now = keys.get("now").and_then(|_| keys.integer("now"));
    Some(Named {
        name: keys.get("name")?.filled()?.to_owned(),
        line: node.position().line,
        body: Body::Exchanges(Box::new(Case {
            place: place(node, file),
            filter,
            clusters,
            steps,
            expect,
            now: now.map(Duration::from_secs),
            refused: keys.get("refused").map(|node| expect::wanted(&node, file)),
        })),
    })
}

fn step(node: &Node<'_>, file: &str) -> Option<Step> {
    let keys = node.object(&fields::STEP)?;
    if let Some(wait) = keys.get("wait") {
        for key in ["request", "connection", "upstream", "properties", "expect"] {
            if keys.get(key).is_some() {
                let help = "make two steps of it";
                wait.wrong(format!("`wait` stands beside `{key}`"), help);
            }
        }
        return Some(Step::Wait(place(&wait, file), keys.duration("wait")));
    }
    let mut late = super::suite::Expect::default();
    let mut step = once(&keys, file, &mut late);
    match &mut step {
        Step::Request(exchange) => {
            exchange.expect.log = late.log;
            exchange.expect.metrics = late.metrics;
        }
        Step::Connection(connection) => connection.expect = late,
        Step::Wait(..) => {}
    }
    Some(step)
}

/// An exchange or a connection. `late` gets what is looked at when the case is over.
fn once(keys: &Object<'_>, file: &str, late: &mut super::suite::Expect) -> Step {
    let Some(ends) = keys.table("connection") else {
        return Step::Request(Box::new(exchange(keys, file, late)));
    };
    for key in ["request", "upstream", "properties"] {
        if let Some(node) = keys.get(key) {
            node.wrong(
                format!("`{key}` stands beside `connection`"),
                "make two cases of it",
            );
        }
    }
    let pieces = |name: &str| {
        let list = ends.list(name);
        let texts = list.iter().filter_map(Node::scalar);
        texts
            .map(|text| Bytes::copy_from_slice(text.as_bytes()))
            .collect()
    };
    let mut connection = Connection {
        place: place(ends.node(), file),
        client: pieces("client"),
        upstream: pieces("upstream"),
        client_gets: None,
        upstream_gets: None,
        closed: None,
        expect: super::suite::Expect::default(),
    };
    if let Some(node) = keys.get("expect") {
        expect::connection(&node, file, &mut connection, late);
    }
    Step::Connection(Box::new(connection))
}

fn exchange(keys: &Object<'_>, file: &str, late: &mut super::suite::Expect) -> Exchange {
    let request = keys.table("request");
    let text = |name: &str, default: &'static str| {
        let written = request.as_ref().and_then(|request| request.text(name));
        Bytes::copy_from_slice(written.unwrap_or(default).as_bytes())
    };
    let mut entries = vec![
        (Bytes::from_static(b":authority"), text("host", "test")),
        (Bytes::from_static(b":path"), text("path", "/")),
        (Bytes::from_static(b":method"), text("method", "GET")),
        (Bytes::from_static(b":scheme"), text("scheme", "http")),
    ];
    let empty = Content::default();
    let (mut body, mut trailers) = (empty, Headers::default());
    if let Some(request) = &request {
        entries.extend(pairs(request, "headers"));
        body = content(request, "body").unwrap_or_default();
        trailers = Headers::from_entries(pairs(request, "trailers"));
    }
    announce(&mut entries, &body);
    let upstream = keys.table("upstream").map(|node| answer(&node, "ok"));
    let expected = keys
        .get("expect")
        .and_then(|node| node.object(&fields::EXPECT));
    Exchange {
        place: place(keys.node(), file),
        headers: Headers::from_entries(entries),
        body,
        trailers,
        upstream: upstream.unwrap_or_else(|| ok("ok")),
        properties: properties(keys),
        expect: expected
            .map(|node| expect::read(&node, file, late))
            .unwrap_or_default(),
    }
}

/// A body whose length is known is sent with it.
fn announce(entries: &mut Vec<(Bytes, Bytes)>, body: &Content) {
    let name = b"content-length";
    if body.announced && entries.iter().all(|(other, _)| **other != name[..]) {
        let length = body.bytes().len().to_string();
        entries.push((Bytes::from_static(name), length.into()));
    }
}

fn ok(body: &'static str) -> Answer {
    let mut answer = Answer::default();
    complete(&mut answer, body);
    answer
}

fn answer(keys: &Object<'_>, default: &'static str) -> Answer {
    let status = keys.integer("status").unwrap_or(200);
    let mut answer = Answer {
        status: u16::try_from(status).unwrap_or(200),
        headers: Headers::from_entries(pairs(keys, "headers")),
        body: content(keys, "body").unwrap_or_default(),
        trailers: Headers::from_entries(pairs(keys, "trailers")),
        delay: keys.duration("delay"),
        fails: match keys.choice("fails") {
            "connect" => Some(Fails::Connect),
            "timeout" => Some(Fails::Timeout),
            "reset" => Some(Fails::Reset),
            _ => None,
        },
    };
    let default = if keys.get("body").is_some() {
        ""
    } else {
        default
    };
    complete(&mut answer, default);
    answer
}

/// `:status` in front, the length of a whole body behind.
fn complete(answer: &mut Answer, body: &'static str) {
    if !body.is_empty() {
        answer.body = Content::whole(Bytes::from_static(body.as_bytes()));
    }
    let status = answer.status.to_string();
    let mut entries = vec![(Bytes::from_static(b":status"), Bytes::from(status))];
    entries.extend(answer.headers.entries().iter().cloned());
    if !matches!(answer.status, 204 | 304) {
        announce(&mut entries, &answer.body);
    }
    answer.headers = Headers::from_entries(entries);
}

fn clusters(keys: &Object<'_>) -> Vec<Cluster> {
    let Some(entries) = keys.get("clusters").and_then(|node| node.entries()) else {
        return Vec::new();
    };
    let cluster = |entry: &crate::config::yaml::Entry<'_>| {
        let rules = entry.value.list()?;
        let rules = rules.iter().filter_map(|node| {
            let keys = node.object(&fields::RULE)?;
            let own = |name: &str| keys.text(name).map(str::to_owned);
            Some(Rule {
                method: own("method"),
                path: own("path"),
                answer: answer(&keys, ""),
            })
        });
        Some(Cluster {
            name: entry.key.to_owned(),
            rules: rules.collect(),
        })
    };
    entries.iter().filter_map(cluster).collect()
}

/// Headers as they are sent: names in lower case.
fn pairs(keys: &Object<'_>, name: &str) -> Vec<(Bytes, Bytes)> {
    let Some(entries) = keys.get(name).and_then(|node| node.entries()) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for entry in entries {
        let name = Bytes::from(entry.key.to_ascii_lowercase());
        let values = match entry.value.is_list() {
            true => entry.value.list().unwrap_or_default(),
            false => vec![entry.value],
        };
        let texts = values.iter().filter_map(Node::scalar);
        out.extend(texts.map(|text| (name.clone(), Bytes::copy_from_slice(text.as_bytes()))));
    }
    out
}

/// A body: text is whole, a list are chunks.
fn content(keys: &Object<'_>, name: &str) -> Option<Content> {
    let node = keys.get(name)?;
    let bytes = |node: &Node<'_>| Some(Bytes::copy_from_slice(node.scalar()?.as_bytes()));
    if node.is_null() {
        return Some(Content::default());
    }
    Some(match node.is_list() {
        true => Content {
            pieces: node.list()?.iter().filter_map(bytes).collect(),
            announced: false,
        },
        false => Content::whole(bytes(&node)?),
    })
}

fn properties(keys: &Object<'_>) -> Vec<(Vec<Bytes>, Bytes)> {
    let entries = keys.get("properties").and_then(|node| node.entries());
    let own = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let pair = |entry: &crate::config::yaml::Entry<'_>| {
        let path = entry.key.split('.').map(own).collect();
        Some((path, own(entry.value.scalar()?)))
    };
    entries.iter().flatten().filter_map(pair).collect()
}

fn bytes(keys: &Object<'_>, name: &str) -> Bytes {
    let text = keys.get(name).and_then(|node| node.configuration());
    text.unwrap_or_default().into()
}

fn environment(keys: &Object<'_>) -> Vec<(String, String)> {
    let entries = keys.get("environment").and_then(|node| node.entries());
    let pair = |entry: &crate::config::yaml::Entry<'_>| {
        Some((entry.key.to_owned(), entry.value.scalar()?.to_owned()))
    };
    entries.iter().flatten().filter_map(pair).collect()
}

fn place(node: &Node<'_>, file: &str) -> Place {
    Place {
        file: file.to_owned(),
        line: node.position().line,
        path: node.path().to_owned(),
    }
}
