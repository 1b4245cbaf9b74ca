//! `/certs`.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::State;
use crate::tls::{Listed, date};

pub(super) fn shown(state: &State) -> Value {
    let now = SystemTime::now();
    let listed = state
        .subject
        .shared
        .modules
        .blueprint()
        .config
        .tls()
        .listed();
    listed.iter().map(|listed| one(listed, now)).collect()
}

fn one(listed: &Listed, now: SystemTime) -> Value {
    let days = |left: std::time::Duration| left.as_secs() / DAY;
    json!({
        "owner": listed.owner,
        "used_as": listed.used_as(),
        "file": listed.file.display().to_string(),
        "subject": listed.subject,
        "issuer": listed.issuer,
        "serial_number": listed.serial,
        "dns_names": listed.dns_names,
        "uris": listed.uris,
        "addresses": listed.addresses,
        "sha256": listed.sha256,
        "valid_from": date(listed.not_before),
        "expiration_time": date(listed.not_after),
        "days_until_expiration": listed.left(now).map_or(0, days),
        "expired": listed.left(now).is_none(),
    })
}

/// Seconds of one.
const DAY: u64 = 86_400;
