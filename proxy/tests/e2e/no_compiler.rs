//! A build without the compiler (`cargo test -p cofferdam --no-default-features`).

use crate::support::{Dir, guest, proxy};

#[test]
fn compile_says_that_it_cannot_and_is_status_69() {
    let dir = Dir::new();
    let module = guest::write(&dir, "one", &guest::with("", ""));
    let output = proxy::run(&["compile", module.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(69), 0));
    assert!(said.contains("built without its compiler"), "{said}");
}
