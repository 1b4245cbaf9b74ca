//! The README's figures, taken from a report and from nowhere else.

use super::report::{Column, Report, Row};
use super::table::number;
use super::verdict::{Outcome, outcome};

/// The README has the figures between these two lines.
pub const MARKERS: [&str; 2] = ["<!-- bench:begin -->", "<!-- bench:end -->"];

/// Rows of the README: the beginning of a row's id, and how it is called there.
const LOADS: [(&str, &str); 10] = [
    ("plain", "no filter"),
    ("noop1", "one filter that does nothing"),
    ("noop5", "five of them"),
    ("transform1", "one that changes four headers"),
    ("transform5", "five of them"),
    ("hello1", "one that logs every header, dropped"),
    ("hello5", "five of them"),
    ("replace", "16 KiB bodies, both replaced"),
    ("rewrite", "16 KiB bodies, every byte rewritten"),
    ("h2c", "no filter, HTTP/2 in"),
];

/// Other rows: id, how it is called, whether ours is also shown cold.
const OTHERS: [(&str, &str); 9] = [
    ("start10.warm.cpu", "start, ten modules seen before, CPU ms"),
    ("start10.empty.cpu", "start, ten modules never seen, CPU ms"),
    ("start10.empty.answer", "the same, ms to the first answer"),
    ("transform1.rss", "memory with one filter, MiB"),
    ("vm.rss", "a further VM, KiB"),
    ("idle.http1", "an idle connection, KiB"),
    ("idle.wakeups", "wake-ups of an idle process, per second"),
    ("trap.whole", "a trap, until the next request is served, ms"),
    ("runaway.others", "a guest that loops: others wait, ms"),
];

/// The Markdown between the markers.
pub fn markdown(report: &Report) -> String {
    let about = &report.about;
    let mut text = format!(
        "{}, {}, one worker, medians of {} interleaved rounds of {} s; hot is native code, cold \
         the interpreter. Envoy {} runs the same modules. Trust ratios, which are of one run, and \
         no absolute time.\n\n\
         | CPU µs/request | hot | cold | Envoy | nginx | hot / Envoy | p50, p99 µs: hot | Envoy |\n\
         |---|---|---|---|---|---|---|---|\n",
        about.date,
        about.cpu,
        about.slices,
        about.seconds,
        about.versions.get("envoy").map_or("", String::as_str)
    );
    for (id, name) in LOADS {
        let cpu = row(report, &format!("{id}.cpu"));
        let latency = |column| {
            let of = |part: &str| cell(row(report, &format!("{id}.{part}")), column);
            format!("{}, {}", of("p50"), of("p99"))
        };
        text.push_str(&format!(
            "| {name} | {} | {} | {} |\n",
            columns(cpu),
            latency(Column::Hot),
            latency(Column::Envoy)
        ));
    }
    text.push_str("\n| | hot | cold | Envoy | nginx | hot / Envoy |\n|---|---|---|---|---|---|\n");
    for (id, name) in OTHERS {
        text.push_str(&format!("| {name} | {} |\n", columns(row(report, id))));
    }
    let met = report.verdicts.iter().filter(|verdict| verdict.is_met());
    text.push_str(&format!(
        "\n{} of {} targets met",
        met.count(),
        report.verdicts.len()
    ));
    text.push_str(match outcome(&report.verdicts) {
        Outcome::Kept => ", all that are required among them.\n",
        Outcome::Missed(_) => "; too few.\n",
    });
    text
}

/// What stands between the markers of a README.
pub fn between(readme: &str) -> Option<&str> {
    let (_, rest) = readme.split_once(MARKERS[0])?;
    Some(rest.split_once(MARKERS[1])?.0)
}

fn row<'a>(report: &'a Report, id: &str) -> Option<&'a Row> {
    report.rows.iter().find(|row| row.id == id)
}

fn cell(row: Option<&Row>, column: Column) -> String {
    let cell = row.and_then(|row| row.cells.get(&column));
    cell.map_or_else(|| "–".to_owned(), |cell| number(cell.summary.median))
}

fn columns(row: Option<&Row>) -> String {
    let shown = [Column::Hot, Column::Cold, Column::Envoy, Column::Nginx];
    let cells = shown.map(|column| cell(row, column)).join(" | ");
    let ratio = row.and_then(|row| row.ratio(Column::Hot, Column::Envoy));
    let ratio = ratio.map_or_else(|| "–".to_owned(), |ratio| number(ratio.median));
    format!("{cells} | {ratio}")
}
