//! What must hold between settings, each of which is right by itself.

use std::net::SocketAddr;
use std::path::Path;

use super::apply::Origins;
use super::settings::Setting;
use super::{Config, Errors, Fault, Mistake, Origin, StoreUrl};
use crate::tls::Culprit;

/// Adds what does not go together to `errors`. A rule about a value that is wrong already says nothing.
pub(super) fn check(config: &Config, origins: &Origins, errors: &mut Errors) {
    let (server, admin) = (config.server.listen, config.admin.listen);
    let probe = config.probe.listen;
    let open = !config.auth.insecure;
    let memory = config.store.url == StoreUrl::Memory;

    let (cert, key) = (given(&config.tls.cert), given(&config.tls.key));

    let rules: [(&[&'static str], bool, &str); 8] = [
        (
            &["auth.insecure", "store.url"],
            open && !memory,
            "tokens come with a later version; until then everyone who reaches the public listener of a gateway on Redis \
             may follow everything: accept that with auth.insecure = true",
        ),
        (
            &["server.listen", "store.url", "auth.insecure"],
            open && memory && !server.ip().is_loopback(),
            "without tokens, which come with a later version, the public listener stays on loopback: use 127.0.0.1, or \
             let everyone who reaches it follow everything with auth.insecure = true",
        ),
        (
            &["admin.listen", "server.listen"],
            is_same_port(server, admin),
            "this is where server.listen listens: the admin API needs an address of its own",
        ),
        (
            &["admin.listen", "auth.insecure"],
            open && !admin.ip().is_loopback(),
            "everyone who reaches the admin listener may publish, and it asks nobody for a key: leave it on loopback and set \
             probe.listen for probes and metrics, or accept it with auth.insecure = true",
        ),
        (
            &["probe.listen", "server.listen", "admin.listen"],
            probe.is_some_and(|probe| is_same_port(probe, server) || is_same_port(probe, admin)),
            "this is where server.listen or admin.listen listens: probes need an address of their own",
        ),
        (&["tls.cert", "tls.key"], cert && !key, "a certificate is nothing without its key: set tls.key as well"),
        (&["store.url"], memory && !config.without.is_nothing(), "what tests switch off is of a store in Redis"),
        (&["tls.key", "tls.cert"], key && !cert, "a key is nothing without its certificate: set tls.cert as well"),
    ];
    for (keys, broken, why) in rules {
        if !broken || keys.iter().any(|key| errors.doubt(key)) {
            continue;
        }
        let fault = Fault::Conflict(why.to_owned());
        errors.push(mistake(keys[0], fault, config, origins));
    }
}

/// Adds what is wrong with the files of the certificate and its key.
pub(super) fn check_pair(config: &Config, origins: &Origins, errors: &mut Errors) {
    if ["tls.cert", "tls.key"].iter().any(|key| errors.doubt(key)) {
        return;
    }
    let Some(Err(wrong)) = config.tls.paths().map(|paths| paths.check()) else { return };
    let subject = if wrong.culprit() == Culprit::Key { "tls.key" } else { "tls.cert" };
    errors.push(mistake(subject, Fault::Pair(wrong), config, origins));
}

/// Adds what is wrong with the files of TLS to the store.
pub(super) fn check_store_tls(config: &Config, origins: &Origins, errors: &mut Errors) {
    let keys = ["store.tls.ca", "store.tls.cert", "store.tls.key", "store.url"];
    if keys.iter().any(|key| errors.doubt(key)) {
        return;
    }
    let tls = matches!(&config.store.url, StoreUrl::Redis(url) if url.tls);
    let files = config.store.tls.files();
    if let Err(wrong) = files.check(tls) {
        let culprit = wrong.path().and_then(|path| {
            let files = [&config.store.tls.ca, &config.store.tls.cert, &config.store.tls.key];
            files.iter().position(|file| file.as_path() == path)
        });
        let given = || [&files.ca, &files.cert, &files.key].iter().position(|file| file.is_some());
        let subject = culprit.or_else(given).map_or(keys[0], |at| keys[at]);
        errors.push(mistake(subject, Fault::Conflict(wrong.to_string()), config, origins));
    }
}

/// Whether two listeners would be on one port of one address.
fn is_same_port(one: SocketAddr, other: SocketAddr) -> bool {
    let all = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (all || one.ip() == other.ip())
}

fn mistake(subject: &'static str, fault: Fault, config: &Config, origins: &Origins) -> Mistake {
    Mistake {
        subject: subject.to_owned(),
        origin: Some(origins.get(subject).cloned().unwrap_or(Origin::Default)),
        value: Setting::of(subject).map(|setting| setting.text(config)),
        fault,
    }
}

fn given(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}
