//! The files of TLS to the store: whom we trust, and who we are.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::{Semaphore, oneshot};

use crate::{Error, ErrorKind};

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

    /// Reads the files as they are now. Blocks for as long as their file system takes.
    fn read(&self) -> Result<TlsCertificates, WrongTls> {
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

/// Reads the files again for each connection, so that the next one takes a renewed certificate. A clone shares the turn.
///
/// A file system that hangs must not take the caller's thread along: a gateway's reader would stop. The thread that
/// reads is no task of the runtime, which would wait for it when it ends.
#[derive(Debug, Clone)]
pub(super) struct TlsReader {
    files: TlsFiles,
    /// One read at a time: those that never end cost one thread.
    turn: Arc<Semaphore>,
}

impl TlsReader {
    pub(super) fn new(files: TlsFiles) -> Self {
        Self { files, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Reads the files as they are now. May never end: the caller has a time-out.
    pub(super) async fn read(&self) -> Result<TlsCertificates, Error> {
        let failed = |what: String| {
            let sentence = format!("cannot read the files of TLS: {what}; retry later");
            Error::told(ErrorKind::Unavailable, sentence)
        };
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let turn = turn.map_err(|error| failed(error.to_string()))?;
        let (files, (sender, receiver)) = (self.files.clone(), oneshot::channel());
        let read = move || {
            let certificates = files.read();
            drop(turn);
            let _caller_gave_up = sender.send(certificates);
        };
        let thread = std::thread::Builder::new().name("tls-files".to_owned());
        thread.spawn(read).map_err(|error| failed(error.to_string()))?;
        let certificates = receiver.await.map_err(|error| failed(error.to_string()))?;
        certificates.map_err(|error| Error::new(ErrorKind::InvalidTls, error))
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
    use std::process::Command;
    use std::time::Duration;

    use tokio::time::timeout;

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

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_for_long_holds_up_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        // To open a pipe waits for somebody who writes, as a mount that hangs waits for its server.
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let reader = TlsReader::new(TlsFiles { ca: Some(path.clone()), ..Default::default() });
        for _ in 0..3 {
            // On the only thread of this runtime: it would not come to the time-out.
            assert!(timeout(Duration::from_millis(50), reader.read()).await.is_err());
        }
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let (pem, pipe) = (made.cert.pem(), path.clone());
        // There is one who reads, from the first time. Later ones read a file.
        let write =
            move || std::fs::write(&pipe, &pem).and_then(|()| std::fs::remove_file(&pipe)).map(|()| (pem, pipe));
        let (pem, path) = tokio::task::spawn_blocking(write).await.unwrap().unwrap();
        std::fs::write(path, pem).unwrap();
        let read = timeout(Duration::from_secs(60), reader.read()).await.expect("its turn comes");
        assert!(read.unwrap().root_cert.is_some());
    }
}
