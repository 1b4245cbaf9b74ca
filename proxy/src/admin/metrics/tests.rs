//! The text, line by line.

use std::rc::Rc;
use std::sync::Arc;

use cofferdam_abi::shared::MetricKind;
use cofferdam_abi::testing::{Guest, RecordingHost};
use cofferdam_abi::{Plugin, Shared, VmSettings};

use super::*;
use crate::admin::openmetrics;

fn render(shared: &Shared, tags: &Tags) -> String {
    openmetrics::render(&of_guests(shared, tags))
}

/// What the page says of guests once a guest has defined these, and counted once each.
fn page(metrics: &[(MetricKind, &str)]) -> String {
    let (mut data, mut code, mut at) = (String::new(), String::new(), 0);
    for (number, (kind, name)) in metrics.iter().enumerate() {
        let kind = *kind as usize;
        data += &format!("(data (i32.const {at}) \"{name}\")");
        // `\xx` is one byte.
        let length = name.len() - 2 * name.matches('\\').count();
        code += &format!(
            "(drop (call $define (i32.const {kind}) (i32.const {at}) (i32.const {length}) (i32.const 4096)))
             (drop (call $record (i32.load (i32.const 4096)) (i64.const {})))",
            number + 1,
        );
        at += length;
    }
    let wat = format!(
        "(module
        (import \"env\" \"proxy_define_metric\" (func $define (param i32 i32 i32 i32) (result i32)))
        (import \"env\" \"proxy_record_metric\" (func $record (param i32 i64) (result i32)))
        (memory (export \"memory\") 1) {data}
        (func (export \"proxy_abi_version_0_2_1\"))
        (func (export \"malloc\") (param i32) (result i32) (i32.const 0))
        (func (export \"proxy_on_vm_start\") (param i32 i32) (result i32) {code} (i32.const 1)))"
    );
    let guest = Guest::wat(&wat).expect("loads");
    let page = render(&guest.host.shared, &[]);
    let guests = page
        .lines()
        .filter(|line| !line.contains("cofferdam_shared") && !line.contains("cofferdam_filter"));
    guests.map(|line| format!("{line}\n")).collect()
}

#[test]
fn counters_and_gauges_have_the_names_they_were_given() {
    let page = page(&[(MetricKind::Counter, "hits"), (MetricKind::Gauge, "level")]);
    assert_eq!(
        page,
        "# TYPE hits counter\nhits_total 1\n# TYPE level gauge\nlevel 2\n# EOF\n"
    );
}

#[test]
fn a_counter_that_ends_in_total_keeps_its_name() {
    let page = page(&[(MetricKind::Counter, "requests_total")]);
    assert_eq!(page, "# TYPE requests counter\nrequests_total 1\n# EOF\n");
}

#[test]
fn names_are_made_what_is_allowed() {
    for (given, shown) in [
        ("a.b-c:d", "a_b_c_d"),
        ("1st", "_1st"),
        ("", "_"),
        ("\\ff\\0a", "__"),
        ("cofferdam_x", "wasmcustom_cofferdam_x"),
        ("cofferdam.x", "wasmcustom_cofferdam_x"),
    ] {
        let page = page(&[(MetricKind::Gauge, given)]);
        assert_eq!(page, format!("# TYPE {shown} gauge\n{shown} 1\n# EOF\n"));
    }
}

#[test]
fn names_that_become_the_same_are_told_apart() {
    let page = page(&[
        (MetricKind::Gauge, "a.b"),
        (MetricKind::Gauge, "a-b"),
        (MetricKind::Gauge, "a\\22b"),
        (MetricKind::Counter, "a_b"),
    ]);
    assert_eq!(
        page,
        "# TYPE a_b gauge\na_b 3\na_b{name=\"a-b\"} 2\na_b{name=\"a.b\"} 1\n\
         # TYPE a_b_counter counter\na_b_counter_total 4\n# EOF\n"
    );
}

#[test]
fn no_sample_has_the_name_of_another_familys() {
    let page = page(&[
        (MetricKind::Counter, "m"),
        (MetricKind::Gauge, "m_total"),
        (MetricKind::Gauge, "m_created"),
        // A dot comes before what it becomes.
        (MetricKind::Gauge, "n.o_total"),
        (MetricKind::Counter, "n_o"),
        (MetricKind::Counter, "h"),
        (MetricKind::Histogram, "h"),
        (MetricKind::Gauge, "h_histogram_sum"),
        (MetricKind::Counter, "h_histogram_bucket"),
        (MetricKind::Gauge, "h_histogram_count"),
    ]);
    let families = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    assert_eq!(
        families.collect::<Vec<_>>(),
        [
            "h counter",
            "h_histogram histogram",
            "h_histogram_bucket_counter counter",
            "h_histogram_count_gauge gauge",
            "h_histogram_sum_gauge gauge",
            "m counter",
            "m_created_gauge gauge",
            "m_total_gauge gauge",
            "n_o_counter counter",
            "n_o_total gauge",
        ]
    );
    let mut series = page.lines().filter(|line| !line.starts_with('#'));
    let mut seen = std::collections::BTreeSet::new();
    assert!(
        series.all(|line| seen.insert(line.split(' ').next())),
        "{page}"
    );
}

#[test]
fn names_that_are_no_text_are_told_apart() {
    let page = page(&[
        (MetricKind::Gauge, "y\\fd"),
        (MetricKind::Gauge, "y\\fe"),
        (MetricKind::Gauge, "y\\ff"),
        (MetricKind::Gauge, "y\\5c"),
    ]);
    assert_eq!(
        page,
        "# TYPE y_ gauge\ny_ 4\ny_{name=\"y\\\\xfd\"} 1\ny_{name=\"y\\\\xfe\"} 2\n\
         y_{name=\"y\\\\xff\"} 3\n# EOF\n"
    );
}

#[test]
fn a_histogram_counts_up_to_everything() {
    let page = page(&[(MetricKind::Counter, "c"), (MetricKind::Histogram, "h")]);
    let lines: Vec<&str> = page.lines().skip(2).collect();
    assert_eq!(
        lines[..3],
        [
            "# TYPE h histogram",
            "h_bucket{le=\"1.0\"} 0",
            "h_bucket{le=\"5.0\"} 1"
        ]
    );
    let end = lines.len() - 5;
    assert_eq!(
        lines[end..],
        [
            "h_bucket{le=\"3600000.0\"} 1",
            "h_bucket{le=\"+Inf\"} 1",
            "h_sum 2",
            "h_count 1",
            "# EOF"
        ]
    );
}

#[test]
fn what_a_vm_id_holds_is_shown_with_its_label_escaped() {
    let host = Rc::new(RecordingHost::default());
    let settings = VmSettings {
        vm_id: "a\"b\\\n".to_owned(),
        ..VmSettings::default()
    };
    let wasm = wat::parse_str(
        "(module (memory (export \"memory\") 1)
        (func (export \"proxy_abi_version_0_2_1\"))
        (func (export \"malloc\") (param i32) (result i32) (i32.const 0)))",
    );
    let wasm = wasm.expect("WAT").into();
    let guest = Guest::load(wasm, Plugin::default(), settings, host).expect("loads");
    let page = render(&guest.host.shared, &[]);
    for line in [
        "# TYPE cofferdam_shared_data_evictions counter",
        "cofferdam_shared_data_evictions_total{vm_id=\"a\\\"b\\\\\\n\"} 0",
        "cofferdam_shared_data_entries{vm_id=\"a\\\"b\\\\\\n\"} 0",
        "cofferdam_shared_queue_bytes{vm_id=\"a\\\"b\\\\\\n\"} 0",
    ] {
        assert!(page.lines().any(|other| other == line), "{line}\n{page}");
    }
}

#[test]
fn what_filters_use_is_told_by_filter_callback_and_engine() {
    let shared = Shared::default();
    let host = Rc::new(RecordingHost {
        shared: Arc::new(shared),
        ..RecordingHost::default()
    });
    let wat = r#"(module
        (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_tick") (param i32)))"#;
    let wasm = wat::parse_str(wat).expect("WAT");
    // Two workers: each has a VM, and they add up.
    for _ in 0..2 {
        let plugin = Plugin {
            name: "a \"filter\"".to_owned(),
            ..Plugin::default()
        };
        let guest = Guest::load(
            wasm.clone().into(),
            plugin,
            VmSettings::default(),
            host.clone(),
        );
        let guest = guest.expect("loads");
        for _ in 0..5 {
            guest.vm.borrow_mut().tick(guest.root).expect("no trap");
        }
    }
    let page = render(&host.shared, &[]);
    let labels = |callback| {
        format!("{{filter=\"a \\\"filter\\\"\",callback=\"{callback}\",engine=\"interpreter\"}}")
    };
    for line in [
        "# TYPE cofferdam_filter_calls counter".to_owned(),
        format!(
            "cofferdam_filter_calls_total{} 2",
            labels("proxy_on_vm_start")
        ),
        format!("cofferdam_filter_calls_total{} 10", labels("proxy_on_tick")),
    ] {
        assert!(page.lines().any(|other| other == line), "{line}\n{page}");
    }
    let fuel = format!("cofferdam_filter_fuel_total{} ", labels("proxy_on_tick"));
    let fuel = page.lines().find_map(|line| line.strip_prefix(&fuel));
    let fuel: u64 = fuel.expect("fuel").parse().expect("a number");
    assert!(
        fuel > 0 && fuel.is_multiple_of(10),
        "ten times the same: {fuel}"
    );
    assert!(!page.contains("cpu_seconds"), "nothing ran as native code");
}
