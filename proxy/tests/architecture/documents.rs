//! What documents say of the code.

use std::process::Command;

use crate::tree::{files, read, root};

/// Documents whose references must hold.
const DOCUMENTS: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "abi/ABI.md",
    "conformance/README.md",
    "examples/README.md",
];

#[test]
fn the_reference_is_what_the_program_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_cofferdam"))
        .arg("reference")
        .output()
        .expect("cofferdam starts");
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        printed == read("proxy/REFERENCE.md"),
        "proxy/REFERENCE.md is out of date: `make reference` writes it anew"
    );
}

/// Operators stand there by the alphabet, so the row before is another one than where they are
/// written.
#[test]
fn no_operator_is_described_by_the_row_before() {
    let reference = read("proxy/REFERENCE.md");
    let (_, rest) = (reference.split_once("\n## Operators of the access log\n")).expect("there");
    let rows = rest.split("\n## ").next().unwrap_or_default().lines();
    let rows: Vec<(&str, &str)> = rows
        .filter_map(|row| {
            row.strip_prefix("| `%")?
                .strip_suffix(" |")?
                .split_once("` | ")
        })
        .collect();
    assert!(rows.len() > 100, "{} rows", rows.len());
    for (operator, what) in rows {
        for word in ["Likewise", "Its ", "The same", "That ", "Ditto"] {
            assert!(!what.starts_with(word), "%{operator}: {what}");
        }
        for end in ["likewise.", "of it.", "of that."] {
            assert!(!what.ends_with(end), "%{operator}: {what}");
        }
    }
}

/// `folder/file.rs` must be there, and in `folder/file.rs:name` something of that name must
/// be defined.
#[test]
fn what_documents_point_at_is_there() {
    let mut wrong = Vec::new();
    let documents = DOCUMENTS.map(str::to_owned).into_iter().chain(book());
    for document in &documents.collect::<Vec<_>>() {
        let text = read(document);
        let base = document.rsplit_once('/').map_or("", |(folder, _)| folder);
        for word in references(&text) {
            let (path, name) = word
                .split_once(':')
                .map_or((word, None), |(path, name)| (path, Some(name)));
            let places = [path.to_owned(), format!("{base}/{path}")];
            let Some(place) = places.iter().find(|place| root().join(place).exists()) else {
                wrong.push(format!("{document}: `{word}`: no such file"));
                continue;
            };
            if let Some(name) = name.and_then(|name| name.rsplit("::").next())
                && !defines(&read(place), name)
            {
                wrong.push(format!("{document}: `{word}`: {place} defines no {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Sections of `abi/ABI.md` that cases and comments of the host cite.
#[test]
fn what_cites_the_abi_cites_a_section_that_it_has() {
    let document = read("abi/ABI.md");
    let sections: Vec<&str> = (document.lines())
        .filter_map(|line| {
            line.strip_prefix('#')?
                .trim_start_matches('#')
                .split_whitespace()
                .next()
        })
        .map(|number| number.trim_end_matches('.'))
        .collect();
    let (mut cited, mut wrong) = (0, Vec::new());
    let mut look = |place: &str, section: &str| {
        cited += 1;
        if !sections.contains(&section) {
            wrong.push(format!("{place}: section {section}"));
        }
    };
    for path in files("conformance/cases", ".yaml") {
        let text = read(&path);
        for line in text.lines() {
            if let Some(section) = line.strip_prefix("section: ") {
                look(&path, section.trim_matches('"'));
            }
        }
    }
    for path in files("abi/src", ".rs") {
        for rest in read(&path).split("(section ").skip(1) {
            let end = rest.find(|next: char| !next.is_ascii_digit() && next != '.');
            look(
                &path,
                rest[..end.unwrap_or(rest.len())].trim_end_matches('.'),
            );
        }
    }
    assert!(cited > 100, "cited {cited} times");
    assert!(wrong.is_empty(), "abi/ABI.md has no\n{}", wrong.join("\n"));
}

#[test]
fn the_abi_lists_every_switch() {
    let document = read("abi/ABI.md");
    let (_, rest) = document.split_once("\n# 12.").expect("section 12");
    let rows = rest.split("\n# ").next().unwrap_or_default().lines();
    let listed: Vec<&str> = rows
        .filter_map(|row| Some(row.strip_prefix("| `")?.split_once('`')?.0))
        .collect();
    let switches: Vec<&str> = cofferdam_abi::Compat::switches().collect();
    assert_eq!(listed, switches);
}

/// What `make help` says exists, and the targets that documents name.
#[test]
fn documents_name_targets_that_the_makefile_has() {
    let makefile = read("Makefile");
    let targets: Vec<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', '.']))
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    for document in DOCUMENTS {
        for words in read(document)
            .split('`')
            .skip(1)
            .step_by(2)
            .filter_map(|code| code.strip_prefix("make "))
        {
            let target = words.split_whitespace().next().unwrap_or_default();
            assert!(
                targets.contains(&target),
                "{document} names `make {words}`; the Makefile has {targets:?}"
            );
        }
    }
}

/// The chapters of the guest library's book.
fn book() -> Vec<String> {
    let chapters = files("sdk/docs", ".md");
    assert!(
        chapters.len() > 8,
        "the book is somewhere else: {chapters:?}"
    );
    chapters
}

/// Commands of the book: each block of shell begins lines with one of `cofferdam`, or of others.
#[test]
fn the_book_names_commands_that_there_are() {
    let mut commands = Vec::new();
    for chapter in book() {
        let text = read(&chapter);
        let blocks = text.split("\n```sh\n").skip(1);
        let lines = blocks.flat_map(|block| block.split("\n```").next().unwrap_or("").lines());
        let inline = text.split('`').skip(1).step_by(2);
        for line in lines.chain(inline) {
            let mut words = line.split_whitespace();
            if words.next() == Some("cofferdam")
                && let Some(command) = words.next()
            {
                commands.push((chapter.clone(), command.to_owned()));
            }
        }
    }
    assert!(commands.len() > 10, "{commands:?}");
    let output = Command::new(env!("CARGO_BIN_EXE_cofferdam"))
        .arg("--help")
        .output()
        .expect("cofferdam starts");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for (chapter, command) in commands {
        let known = |line: &str| line.split_whitespace().next() == Some(&command);
        assert!(
            help.lines().any(known),
            "{chapter}: no `cofferdam {command}`"
        );
    }
}

#[test]
fn every_document_at_the_root_is_looked_at() {
    let forgotten: Vec<String> = files("", ".md")
        .into_iter()
        .filter(|path| !path.contains('/') && !DOCUMENTS.contains(&&path[..]))
        .collect();
    assert!(
        forgotten.is_empty(),
        "add these to DOCUMENTS: {forgotten:?}"
    );
}

/// Words in backticks that look like a file of this project, with or without a name in it.
fn references(text: &str) -> Vec<&str> {
    const ENDINGS: [&str; 8] = [
        ".rs", ".md", ".toml", ".yaml", ".sh", ".json", ".wat", ".lock",
    ];
    // Blocks of code are somebody else's paths.
    let prose = text.split("```").step_by(2);
    prose
        .flat_map(|prose| prose.split('`').skip(1).step_by(2))
        .filter(|word| !word.contains([' ', '*', '{', '<', '$']) && !word.starts_with('.'))
        .filter(|word| {
            let path = word.split(':').next().unwrap_or_default();
            let file = ENDINGS
                .iter()
                .any(|ending| path.ends_with(ending) && path.len() > ending.len());
            path.contains('/') && (file || path.ends_with('/')) && !path.contains("//")
        })
        .collect()
}

fn defines(source: &str, name: &str) -> bool {
    let after = |keyword: &str| {
        let wanted = format!("{keyword} {name}");
        source.match_indices(&wanted).any(|(at, _)| {
            !source[at + wanted.len()..]
                .starts_with(|next: char| next.is_alphanumeric() || next == '_')
        })
    };
    [
        "fn",
        "struct",
        "enum",
        "trait",
        "const",
        "static",
        "type",
        "macro_rules!",
        "mod",
    ]
    .iter()
    .any(|keyword| after(keyword))
}

/// On a machine where nothing was installed by hand, tests find what they call.
#[test]
fn every_program_that_tests_call_is_got_by_the_set_up() {
    let setup = read(".ci/setup.sh");
    let wanted = setup.split_once("want_tests() {").expect("a function").1;
    let wanted = wanted.split_once("\n}").expect("its end").0;
    let wanted: Vec<&str> = (wanted.lines())
        .filter_map(|line| line.trim().strip_prefix("want ")?.split(' ').next())
        .collect();
    let mut called = Vec::new();
    for file in files("proxy/tests", ".rs") {
        let text = read(&file);
        for call in ["tool(\"", "installed(\""] {
            let names = text.split(call).skip(1);
            called.extend(names.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    assert!(called.iter().any(|name| name == "nginx"), "{called:?}");
    let missing: Vec<_> = called
        .iter()
        .filter(|name| !wanted.contains(&&name[..]))
        .collect();
    assert!(
        missing.is_empty(),
        "not in want_tests of .ci/setup.sh: {missing:?}"
    );
}
