//! What the data path takes from the heap: nothing for a hook, but what the guest asks
//! for. And what reading a module takes, whatever it says of itself. A binary of its own,
//! because its allocator counts.

use allocation_counter::measure;
use bytes::Bytes;
use cofferdam_abi::testing::{Engine, Guest, get, map};
use cofferdam_abi::{Chain, Compat, Headers, LogLevel, Module, Part, Way};

const ENGINES: [Engine; 2] = [Engine::Wasmi, Engine::Wasmtime];

/// Exports every callback of an HTTP filter, and does in each what `BODY` says.
const FILTER: &str = r#"(module
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_value"
        (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 64) "x-a")
    (func $work BODY)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $work) (i32.const 0))
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
        (call $work) (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (call $work) (i32.const 0))
    (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
        (call $work) (i32.const 0))
    (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1))
    (func (export "proxy_on_log") (param i32))
    (func (export "proxy_on_delete") (param i32)))"#;

fn guest(engine: Engine, work: &str) -> Guest {
    let guest = Guest::wat_on(engine, &FILTER.replace("BODY", work)).expect("loads");
    guest.host.level.set(LogLevel::Error);
    guest
}

/// A chain with both heads through it.
fn running(filters: &[&Guest]) -> Chain {
    let mut chain = Chain::begin(get(), filters.iter().map(|guest| guest.handle()), false);
    chain.push(Way::Request, Part::Headers { end: false });
    assert!(chain.pop(Way::Request).is_some());
    chain.exchange().borrow_mut().response_headers = Some(answer());
    chain.push(Way::Response, Part::Headers { end: false });
    assert!(chain.pop(Way::Response).is_some());
    chain
}

fn answer() -> Headers {
    map(&[(":status", "200"), ("x-up", "1")])
}

/// Allocations while `pieces` of body go through, each way.
fn bodies(chain: &mut Chain, pieces: usize) -> u64 {
    let piece = Bytes::from_static(&[b'x'; 4096]);
    measure(|| {
        for _ in 0..pieces {
            for way in [Way::Request, Way::Response] {
                let bytes = piece.clone();
                chain.push(way, Part::Data { bytes, end: false });
                assert!(chain.pop(way).is_some());
            }
        }
    })
    .count_total
}

/// The first of a callback's calls that is timed, by chance one of sixteen, makes its histogram.
fn warm_up(chain: &mut Chain) {
    bodies(chain, 200);
}

#[test]
fn a_body_goes_through_five_filters_without_the_heap() {
    for engine in ENGINES {
        let filter = guest(engine, "");
        let mut chain = running(&[&filter; 5]);
        warm_up(&mut chain);
        assert_eq!(bodies(&mut chain, 100), 0, "{engine:?}");
    }
}

#[test]
fn what_a_guest_reads_and_logs_for_nobody_takes_none() {
    let work = "(drop (call $log (i32.const 2) (i32.const 0) (i32.const 64)))
        (drop (call $get (i32.const 0) (i32.const 64) (i32.const 3) (i32.const 128) (i32.const 132)))";
    for engine in ENGINES {
        let filter = guest(engine, work);
        let mut chain = running(&[&filter; 5]);
        warm_up(&mut chain);
        assert_eq!(bodies(&mut chain, 100), 0, "{engine:?}");
    }
}

#[test]
fn one_more_filter_costs_a_stream_no_more_of_it() {
    let whole = |filters: &[&Guest]| {
        let (request, answer) = (get(), answer());
        measure(|| {
            let handles = filters.iter().map(|guest| guest.handle());
            let mut chain = Chain::begin(request, handles, false);
            chain.push(Way::Request, Part::Headers { end: true });
            assert!(chain.pop(Way::Request).is_some());
            chain.exchange().borrow_mut().response_headers = Some(answer);
            chain.push(Way::Response, Part::Headers { end: true });
            assert!(chain.pop(Way::Response).is_some());
            assert!(chain.end().is_empty());
        })
        .count_total
    };
    for engine in ENGINES {
        let filter = guest(engine, "");
        for _ in 0..10 {
            whole(&[&filter; 8]);
        }
        let (few, many) = (whole(&[&filter; 4]), whole(&[&filter; 8]));
        println!("{engine:?}: {few} allocations for a stream");
        assert_eq!(few, many, "{engine:?}");
        assert!(few <= 3, "{engine:?}: {few}");
    }
}

/// Holds a body, of either way, until its end, then reads all of it and puts something in its
/// place.
const REPLACER: &str = r#"(module
    (import "env" "proxy_get_buffer_bytes"
        (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_buffer_bytes"
        (func $set (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func $replace (param $end i32) (param $buffer i32) (result i32)
        (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
        (drop (call $get (local.get $buffer) (i32.const 0) (i32.const 65536) (i32.const 0) (i32.const 4)))
        (drop (call $set (local.get $buffer) (i32.const 0) (i32.const 65536)
            (i32.const 65536) (i32.load (i32.const 4))))
        (i32.const 0))
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
        (call $replace (local.get 2) (i32.const 0)))
    (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
        (call $replace (local.get 2) (i32.const 1))))"#;

#[test]
fn a_whole_body_is_copied_once_each_way() {
    const SIZE: usize = 65_536;
    for (engine, way) in ENGINES
        .into_iter()
        .flat_map(|engine| [Way::Request, Way::Response].map(|way| (engine, way)))
    {
        let guest = Guest::wat_on(engine, REPLACER).expect("loads");
        let body = Bytes::from(vec![7_u8; SIZE]);
        let run = || {
            let mut chain = Chain::begin(get(), [guest.handle()], false);
            let end = way == Way::Response;
            chain.push(Way::Request, Part::Headers { end });
            assert!(chain.pop(Way::Request).is_some());
            if way == Way::Response {
                chain.exchange().borrow_mut().response_headers = Some(answer());
                chain.push(way, Part::Headers { end: false });
                assert!(chain.pop(way).is_some());
            }
            for (index, start) in (0..SIZE).step_by(16_384).enumerate() {
                let bytes = body.slice(start..start + 16_384);
                let end = index == 3;
                chain.push(way, Part::Data { bytes, end });
            }
            chain.pop(way)
        };
        run();
        let mut out = None;
        let taken = measure(|| out = run());
        let whole = Part::Data {
            bytes: body.clone(),
            end: true,
        };
        assert_eq!(out, Some(whole), "{engine:?} {way:?}");
        // What comes out is the one copy there is; chunks go into the guest as they came.
        let more = taken.bytes_total - SIZE as u64;
        assert!(more < 4096, "{engine:?} {way:?}: {more} bytes more");
    }
}

/// A module by hand: its sections, each with the number of what is in it.
fn module(sections: &[(u8, u32, Vec<u8>)]) -> Bytes {
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    for (id, count, content) in sections {
        let count = leb(*count);
        out.push(*id);
        out.extend(leb(
            u32::try_from(count.len() + content.len()).expect("small")
        ));
        out.extend(count);
        out.extend(content);
    }
    out.into()
}

fn leb(mut value: u32) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).expect("7 bits") | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).expect("7 bits"));
    out
}

/// An export of function 0, or an import of type 0 when the name has two parts.
fn named(names: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for name in names {
        out.extend(leb(u32::try_from(name.len()).expect("short")));
        out.extend(name.as_bytes());
    }
    out.extend([0, 0]);
    out
}

/// One type with as many parameters and results as there may be.
fn widest_type() -> (u8, u32, Vec<u8>) {
    let mut ty = vec![0x60];
    for _ in 0..2 {
        ty.extend(leb(1000));
        ty.extend([0x7f; 1000]);
    }
    (1, 1, ty)
}

#[test]
fn reading_a_module_takes_little_more_than_the_module() {
    const MANY: u32 = 100_000;
    let marker = named(&["proxy_abi_version_0_2_1"]);
    let repeated = |entry: &[u8]| entry.repeat(MANY as usize);
    let body = (10, 1, vec![2, 0, 0x0b]);
    let hostile = [
        (
            "exports",
            vec![
                widest_type(),
                (3, 1, vec![0]),
                (
                    7,
                    MANY + 1,
                    [&marker[..], &repeated(&named(&[""]))].concat(),
                ),
                body.clone(),
            ],
        ),
        (
            "exports of a name that the host looks for",
            vec![
                widest_type(),
                (3, 1, vec![0]),
                (
                    7,
                    MANY + 1,
                    [&marker[..], &repeated(&named(&["malloc"]))].concat(),
                ),
                body.clone(),
            ],
        ),
        (
            "imports",
            vec![
                widest_type(),
                (2, MANY, repeated(&named(&["", ""]))),
                (7, 1, marker.clone()),
            ],
        ),
        (
            "imports of a hostcall",
            vec![
                widest_type(),
                (2, 1000, named(&["env", "proxy_log"]).repeat(1000)),
                (7, 1, marker.clone()),
            ],
        ),
        (
            "types",
            vec![
                (1, MANY, repeated(&[0x60, 0, 0])),
                (3, 1, vec![0]),
                (7, 1, marker.clone()),
                body.clone(),
            ],
        ),
        (
            "functions",
            vec![
                (1, 1, vec![0x60, 0, 0]),
                (3, MANY, repeated(&[0])),
                (7, 1, marker.clone()),
                (10, MANY, repeated(&[2, 0, 0x0b])),
            ],
        ),
        (
            "memories",
            vec![
                (1, 1, vec![0x60, 0, 0]),
                (3, 1, vec![0]),
                (5, MANY, repeated(&[0, 1])),
                (7, 1, marker),
                body,
            ],
        ),
    ];
    let mut sections = module(&[]).to_vec();
    sections.extend(repeated(&[0, 1, 0]));
    let read = |bytes: &Bytes| {
        let taken = measure(|| {
            if let Ok(module) = Module::parse(bytes.clone()) {
                let _ = module.problems(&Compat::SUPERSET);
            }
        });
        (taken.bytes_total, taken.bytes_max)
    };
    let whole = hostile.map(|(what, sections)| (what, module(&sections)));
    for (what, bytes) in whole.into_iter().chain([("sections", sections.into())]) {
        let (total, most) = read(&bytes);
        println!(
            "{what}: {} bytes take {total}, at most {most} at once",
            bytes.len()
        );
        // What is wrong with each import is said of a thousand of them, as many as there may be.
        let allowed = 20 * bytes.len() as u64 + (3 << 20);
        assert!(
            total <= allowed,
            "{what}: {} bytes take {total}",
            bytes.len()
        );
    }
}
