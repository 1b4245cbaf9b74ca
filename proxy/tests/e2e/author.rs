//! The commands for those who write filters.

mod build;
mod dev;
mod new;
mod progress;
mod targets;
mod test;
mod textproto;

use cofferdam_abi::testing::guest;

use crate::support::{Dir, guest as file, proxy};

/// What a command did.
struct Done {
    status: Option<i32>,
    out: String,
    err: String,
}

fn run(arguments: &[&str]) -> Done {
    let output = proxy::run(arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done {
        status: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Runs `cofferdam test` on these cases of a guest in the terse language.
fn cases(source: &str, name: &str, cases: &str, more: &[&str]) -> Done {
    let dir = Dir::new();
    file::write(&dir, "guest", &guest::module(source, Default::default()));
    let cases = dir.write(name, cases);
    let mut arguments = vec!["test", cases.to_str().unwrap()];
    arguments.extend(more);
    let mut done = run(&arguments);
    // Where it was is different each time.
    let folder = format!("{}/", dir.path().display());
    done.out = done.out.replace(&folder, "");
    done.err = done.err.replace(&folder, "");
    done
}
