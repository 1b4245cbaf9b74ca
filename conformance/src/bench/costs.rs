//! What every ready-made filter costs: its size, and the CPU it adds to a request on each engine;
//! and beside them one hello in our guest library and in the `proxy-wasm` crate. Made into
//! `filters/COSTS.md`.
//!
//! A filter's cost is a difference of two programs' CPU. Neighbours on a shared machine only
//! ever add to either, so each counts with the least of its slices.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::cases::Case;
use super::report::{Column, Report};
use super::world::{Guest, World, module};
use super::{Plan, about, slices};
use crate::load::Shape;
use crate::{Error, Result, scratch};

/// A filter, and what it is asked to do.
struct Filter {
    /// Its folder below `filters/`, or what it is called.
    name: &'static str,
    /// Its module in `target/guests`.
    module: &'static str,
    /// What a request makes it do, in a few words.
    does: &'static str,
    configuration: &'static str,
    shape: Shape,
    /// What requests carry for it.
    headers: &'static [(&'static str, &'static str)],
    /// Whether the interpreter can do it before a client gives up.
    interpreted: bool,
}

const FILTERS: &[Filter] = &[
    Filter {
        name: "header-transform",
        module: "header_transform",
        does: "sets two headers of the request (one from another), one of the response; removes one each way",
        configuration: r#"{"rules":[{"request":{"remove":["x-internal"],"set":[{"name":"x-client","value":"{header.user-agent|unknown}"},{"name":"x-static","value":"1"}]},"response":{"remove":["server"],"set":[{"name":"x-served","value":"{status}"}]}}]}"#,
        shape: Shape::Http1,
        headers: &[],
        interpreted: true,
    },
    Filter {
        name: "local-rate-limit",
        module: "local_rate_limit",
        does: "takes a token of the client's bucket, sets the RateLimit headers",
        configuration: r#"{"rules":[{"key":["ip"],"limit":100000000,"per":"second"}]}"#,
        shape: Shape::Http1,
        headers: &[],
        interpreted: true,
    },
    Filter {
        name: "jwt-auth",
        module: "jwt_auth",
        does: "verifies a token signed by HS256 with a key of its configuration, takes it off the request",
        configuration: r#"{"providers":[{"name":"bench","issuer":"bench","jwks":{"keys":[{"kty":"oct","kid":"bench","alg":"HS256","k":"YSBzZWNyZXQgb2YgYSBiZW5jaG1hcmssIGFuZCBvZiBub2JvZHkgZWxzZQ"}]}}]}"#,
        shape: Shape::Http1,
        headers: &[(
            "authorization",
            "Bearer eyJhbGciOiJIUzI1NiIsImtpZCI6ImJlbmNoIn0.eyJpc3MiOiJiZW5jaCIsInN1YiI6ImFubiIsImV4cCI6NDEwMjQ0NDgwMH0.3JmsvPzAp7orKY8H8-99LKyWY_FhGC9Pl8slDS2uPCA",
        )],
        interpreted: true,
    },
    Filter {
        name: "jwt-auth, RS256",
        module: "jwt_auth",
        does: "the same with a signature by RS256",
        configuration: r#"{"providers":[{"name":"bench","issuer":"bench","jwks":{"keys":[{"kty":"RSA","kid":"bench","alg":"RS256","n":"mr79gCXOC7Vu7oxrfogPzCUYxocZCn4IiF_j1EOUaagYp6BDkQaBlDxj8hshqLYRCJzoCtZ-M8Nv7GsudE-vN7LYaFOgH2cIon5JacR5wEoE_V13iLN71IIAZMDvQhEvO-kFfoZ5gSmhZIosdOuMOVBDT3aWmc5O_mvIHS_ly3ZkqelT99l03B6PcJz4MWw626RvJIBxas8KSfFyf9sbj4X4qXK93W9Jn85V7DZ9DclQqf8uoBZsOLnnQlnin3buZAVwd4HuBb2DFAlI52iVoy-eguTRit1D1vtAZX7i2tkXT4I4Cl66MYFj2kk8_1BdoVKV3mUAgqq20LJNuTyRBQ","e":"AQAB"}]}}]}"#,
        shape: Shape::Http1,
        headers: &[(
            "authorization",
            "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6ImJlbmNoIn0.eyJpc3MiOiJiZW5jaCIsInN1YiI6ImFubiIsImV4cCI6NDEwMjQ0NDgwMH0.lOQEyp-qQTiZ57YinrZ3hMOlT9Iu0Qa_x-iQUKBV1zCirMPkOf5EZ7n1nyfl2ePme6eDD8WKf1GbT-Osdx1SJ5zv8U9Draqp5c2k9T2J32lO088Ktdj2vzoyTYlLHnJm1QJBqEiDYwrOrMyLxNP0UTiMmr2C39vYqJK_GDkhvFsJ816iHBy0YU73zS5Wjr2SkZ45RrwlX4ipR2tgnZckp56eOgdZfvWvU1RAcHfiL49flV0NQiueC8S5fFSLBy0LUyQacAWwCqg36vTsVV9yax1VKkkGVTeE03DwZbbqPPxxO9R-kft0sYdwIdbS8w2bXJrcSUgpAVi3FfvUYsgMEQ",
        )],
        interpreted: false,
    },
    Filter {
        name: "pii-mask",
        module: "pii_mask",
        does: "looks for cards, addresses and accounts in a response of 16 KiB text",
        configuration: r#"{"rules":[{"patterns":["card","email","iban"]}]}"#,
        shape: Shape::Bodies,
        headers: &[],
        interpreted: true,
    },
    Filter {
        name: "add-header",
        module: "add_header",
        does: "sets one header of the response (`proxy-wasm` crate)",
        configuration: r#"{"response":{"x-added":"1"}}"#,
        shape: Shape::Http1,
        headers: &[],
        interpreted: true,
    },
    Filter {
        name: "greet",
        module: "greet",
        does: "sets one header of the response, ends its body with a line (`proxy-wasm` crate)",
        configuration: r#"{"greeting":"hi"}"#,
        shape: Shape::Http1,
        headers: &[],
        interpreted: true,
    },
];

const HELLOS: &[Filter] = &[
    Filter {
        name: "`cofferdam-sdk`",
        module: "sdk_headers",
        does: "the template of `cofferdam new`: typed configuration, one header each way",
        configuration: "",
        shape: Shape::Http1,
        headers: &[],
        interpreted: true,
    },
    Filter {
        name: "`proxy-wasm` 0.2",
        module: "hello",
        does: "the same, configuration by serde_json",
        configuration: "",
        shape: Shape::Http1,
        headers: &[],
        interpreted: true,
    },
];

const ENGINES: &[Column] = &[Column::Hot, Column::Cold];

/// The committed table.
pub fn file() -> PathBuf {
    scratch::workspace().join("filters/COSTS.md")
}

/// Measures all of them, and makes the table.
///
/// # Errors
/// A guest is not built, a program dies, or a request fails.
pub fn run(plan: &Plan) -> Result<String> {
    let world = World::new(plan)?;
    let all = || FILTERS.iter().chain(HELLOS);
    let modules: Vec<PathBuf> = all()
        .map(|filter| module(filter.module))
        .collect::<Result<_>>()?;
    world.compile(&modules)?;
    let mut report = Report::new(about::about(plan)?);
    for shape in [Shape::Http1, Shape::Bodies] {
        let mut family = vec![case(shape, None)];
        let filters = all().filter(|filter| filter.shape == shape);
        family.extend(filters.map(|filter| case(shape, Some(filter))));
        slices::run(&world, plan, &family, &mut report)?;
    }
    report.about.load_after = about::load();
    table(&report)
}

/// The case of a filter, or of none.
fn case(shape: Shape, filter: Option<&Filter>) -> Case {
    Case {
        id: filter.map_or_else(|| none(shape).to_owned(), |filter| filter.name.to_owned()),
        title: filter.map_or("no filter", |filter| filter.name).to_owned(),
        shape,
        columns: if filter.is_some_and(|filter| filter.interpreted) {
            ENGINES
        } else {
            &[Column::Hot]
        },
        guest: filter.map(|filter| Guest {
            name: filter.module,
            configuration: filter.configuration,
            count: 1,
        }),
        headers: filter.map_or(&[], |filter| filter.headers),
        routes: 0,
        held: 0,
    }
}

const fn none(shape: Shape) -> &'static str {
    match shape {
        Shape::Bodies => "none_bodies",
        _ => "none",
    }
}

fn table(report: &Report) -> Result<String> {
    let about = &report.about;
    let of = |program: &str| about.versions.get(program).map_or("", String::as_str);
    let mut text = String::from(
        "# What the filters cost\n\n\
         Written by `make filters-table`; a test holds the sizes against the modules.\n\n",
    );
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{}, {}, {}, {}, kernel {}, checkout {}; `{}`; load average {} before, {} after.\n",
        about.date,
        about.cpu,
        of("cofferdam"),
        of("rustc"),
        of("kernel"),
        of("commit"),
        about.command,
        about.load_before,
        about.load_after,
    );
    let _ = writeln!(
        text,
        "CPU is the proxy's own, user and system, over all requests of a slice: with the filter, less \
         without one. Each is the least of {} slices of {} s, in turns, one worker, HTTP/1.1 keep-alive. \
         Without a filter a request takes {} µs, one with 16 KiB both ways {} µs. A dash: the \
         interpreter takes longer for one request than the filter may (`limits.callback`). \
         The release is trained with four of these (`conformance/src/soak/train.rs`).\n",
        about.slices,
        about.seconds,
        show(least(report, none(Shape::Http1), Column::Hot)?),
        show(least(report, none(Shape::Bodies), Column::Hot)?),
    );
    for (title, filters) in [
        ("## Ready-made filters", FILTERS),
        ("## One hello, two guest libraries", HELLOS),
    ] {
        let _ = writeln!(
            text,
            "{title}\n\n| filter | bytes | native µs/request | interpreter µs/request | what it does meanwhile |\n|---|---:|---:|---:|---|"
        );
        for filter in filters {
            let bytes = size(&module(filter.module)?)?;
            let without = least(report, none(filter.shape), Column::Hot)?;
            let added =
                |column| Ok::<_, Error>(show(least(report, filter.name, column)? - without));
            let native = added(Column::Hot)?;
            let interpreted = if filter.interpreted {
                added(Column::Cold)?
            } else {
                "–".to_owned()
            };
            let Filter { name, does, .. } = filter;
            let _ = writeln!(
                text,
                "| {name} | {bytes} | {native} | {interpreted} | {does} |"
            );
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    Ok(text)
}

fn show(micros: f64) -> String {
    format!("{micros:.1}")
}

fn least(report: &Report, case: &str, column: Column) -> Result<f64> {
    let samples = report.samples(&format!("{case}.cpu"), column);
    let least = samples.iter().copied().reduce(f64::min);
    least.ok_or_else(|| Error::Failed(format!("{case} was not measured on {column:?}")))
}

fn size(module: &Path) -> Result<u64> {
    let about =
        std::fs::metadata(module).map_err(|error| Error::failed(module.display(), error))?;
    Ok(about.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table's rows: name, bytes, and the two figures.
    fn rows() -> Vec<(String, u64, [Option<f64>; 2])> {
        let text = std::fs::read_to_string(file()).expect("filters/COSTS.md is committed");
        let rows = text.lines().filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let ["", name, bytes, native, interpreter, _, ""] = cells[..] else {
                return None;
            };
            let interpreter = (interpreter != "–").then(|| interpreter.parse());
            let figures = [Some(native.parse().ok()?), interpreter.transpose().ok()?];
            Some((name.to_owned(), bytes.parse().ok()?, figures))
        });
        rows.collect()
    }

    #[test]
    fn every_filter_that_there_is_has_a_row() {
        let folder = scratch::workspace().join("filters");
        let rows = rows();
        let mut filters = 0;
        for entry in std::fs::read_dir(folder).expect("filters") {
            let entry = entry.expect("an entry");
            let manifest = std::fs::read_to_string(entry.path().join("Cargo.toml"));
            if !manifest.is_ok_and(|manifest| manifest.contains("cdylib")) {
                continue;
            }
            let name = entry.file_name().into_string().expect("a name");
            let has = rows.iter().any(|(row, ..)| *row == name);
            assert!(
                has,
                "{name} is not in filters/COSTS.md: give it a row here, then `make filters-table`"
            );
            filters += 1;
        }
        assert!(filters >= 6, "{filters} filters");
        let known = FILTERS.len() + HELLOS.len();
        assert_eq!(rows.len(), known, "rows of filters that are gone");
    }

    #[test]
    fn sizes_are_those_of_the_modules() {
        let rows = rows();
        for filter in FILTERS.iter().chain(HELLOS) {
            let module = match module(filter.module) {
                Ok(module) => module,
                Err(error) => {
                    cofferdam_abi::testing::require::skipped(&error.to_string());
                    continue;
                }
            };
            let row = rows.iter().find(|(name, ..)| name == filter.name);
            let (_, written, _) = row.unwrap_or_else(|| panic!("no row of {}", filter.name));
            let there = size(&module).expect("a size");
            assert!(
                there.abs_diff(*written) * 50 <= there,
                "{} has {there} bytes, in filters/COSTS.md {written}: `make filters-table`",
                filter.name
            );
        }
    }

    #[test]
    fn figures_are_such_as_can_be() {
        for (name, bytes, [native, interpreter]) in rows() {
            assert!(bytes > 1_000, "{name}");
            let native = native.expect("all can be measured on native code");
            assert!(native.is_finite() && native < 10_000.0, "{name}");
            let faster = interpreter.is_none_or(|interpreter| native < interpreter);
            assert!(faster, "{name}: native code is the faster");
        }
    }
}
