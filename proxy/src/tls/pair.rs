//! A certificate chain with its key, read and found to belong together.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use rustls::InconsistentKeys;
use rustls::sign::CertifiedKey;

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
    /// The `index`-th pair of its owner.
    ///
    /// # Errors
    /// Text that is not PEM, holds nothing of the wanted kind, or a key of another
    /// certificate.
    pub(super) fn new(
        index: usize,
        file: PathBuf,
        certificate: &Bytes,
        key: &Bytes,
    ) -> Result<Self, Vec<TlsError>> {
        // Both are looked at before either is given up on.
        let chain = pem::certificates(certificate, Whose::Certificate(index));
        let key = pem::private_key(key, Whose::Key(index)).and_then(|key| {
            (provider().key_provider.load_private_key(key)).map_err(|error| {
                let what = format!(
                    "this private key cannot be used ({error}); give an RSA (2048 bits or \
                     more), ECDSA P-256 or P-384, or Ed25519 key"
                );
                TlsError::new(Whose::Key(index), what)
            })
        });
        let (chain, key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
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
