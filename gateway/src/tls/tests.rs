use std::path::Path;

use rcgen::{CertifiedKey as Generated, generate_simple_self_signed};
use tempfile::TempDir;

use super::pair::{Culprit, Paths, Texts, WrongPair, load};
use super::watch::{LookCause, News, Watch};

/// A folder with a pair in it, each file to be overwritten.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.renew();
        folder
    }

    fn paths(&self) -> Paths {
        Paths { cert: self.0.path().join("tls.crt"), key: self.0.path().join("tls.key") }
    }

    fn renew(&self) {
        let Generated { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        self.write("tls.crt", &cert.pem());
        self.write("tls.key", &signing_key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn path(&self, name: &str) -> impl AsRef<Path> {
        self.0.path().join(name)
    }

    fn look(&self) -> Result<Texts, WrongPair> {
        self.paths().read()
    }

    /// What is wrong with the pair.
    fn fault(&self) -> (Culprit, String) {
        let error = self.paths().check().unwrap_err();
        (error.culprit(), error.reason())
    }
}

#[test]
fn a_pair_is_read_with_its_end() {
    let folder = Folder::new();
    let pair = load(&folder.look().unwrap()).unwrap_or_else(|error| panic!("{error}"));
    // The default of rcgen: the beginning of the year 4096.
    assert_eq!(pair.not_after.as_secs(), 67_090_118_400);
    assert_eq!(pair.certified.cert.len(), 1);
}

#[test]
fn each_fault_is_told_of_the_file_that_has_it() {
    let folder = Folder::new();
    let (cert, key) = (folder.read("tls.crt"), folder.read("tls.key"));
    let broken = cert.replacen("MII", "!!!", 1);
    for (file, text, culprit, reason) in [
        ("tls.crt", "", Culprit::Cert, "the file holds no certificate in PEM form"),
        ("tls.crt", &key, Culprit::Cert, "the file holds no certificate in PEM form"),
        ("tls.crt", &broken, Culprit::Cert, "the file is not PEM: "),
        (
            "tls.crt",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            Culprit::Cert,
            "the certificate cannot be read: ",
        ),
        ("tls.key", "nonsense", Culprit::Key, "the file holds no private key in PEM form"),
        (
            "tls.key",
            "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
            Culprit::Key,
            "the key cannot be used: ",
        ),
        ("tls.key", &Folder::new().read("tls.key"), Culprit::Key, "the key is not that of the certificate"),
    ] {
        folder.write("tls.crt", &cert);
        folder.write("tls.key", &key);
        folder.write(file, text);
        let (blamed, told) = folder.fault();
        assert!(blamed == culprit && told.starts_with(reason), "{blamed:?}: {told}, not {culprit:?}: {reason}");
    }
    std::fs::remove_file(folder.path("tls.key")).unwrap();
    let (blamed, told) = folder.fault();
    assert!(blamed == Culprit::Key && told.starts_with("the file cannot be read: "), "{blamed:?}: {told}");
}

fn word(news: News) -> &'static str {
    match news {
        News::None => "none",
        News::Renewed(_) => "renewed",
        News::Broken(_) => "broken",
    }
}

#[test]
fn a_pair_that_is_asked_for_is_told_at_once() {
    let folder = Folder::new();
    let mut watch = Watch::new(folder.look().unwrap());
    let mut look = |cause| word(watch.look(folder.look(), cause));
    let (at_once, later) = (LookCause::Request, LookCause::Interval);
    folder.renew();
    assert_eq!([look(at_once), look(later)], ["renewed", "none"]);
    folder.write("tls.key", "half a k");
    assert_eq!([look(at_once), look(later), look(later)], ["broken", "none", "none"]);
    assert_eq!([look(at_once), look(later)], ["broken", "none"]);
    folder.renew();
    assert_eq!(look(later), "renewed");
}

#[test]
fn a_renewed_pair_is_taken_and_a_broken_one_told_once() {
    let folder = Folder::new();
    let mut watch = Watch::new(folder.look().unwrap());
    let mut look = || word(watch.look(folder.look(), LookCause::Interval));
    assert_eq!(look(), "none");
    folder.renew();
    assert_eq!([look(), look()], ["renewed", "none"]);
    let key = folder.read("tls.key");
    folder.write("tls.key", "half a k");
    assert_eq!([look(), look(), look()], ["none", "broken", "none"], "one look may come while it is written");
    folder.write("tls.key", &key);
    assert_eq!(look(), "none", "as it was before");
    folder.write("tls.key", "half a k");
    assert_eq!([look(), look()], ["none", "broken"]);
    folder.renew();
    assert_eq!(look(), "renewed");
}
