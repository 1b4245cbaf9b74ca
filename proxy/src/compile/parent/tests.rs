//! The parent's side of compiling: the ends of children, and talks over a real pair of sockets
//! with one that answers, stalls or goes.

use super::*;

/// The words for a child that ended so (as `wait` has it), and wrote that to standard error.
fn said(talked: Talk, raw: i32, words: &str) -> String {
    let verdict = verdict(
        talked,
        ExitStatus::from_raw(raw),
        words,
        Compiler::default(),
    );
    match verdict {
        Ok(bytes) => format!("{} bytes", bytes.len()),
        Err(failure) => failure.to_string(),
    }
}

const fn exit(code: i32) -> i32 {
    code << 8
}

fn answer(bytes: &str) -> Talk {
    Talk::Answer(bytes.into())
}

#[test]
fn every_end_has_its_words() {
    let abort = Signal::ABORT.as_raw();
    let cases = [
        (answer("code"), exit(0), "", "4 bytes"),
        (
            answer("no memory\nat all"),
            exit(65),
            "",
            "the compiler refuses it: no memory",
        ),
        (
            answer(""),
            abort,
            "memory allocation of 1048576 bytes failed\n",
            "compiling it takes more than the 512MiB of `compiler.memory`: raise that, or split the module",
        ),
        (
            Talk::TooMuch,
            Signal::KILL.as_raw(),
            "",
            "compiling it takes more than the 512MiB of `compiler.memory`: raise that, or split the module",
        ),
        (
            answer(""),
            Signal::XCPU.as_raw(),
            "",
            "compiling it takes more CPU time than the 30s of `compiler.cpu`: raise that, or split the module",
        ),
        (
            Talk::Late,
            Signal::KILL.as_raw(),
            "",
            "compiling it takes longer than the 1m of `compiler.wall`: raise that, or give the machine less to do",
        ),
        (
            answer("half"),
            Signal::KILL.as_raw(),
            "",
            "the compiler failed: something killed it; the system does that where memory is short",
        ),
        (
            answer("half"),
            abort,
            "\nthread 'main' panicked\nmore",
            "the compiler failed: thread 'main' panicked (signal: 6 (SIGABRT))",
        ),
        (
            answer(""),
            exit(1),
            "its limits cannot be set: x",
            "the compiler failed: its limits cannot be set: x (exit status: 1)",
        ),
        (
            answer(""),
            exit(7),
            "",
            "the compiler failed: exit status: 7",
        ),
        (
            Talk::Failed(io::ErrorKind::NotConnected.into()),
            exit(0),
            "",
            "the compiler cannot be run: not connected",
        ),
    ];
    for (talked, raw, words, expected) in cases {
        assert_eq!(said(talked, raw, words), expected);
    }
}

#[test]
fn what_a_child_says_of_itself_is_one_line_of_bounded_length() {
    let long = "x".repeat(100_000);
    assert!(said(answer(""), exit(1), &long).len() < 500);
    assert!(said(answer(&long), exit(65), "").len() < 500);
}

/// A socket and what is at its other end.
fn socket(other: impl FnOnce(UnixStream) + Send + 'static) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    std::thread::spawn(move || other(theirs));
    ours
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(50)
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn a_talk_is_the_whole_answer_to_the_whole_module() {
    let wasm = vec![7; 1_000_000];
    let ours = socket(|mut theirs| {
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).expect("the module");
        theirs.write_all(&read).expect("the answer");
    });
    let talked = talk(ours, &wasm, wasm.len(), later());
    assert!(matches!(talked, Talk::Answer(answer) if answer == wasm));
}

#[test]
fn a_talk_ends_in_time_whichever_way_it_stands_still() {
    // More than a socket holds, and nobody reads it.
    let held = socket(|theirs| {
        std::thread::sleep(Duration::from_secs(2));
        drop(theirs);
    });
    assert!(matches!(
        talk(held, &vec![0; 10 << 20], 10, soon()),
        Talk::Late
    ));
    let silent = socket(|mut theirs| {
        let _ = theirs.read_to_end(&mut Vec::new());
        std::thread::sleep(Duration::from_secs(2));
    });
    assert!(matches!(talk(silent, b"wasm", 10, soon()), Talk::Late));
    let drip = socket(|mut theirs| {
        let _ = theirs.read_to_end(&mut Vec::new());
        while theirs.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert!(matches!(talk(drip, b"wasm", 1 << 20, soon()), Talk::Late));
}

#[test]
fn an_answer_is_bounded() {
    for (bytes, most, fits) in [(10, 10, true), (11, 10, false), (1 << 20, 10, false)] {
        let ours = socket(move |mut theirs| {
            let _ = theirs.read_to_end(&mut Vec::new());
            let _ = theirs.write_all(&vec![1; bytes]);
        });
        let talked = talk(ours, b"wasm", most, later());
        assert_eq!(matches!(talked, Talk::Answer(_)), fits, "{bytes}");
        assert_eq!(matches!(talked, Talk::TooMuch), !fits, "{bytes}");
    }
}

#[test]
fn a_child_that_goes_early_leaves_what_it_said() {
    let ours = socket(drop);
    assert!(
        matches!(talk(ours, &vec![0; 10 << 20], 10, later()), Talk::Answer(answer) if answer.is_empty())
    );
}

#[test]
fn a_talk_that_is_cut_ends_at_once() {
    let ours = socket(|theirs| {
        std::thread::sleep(Duration::from_secs(600));
        drop(theirs);
    });
    let line = Line(ours.try_clone().expect("a socket"));
    let cut = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        line.cut();
    });
    assert!(matches!(talk(ours, b"wasm", 10, later()), Talk::Answer(answer) if answer.is_empty()));
    cut.join().expect("cut");
}
