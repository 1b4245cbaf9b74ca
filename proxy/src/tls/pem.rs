//! From PEM files to what is in them; whoever has given the wrong file is told so.

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::{TlsError, Whose};

/// Every certificate of a PEM text; never an empty list.
pub(super) fn certificates(
    pem: &[u8],
    whose: Whose,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| not_pem(whose, &error))?;
    if !found.is_empty() {
        return Ok(found);
    }
    let what = if PrivateKeyDer::from_pem_slice(pem).is_ok() {
        "this is a private key where a certificate is wanted; give the certificate's file \
         (are the two exchanged?)"
    } else {
        "no certificate in it; give a PEM file with a `-----BEGIN CERTIFICATE-----` section"
    };
    Err(TlsError::new(whose, what))
}

pub(super) fn private_key(pem: &[u8], whose: Whose) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        if !matches!(error, pem::Error::NoItemsFound) {
            return not_pem(whose, &error);
        }
        // The reader skips sections it does not know, and an encrypted key is one of them.
        let what = if contains(pem, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") {
            "the private key is encrypted; decrypt it first, for example with `openssl pkey -in \
             FILE -out NEW`"
        } else if contains_section(pem, SectionKind::Certificate) {
            "this is a certificate where a private key is wanted; give the key's file (are the \
             two exchanged?)"
        } else {
            "no private key in it; give a PEM file with a `-----BEGIN PRIVATE KEY-----` section"
        };
        TlsError::new(whose, what)
    })
}

fn not_pem(whose: Whose, error: &pem::Error) -> TlsError {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed".to_owned(),
        error => error.to_string(),
    };
    let what = format!("this is not valid PEM ({why}); export the file again");
    TlsError::new(whose, what)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn contains_section(pem: &[u8], wanted: SectionKind) -> bool {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem)
        .any(|item| item.is_ok_and(|(kind, _)| kind == wanted))
}

/// Every list of revoked certificates of a PEM text; never none.
pub(super) fn revocations(
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| not_pem(Whose::Crl, &error))?;
    if found.is_empty() {
        let what = "no list of revoked certificates in it; give a PEM file with a `-----BEGIN X509 \
                    CRL-----` section";
        return Err(TlsError::new(Whose::Crl, what));
    }
    Ok(found)
}
