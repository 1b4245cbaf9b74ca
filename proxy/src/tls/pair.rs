//! A certificate chain with its key, read and found to belong together.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use rustls::InconsistentKeys;
use rustls::sign::{CertifiedKey, SigningKey};

use super::{TlsError, Whose, pem, provider};

/// Ready to be shown.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// The leaf, in DER.
    pub(super) leaf: Arc<[u8]>,
    /// The file the chain is from.
    pub(super) file: PathBuf,
}

// === impl Pair ===

impl Pair {
    /// The `index`-th pair of its owner, of what could be read.
    ///
    /// # Errors
    /// Text that is not PEM, holds nothing of the wanted kind, or a key of another
    /// certificate.
    pub(super) fn new(
        index: usize,
        file: PathBuf,
        certificate: Option<&Bytes>,
        key: Option<&Bytes>,
    ) -> Result<Self, Vec<TlsError>> {
        // Both are looked at before either is given up on.
        let chain = certificate.map(|pem| pem::certificates(pem, Whose::Certificate(index)));
        let key = key.map(|pem| usable(pem, Whose::Key(index)));
        let (chain, key) = match (chain, key) {
            (Some(Ok(chain)), Some(Ok(key))) => (chain, key),
            (chain, key) => {
                let (chain, key) = (chain.and_then(Result::err), key.and_then(Result::err));
                return Err(chain.into_iter().chain(key).collect());
            }
        };
        let leaf: Arc<[u8]> = chain.first().map_or(&[][..], |leaf| leaf).into();
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // Not every kind of key can tell; the handshake will.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Self {
                certified: Arc::new(certified),
                leaf,
                file,
            }),
            Err(rustls::Error::InconsistentKeys(_)) => Err(vec![TlsError::new(
                Whose::Both(index),
                "the key does not belong to the certificate; give the key the certificate was \
                 issued for (and put the server's own certificate first in its file)",
            )]),
            Err(error) => Err(vec![TlsError::new(
                Whose::Certificate(index),
                format!("the first certificate cannot be read ({error}); have it issued anew"),
            )]),
        }
    }
}

fn usable(pem: &Bytes, whose: Whose) -> Result<Arc<dyn SigningKey>, TlsError> {
    let key = pem::private_key(pem, whose)?;
    (provider().key_provider.load_private_key(key)).map_err(|error| {
        let what = format!(
            "this private key cannot be used ({error}); give an RSA (2048 bits or more), ECDSA \
             P-256 or P-384, or Ed25519 key"
        );
        TlsError::new(whose, what)
    })
}
