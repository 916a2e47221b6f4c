//! The files of TLS to the store: whom we trust, and who we are.

use std::io;
use std::path::{Path, PathBuf};

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Files in PEM form for the connections of a `rediss` URL; each may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that are trusted, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate, for servers that ask for one, with those that lead to its root.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// What is wrong with the files. Says nothing of what is in them.
#[derive(Debug, thiserror::Error)]
pub enum WrongTls {
    /// They are given for a URL without TLS.
    #[error("files for TLS go with a URL that begins with rediss")]
    NotTls,
    /// One of the two is missing.
    #[error("the client certificate and its key go together: one of them is missing")]
    Half,
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM form", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
        /// What should be there.
        what: &'static str,
    },
}

impl TlsFiles {
    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether they could be used now, for a URL with TLS or without.
    pub fn check(&self, tls: bool) -> Result<(), WrongTls> {
        if !tls && !self.is_empty() {
            return Err(WrongTls::NotTls);
        }
        self.read().map(drop)
    }

    /// Reads the files as they are now, so that a renewed certificate is taken with the next connection. They are small
    /// and local, and connections rare, so this may block.
    pub(super) fn read(&self) -> Result<TlsCertificates, WrongTls> {
        let root_cert = self.ca.as_deref().map(certificates).transpose()?;
        let client_tls = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                Some(ClientTlsConfig { client_cert: certificates(cert)?, client_key: private_key(key)? })
            }
            (None, None) => None,
            _ => return Err(WrongTls::Half),
        };
        Ok(TlsCertificates { client_tls, root_cert })
    }
}

impl WrongTls {
    /// The file that is to blame, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::NotTls | Self::Half => None,
            Self::Unreadable { path, .. } | Self::Nothing { path, .. } => Some(path),
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<u8>, WrongTls> {
    let text = read(path)?;
    let mut all = CertificateDer::pem_slice_iter(&text).peekable();
    let sound = all.peek().is_some() && all.all(|certificate| certificate.is_ok());
    sound.then_some(text).ok_or_else(|| WrongTls::Nothing { path: path.to_owned(), what: "certificate" })
}

fn private_key(path: &Path) -> Result<Vec<u8>, WrongTls> {
    let text = read(path)?;
    let sound = PrivateKeyDer::from_pem_slice(&text).is_ok();
    sound.then_some(text).ok_or_else(|| WrongTls::Nothing { path: path.to_owned(), what: "private key" })
}

fn read(path: &Path) -> Result<Vec<u8>, WrongTls> {
    std::fs::read(path).map_err(|source| WrongTls::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let wrong = |files: TlsFiles| files.read().unwrap_err().to_string();
        let missing = Some(folder.path().join("missing.pem"));
        assert!(wrong(TlsFiles { ca: missing, ..Default::default() }).contains("missing.pem cannot be read"));
        let empty = file("empty.pem", "hunter2");
        let told = wrong(TlsFiles { ca: empty.clone(), ..Default::default() });
        assert!(told.contains("empty.pem holds no certificate") && !told.contains("hunter2"), "{told}");
        assert!(wrong(TlsFiles { cert: empty.clone(), ..Default::default() }).contains("one of them is missing"));
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let cert = file("cert.pem", &made.cert.pem());
        assert!(
            wrong(TlsFiles { cert: cert.clone(), key: empty, ca: None }).contains("empty.pem holds no private key")
        );
        let key = file("key.pem", &made.signing_key.serialize_pem());
        let read = TlsFiles { ca: cert.clone(), cert, key }.read().unwrap();
        assert!(read.root_cert.is_some() && read.client_tls.is_some());
    }
}
