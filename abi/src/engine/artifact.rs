//! Native code as a file, and what makes such a file fit to be run.
//!
//! Whoever chooses these bytes runs what he likes in this process: no check of their form
//! can change that. So an [`Artifact`] is made in three ways only, each of which says whose
//! they are: by this process's own compiler, from a file that nobody but this user can have
//! written, or under a signature of the operator's. What is trusted is read into memory
//! first: a file that is changed afterwards changes nothing here.
//!
//! The form: a magic number, the format's number, the digest of the module it was made of,
//! the fingerprint of the engine it was made for, the length of the code, a digest of all
//! that and the code, the code.

#![allow(
    unsafe_code,
    reason = "the one place that runs machine code from outside; ARCHITECTURE.md lists it"
)]

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, Module};

/// Ours; changes with the form, or with what we compile code for.
pub const FORMAT: u32 = 2;
const MAGIC: &[u8; 12] = b"cofferdam\0an";
/// Magic, format, digest of the module, fingerprint, length.
const FIELDS: usize = 12 + 4 + 32 + 8 + 8;
const HEADER: usize = FIELDS + 32;
/// No code of ours is larger: a module of 64 MiB gives about this much.
const MOST: u64 = 512 << 20;

/// Native code that may be run.
pub struct Artifact {
    bytes: Vec<u8>,
}

/// A public key of the operator's, for Ed25519.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

/// Why a file is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArtifactError {
    /// It could not be read.
    Io(String),
    /// It is a directory, a device or the like.
    NotAFile,
    /// Another user owns it.
    Owner(u32),
    /// Others may write it.
    Mode(u32),
    /// It does not have the form, or not the length it names.
    Format(&'static str),
    /// It was made of another module.
    Module,
    /// It was made for another engine, machine or version.
    Stale,
    /// Its content is not what was written.
    Digest,
    /// No key that is trusted has signed it.
    Signature,
}

/// What the file of a module's native code is called.
#[must_use]
pub fn file_name(digest: &[u8; 32], fingerprint: u64) -> String {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(64 + 1 + 16 + 6);
    for byte in digest {
        let _ = write!(name, "{byte:02x}");
    }
    let _ = write!(name, "-{fingerprint:016x}.cwasm");
    name
}

/// Wraps the compiler's output. Written as it is into a file.
#[cfg(feature = "compiler")]
pub(super) fn seal(code: &[u8], digest: &[u8; 32], fingerprint: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + code.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(digest);
    bytes.extend_from_slice(&fingerprint.to_le_bytes());
    bytes.extend_from_slice(&(code.len() as u64).to_le_bytes());
    let sum: [u8; 32] = Sha256::new()
        .chain_update(&bytes)
        .chain_update(code)
        .finalize()
        .into();
    bytes.extend_from_slice(&sum);
    bytes.extend_from_slice(code);
    bytes
}

// === impl Artifact ===

impl Artifact {
    /// Reads a file that this user alone can have written: it is his, and nobody else may
    /// write it. (Its directory is the caller's to look at.)
    ///
    /// # Errors
    /// When it is not such a file, or not whole, or not of this module and engine.
    pub fn from_own_file(
        mut file: File,
        digest: &[u8; 32],
        fingerprint: u64,
    ) -> Result<Self, ArtifactError> {
        let io = |error: std::io::Error| ArtifactError::Io(error.to_string());
        let about = file.metadata().map_err(io)?;
        if !about.is_file() {
            return Err(ArtifactError::NotAFile);
        }
        if about.uid() != rustix::process::geteuid().as_raw() {
            return Err(ArtifactError::Owner(about.uid()));
        }
        if about.mode() & 0o022 != 0 {
            return Err(ArtifactError::Mode(about.mode() & 0o7777));
        }
        if about.len() > MOST {
            return Err(ArtifactError::Format("it is too large"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
        // It may grow while it is read.
        file.by_ref()
            .take(MOST + 1)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        Self::checked(bytes, digest, fingerprint)
    }

    /// Takes the content of a file from anywhere under a signature of the whole of it.
    ///
    /// # Errors
    /// When none of `keys` has signed it, or it is not whole, or not of this module and
    /// engine.
    #[cfg(feature = "foreign")]
    pub fn signed(
        bytes: Vec<u8>,
        signature: &[u8],
        keys: &[PublicKey],
        digest: &[u8; 32],
        fingerprint: u64,
    ) -> Result<Self, ArtifactError> {
        use ring::signature::{ED25519, UnparsedPublicKey};
        let trusted = keys.iter().any(|key| {
            UnparsedPublicKey::new(&ED25519, key.0)
                .verify(&bytes, signature)
                .is_ok()
        });
        if !trusted {
            return Err(ArtifactError::Signature);
        }
        Self::checked(bytes, digest, fingerprint)
    }

    /// What this process's own compiler, or a child that runs this very program for it, has
    /// just made, as it came through memory nobody else can write.
    ///
    /// The caller vouches for that: it is not for bytes from a file or the network.
    ///
    /// # Errors
    /// When it is not whole, or not of this module and engine.
    #[cfg(feature = "compiler")]
    pub fn compiled(
        bytes: Vec<u8>,
        digest: &[u8; 32],
        fingerprint: u64,
    ) -> Result<Self, ArtifactError> {
        Self::checked(bytes, digest, fingerprint)
    }

    fn checked(bytes: Vec<u8>, digest: &[u8; 32], fingerprint: u64) -> Result<Self, ArtifactError> {
        let (header, code) = bytes
            .split_at_checked(HEADER)
            .ok_or(ArtifactError::Format("it is cut off"))?;
        let (fields, sum) = header.split_at(FIELDS);
        let (magic, fields) = fields.split_at(MAGIC.len());
        let (format, fields) = fields.split_at(4);
        let (module, fields) = fields.split_at(32);
        let (engine, length) = fields.split_at(8);
        if magic != MAGIC {
            return Err(ArtifactError::Format("it does not begin as one of ours"));
        }
        if format != FORMAT.to_le_bytes() {
            return Err(ArtifactError::Stale);
        }
        if length != (code.len() as u64).to_le_bytes() {
            return Err(ArtifactError::Format(
                "it is cut off, or longer than it says",
            ));
        }
        let found = Sha256::new()
            .chain_update(&header[..FIELDS])
            .chain_update(code)
            .finalize();
        if sum != &found[..] {
            return Err(ArtifactError::Digest);
        }
        if module != digest {
            return Err(ArtifactError::Module);
        }
        if engine != fingerprint.to_le_bytes() {
            return Err(ArtifactError::Stale);
        }
        Ok(Self { bytes })
    }

    /// The file's content, to be kept.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the code into `engine`.
    pub(super) fn module(&self, engine: &Engine) -> Result<Module, wasmtime::Error> {
        let code = &self.bytes[HEADER..];
        // SAFETY: the code must be what a compiler of ours made, unchanged. An `Artifact`
        // comes from `checked` alone, whose callers establish where the bytes are from (own
        // file: fstat of the opened file, read into memory of ours; signed; or compiled
        // here), and which has compared the digest of all of them. wasmtime itself refuses
        // code of another version, machine or configuration.
        unsafe { Module::deserialize(engine, code) }
    }
}

impl fmt::Debug for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Artifact({} bytes)", self.bytes.len())
    }
}

// === impl ArtifactError ===

impl fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "it cannot be read: {error}"),
            Self::NotAFile => f.write_str("it is not a regular file"),
            Self::Owner(owner) => write!(f, "user {owner} owns it, not the one this runs as"),
            Self::Mode(mode) => write!(f, "others may write it (mode {mode:o})"),
            Self::Format(problem) => f.write_str(problem),
            Self::Module => f.write_str("it was made of another module"),
            Self::Stale => f.write_str("it was made for another engine, machine or version"),
            Self::Digest => f.write_str("its content is not what was written"),
            Self::Signature => f.write_str("no key that is trusted has signed it"),
        }
    }
}

impl std::error::Error for ArtifactError {}
