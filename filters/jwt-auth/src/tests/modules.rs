//! The same, in the module itself, where `make guests` has built it: its stack is small.

use std::path::Path;

use cofferdam_sdk::testing::Tester;

use super::tokens::{CLAIMS, ED25519, P256, P384, RSA, SECRET, TOKENS, ask, inline, token};

/// Signatures by key pairs take more of the interpreter than a test allows a callback.
#[test]
fn the_module_reads_every_key_and_verifies_tags() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/jwt_auth.wasm");
    if !file.exists() {
        // Where everything is to be tested it must have been.
        assert_ne!(
            std::env::var("COFFERDAM_REQUIRE_ALL").as_deref(),
            Ok("1"),
            "{} is not there: run filters/build.sh",
            file.display()
        );
        eprintln!("SKIPPED for lack of {}", file.display());
        return;
    }
    let config = format!("{{{}}}", inline(&[RSA, P256, P384, ED25519, SECRET], ""));
    let mut tester = Tester::of_module(&file, &config);
    for (algorithm, token) in TOKENS.iter().filter(|(name, _)| name.starts_with("HS")) {
        assert_eq!(ask(&mut tester, token).0, 200, "{algorithm}");
    }
    let forged = token(CLAIMS).replace('.', "..");
    assert_eq!(ask(&mut tester, &forged).1, "malformed_token");
}
