//! `artifacts`, `compiler`, and native code that a filter brings along.

use cofferdam_abi::engine::artifact::PublicKey;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;

use super::Context;
use crate::config::yaml::{Node, Object, quote};
use crate::config::{Artifacts, Compiler, Precompiled};

/// Where native code is kept, and whose is trusted.
pub(super) fn artifacts(root: &Object<'_>, context: &Context<'_>) -> Artifacts {
    let Some(table) = root.table("artifacts") else {
        return Artifacts::default();
    };
    let directory = table.get("directory").and_then(|node| {
        let name = node.filled()?;
        Some(context.files.locate(name))
    });
    let files = table.list("trusted_keys");
    context.signers.set(!files.is_empty());
    let keys = files.iter().filter_map(|node| trusted_key(node, context));
    Artifacts {
        directory,
        trusted_keys: keys.flatten().collect(),
    }
}

/// What compiling may cost.
pub(super) fn compiler(root: &Object<'_>) -> Compiler {
    root.table("compiler")
        .map_or_else(Compiler::default, |table| Compiler {
            memory: table.size("memory"),
            cpu: table.duration("cpu"),
            wall: table.duration("wall"),
        })
}

/// The native code beside a module. `None` where a mistake was noted.
pub(super) fn precompiled(
    module: &Object<'_>,
    context: &Context<'_>,
) -> Option<Option<Precompiled>> {
    let (code, signature) = match (module.get("precompiled"), module.get("signature")) {
        (None, None) => return Some(None),
        (Some(code), Some(signature)) => (code, signature),
        (Some(node), None) => {
            node.wrong(
                "native code from elsewhere is used only with a signature",
                "name its file in `signature`, and the signer's key in `artifacts.trusted_keys`",
            );
            return None;
        }
        (None, Some(node)) => {
            node.wrong(
                "there is nothing that it could be the signature of",
                "name the signed file in `precompiled`",
            );
            return None;
        }
    };
    if !context.signers.get() {
        code.wrong(
            "nobody may sign native code here",
            "name the signer's public key in `artifacts.trusted_keys`",
        );
        return None;
    }
    let read = context.files.read(&code);
    let (_, signed) = context.files.read(&signature)?;
    if signed.len() != SIGNATURE {
        let what = format!(
            "{} is no Ed25519 signature: it has {} bytes, not {SIGNATURE}",
            quote(signature.as_text().unwrap_or("")),
            signed.len()
        );
        signature.wrong(what, "write it with `cofferdam compile --sign`");
        return None;
    }
    let (file, bytes) = read?;
    Some(Some(Precompiled {
        file,
        bytes,
        signature: signed,
    }))
}

/// Bytes of an Ed25519 signature.
const SIGNATURE: usize = 64;

/// All keys of one file.
fn trusted_key(node: &Node<'_>, context: &Context<'_>) -> Option<Vec<PublicKey>> {
    let (_, pem) = context.files.read(node)?;
    let keys: Option<Vec<_>> = SubjectPublicKeyInfoDer::pem_slice_iter(&pem)
        .map(|key| ed25519(&key.ok()?))
        .collect();
    let keys = keys.filter(|keys| !keys.is_empty());
    if keys.is_none() {
        let what = format!(
            "{} is not a PEM file with Ed25519 public keys only",
            quote(node.as_text().unwrap_or(""))
        );
        node.wrong(what, "write it with `openssl pkey -in KEY.pem -pubout`");
    }
    keys
}

/// The key itself: such a structure is one of exactly this form (RFC 8410).
fn ed25519(info: &[u8]) -> Option<PublicKey> {
    const BEFORE: [u8; 12] = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    let key = info.strip_prefix(&BEFORE)?;
    Some(PublicKey(key.try_into().ok()?))
}
