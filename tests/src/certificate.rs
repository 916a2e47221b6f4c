//! A certificate for `localhost` in files, as a gateway reads it.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::Setup;
use crate::http::{self, Transport};

/// A certificate and its key in a folder of their own.
#[derive(Debug)]
pub struct Certificate {
    folder: TempDir,
    certificate: CertificateDer<'static>,
}

impl Certificate {
    /// One that is in order.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut new = Self { folder, certificate: CertificateDer::from_slice(&[]) };
        new.renew();
        new
    }

    /// Puts another pair into the files. What trusted the one before does not trust it.
    pub fn renew(&mut self) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
        self.write("tls.crt", &cert.pem());
        self.write("tls.key", &signing_key.serialize_pem());
        self.certificate = cert.der().clone();
    }

    /// Cuts the file of the key.
    pub fn break_key(&self) {
        self.write("tls.key", "-----BEGIN PRIVATE KEY-----\nMIGH");
    }

    /// Serves it.
    pub fn set(&self, setup: Setup) -> Setup {
        setup.with("tls.cert", &self.path("tls.crt")).with("tls.key", &self.path("tls.key"))
    }

    /// What it says, for clients in other processes.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A client that trusts it alone, and offers these versions of HTTP.
    pub fn trust(&self, versions: &[&str]) -> Transport {
        http::trust(&self.certificate, versions)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}
