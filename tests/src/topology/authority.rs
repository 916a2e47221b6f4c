//! A certificate authority with one certificate for servers and one for clients, in files as servers and clients read
//! them.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose as Purpose, IsCa, KeyPair,
};
use tempfile::TempDir;

/// The files, in a folder of their own: `ca.crt`, and `.crt` and `.key` of `server` and `client`.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// A new one: what others signed means nothing to it. Its servers are `localhost` and 127.0.0.1.
    pub fn new() -> Self {
        let authority = Self { folder: TempDir::with_prefix("tidings-authority-").expect("a folder") };
        let mut params = named("Tidings tests", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        authority.write("ca.crt", &issuer.pem());
        // A node is a client too, of its primary and of the other nodes' bus.
        let server = [Purpose::ServerAuth, Purpose::ClientAuth];
        for (name, purposes) in [("server", &server[..]), ("client", &server[1..])] {
            let mut params = named(name, &["localhost", "127.0.0.1"]);
            params.extended_key_usages = purposes.to_vec();
            let key = KeyPair::generate().expect("a key");
            let signed = params.signed_by(&key, &issuer).expect("a certificate");
            authority.write(&format!("{name}.crt"), &signed.pem());
            authority.write(&format!("{name}.key"), &key.serialize_pem());
        }
        authority
    }

    /// The file of its own certificate: whoever trusts it trusts the servers.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// The files of a client's certificate and key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.path("client.crt"), self.path("client.key"))
    }

    /// The files of the servers' certificate and key.
    pub(super) fn server(&self) -> (PathBuf, PathBuf) {
        (self.path("server.crt"), self.path("server.key"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
