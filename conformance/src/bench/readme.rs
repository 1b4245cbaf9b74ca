//! The README's figures, taken from a report and from nowhere else.

use super::report::{Column, Report, Row};
use super::table::number;
use super::verdict::{Outcome, outcome};

/// The README has the figures between these two lines.
pub const MARKERS: [&str; 2] = ["<!-- bench:begin -->", "<!-- bench:end -->"];

/// What a README says of figures that are not of a whole run.
pub const UNMEASURED: &str = "a whole run of today's `make bench` has not been made";

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
const OTHERS: [(&str, &str); 10] = [
    ("start10.warm.cpu", "start, ten modules seen before, CPU ms"),
    ("start10.empty.cpu", "start, ten modules never seen, CPU ms"),
    ("start10.empty.answer", "the same, ms to the first answer"),
    ("transform1.rss", "memory with one filter, MiB"),
    ("vm.rss", "a further VM, KiB"),
    ("idle.http1", "an idle HTTP/1.1 connection, KiB"),
    ("idle.http2", "an idle HTTP/2 connection, KiB"),
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

/// What is wrong with a README's figures: with a report they are that report's, to the last
/// letter; without one it says that they are not of a whole run.
pub fn problem(readme: &str, report: Option<&Report>) -> Option<String> {
    let Some(figures) = between(readme) else {
        return Some(format!(
            "there is nothing between {}",
            MARKERS.join(" and ")
        ));
    };
    let Some(report) = report else {
        let words: Vec<&str> = figures.split_whitespace().collect();
        let says_so = words.join(" ").contains(UNMEASURED);
        return (!says_so)
            .then(|| format!("there is no bench.json, so the figures must say: {UNMEASURED}"));
    };
    let stored = markdown(report);
    if figures.trim() == stored.trim() {
        return None;
    }
    let lines = figures.trim().lines().zip(stored.trim().lines());
    let differing = lines.into_iter().find(|(here, there)| here != there);
    let (here, there) = differing.unwrap_or_default();
    Some(format!(
        "the figures are not those of bench.json (`bench --readme` prints them):\n  \
         here  {here}\n  there {there}"
    ))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::{About, Named};
    use crate::scratch;

    fn report() -> Report {
        let mut report = Report::new(About::default());
        let plain = Named {
            id: "plain.cpu",
            case: "",
            unit: "",
        };
        report.add(plain, Column::Hot, 12.0);
        report.add(plain, Column::Envoy, 40.0);
        report
    }

    fn with(figures: &str) -> String {
        format!("# Before\n{}\n{figures}\n{}\nafter", MARKERS[0], MARKERS[1])
    }

    #[test]
    fn the_readme_has_the_stored_figures() {
        let file = scratch::workspace().join("README.md");
        let readme = std::fs::read_to_string(file).unwrap();
        let stored = Report::stored();
        // Without the file the README must say that there was no whole run.
        let report = stored.exists().then(|| Report::read(&stored).unwrap());
        let problem = problem(&readme, report.as_ref());
        assert!(problem.is_none(), "README.md: {}", problem.unwrap());
    }

    #[test]
    fn one_figure_that_differs_is_enough() {
        let report = report();
        let printed = markdown(&report);
        assert_eq!(problem(&with(&printed), Some(&report)), None);
        assert!(printed.contains("12.0"), "{printed}");
        let forged = with(&printed.replace("12.0", "11.0"));
        let problem_of_it = problem(&forged, Some(&report)).unwrap();
        assert!(problem_of_it.contains("12.0"), "{problem_of_it}");
        for other in [
            with(""),
            with(&format!("{printed}and more")),
            with(UNMEASURED),
            printed,
        ] {
            assert!(problem(&other, Some(&report)).is_some(), "{other}");
        }
    }

    #[test]
    fn figures_without_a_whole_run_say_so() {
        let printed = markdown(&report());
        assert!(problem(&with(&printed), None).is_some());
        let honest = format!("{printed}But {}.", UNMEASURED.replace(' ', "\n"));
        assert_eq!(problem(&with(&honest), None), None);
    }
}
