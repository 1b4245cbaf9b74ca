//! Whom we trust: certificate authorities, of a file or of this system.

use rustls::RootCertStore;

use super::{TlsError, Whose, pem};

/// Every certificate of a PEM text.
pub(super) fn named_roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in pem::certificates(pem, Whose::Ca)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| {
            let what = format!(
                "certificate {} cannot be used as an authority ({error}); take it out or \
                 have it issued anew",
                index + 1
            );
            TlsError::new(Whose::Ca, what)
        })?;
    }
    Ok(roots)
}

/// Single unreadable files of a system's store are common and harmless; none at all is not.
pub(super) fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let reason = match found.errors.first() {
        Some(error) => format!(" ({error})"),
        None => String::new(),
    };
    let what = format!(
        "this system has no certificate authorities{reason}; install ca-certificates, or name \
         a file with `ca`"
    );
    Err(TlsError::new(Whose::Ca, what))
}
