//! A certificate and its key, read from two PEM files and checked to belong together.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// Where the two files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The certificate, followed by those that lead to its root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What the two files hold. Its `Debug` is none: one of them is secret.
#[derive(PartialEq, Eq)]
pub(super) struct Texts {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// A pair that can be served.
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// When the certificate ends, since 1970.
    pub(super) not_after: Duration,
}

/// Which of the two files is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Culprit {
    /// The certificate.
    Cert,
    /// The key.
    Key,
    /// Neither: a mistake of ours.
    Neither,
}

/// What is wrong with a pair. Its text says nothing of the key but what it is not.
#[derive(Debug)]
pub struct WrongPair {
    culprit: Culprit,
    fault: Fault,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the file cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    #[error("the file holds no {0} in PEM form")]
    Nothing(&'static str),
    #[error("the file is not PEM: {0}")]
    Pem(#[source] pem::Error),
    #[error("the certificate cannot be read: {0}")]
    Certificate(#[source] x509_cert::der::Error),
    #[error("the key cannot be used: {0}")]
    Key(#[source] Error),
    #[error("the key is not that of the certificate")]
    Mismatch,
    #[error("TLS cannot begin: {0}")]
    Internal(#[source] Error),
}

impl Paths {
    /// Reads both files as they are now.
    pub(super) fn read(&self) -> Result<Texts, WrongPair> {
        let read = |path, culprit| std::fs::read(path).map_err(|error| wrong(culprit, Fault::Unreadable(error)));
        Ok(Texts { cert: read(&self.cert, Culprit::Cert)?, key: read(&self.key, Culprit::Key)? })
    }

    /// Whether the two files can be served as they are now.
    pub fn check(&self) -> Result<(), WrongPair> {
        load(&self.read()?).map(drop)
    }
}

/// Makes a pair of what the files hold.
pub(super) fn load(texts: &Texts) -> Result<Pair, WrongPair> {
    let pem = |culprit, what| move |error| wrong(culprit, Fault::of_pem(error, what));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&texts.cert).collect();
    let chain = chain.map_err(pem(Culprit::Cert, "certificate"))?;
    let first = chain.first().ok_or_else(|| wrong(Culprit::Cert, Fault::Nothing("certificate")))?;
    let certificate = Certificate::from_der(first).map_err(|error| wrong(Culprit::Cert, Fault::Certificate(error)))?;
    let not_after = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    let key = PrivateKeyDer::from_pem_slice(&texts.key).map_err(pem(Culprit::Key, "private key"))?;
    let certified = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => wrong(Culprit::Key, Fault::Mismatch),
        error => wrong(Culprit::Key, Fault::Key(error)),
    })?;
    Ok(Pair { certified: Arc::new(certified), not_after })
}

fn wrong(culprit: Culprit, fault: Fault) -> WrongPair {
    WrongPair { culprit, fault }
}

impl Fault {
    fn of_pem(error: pem::Error, what: &'static str) -> Self {
        match error {
            pem::Error::NoItemsFound => Self::Nothing(what),
            error => Self::Pem(error),
        }
    }
}

impl WrongPair {
    /// Which file is to blame.
    pub fn culprit(&self) -> Culprit {
        self.culprit
    }

    /// What is wrong with it, without its name.
    pub fn reason(&self) -> String {
        self.fault.to_string()
    }

    pub(super) fn internal(error: Error) -> Self {
        wrong(Culprit::Neither, Fault::Internal(error))
    }
}

impl fmt::Display for WrongPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.culprit {
            Culprit::Cert => write!(f, "tls.cert: {}", self.fault),
            Culprit::Key => write!(f, "tls.key: {}", self.fault),
            Culprit::Neither => self.fault.fmt(f),
        }
    }
}

impl std::error::Error for WrongPair {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.fault)
    }
}
