//! TLS: both versions of HTTP over it, and a certificate that changes under open streams.

use tidings_tests::client::Options;
use tidings_tests::http::Transport;
use tidings_tests::record::What;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Certificate, Client, Gateway, eventually, http};
use tokio::io::AsyncReadExt;

use crate::{all_ready, memory};

const H2: &[&str] = &["h2", "http/1.1"];
const H1: &[&str] = &["http/1.1"];

#[tokio::test]
async fn events_arrive_over_every_version() {
    let certificate = Certificate::new();
    let (gateway, oracle, source) = memory(|setup| certificate.set(setup)).await;
    let open = |name: &str, versions: &[&str]| {
        Options::new(name, &[gateway.public()], &["a", "b"]).over(&certificate.trust(versions)).open()
    };
    let clients: Vec<Client> = (0..5)
        .flat_map(|n| [open(&format!("h2 {n}"), H2), open(&format!("h1 {n}"), H1), open(&format!("none {n}"), &[])])
        .collect();
    all_ready(&clients).await;
    source.publish_many(&["a"], 20).await;
    clients.iter().for_each(Client::drop_connection);
    source.publish_many(&["b"], 20).await;
    source.publish_sized(&["a"], 60_000).await;
    oracle.settle(clients.iter().map(Client::record), PATIENCE).await.assert_all_delivered();
}

#[tokio::test]
async fn a_renewed_certificate_is_for_new_connections_and_old_streams_live() {
    let mut certificate = Certificate::new();
    let (gateway, _, source) = memory(|setup| certificate.set(setup)).await;
    let metrics = gateway.metrics().await;
    assert!(metrics.sum("tidings_tls_not_after_seconds", &[]) > 1.8e9);
    // Another one: whoever was connected resumes, and is shown no certificate at all.
    let (before, stranger) = (certificate.trust(H2), certificate.trust(H2));
    let client = Options::new("old", &[gateway.public()], &["a"]).over(&before).open();
    client.ready().await;
    certificate.renew();
    let after = certificate.trust(H2);
    let at = gateway.public();
    let reaches = async |transport: &Transport| transport.get(at, None, "/v1/poll?topic=a", &[]).await.is_ok();
    eventually("the new certificate is served", PATIENCE, async || reaches(&after).await).await;
    assert!(!reaches(&stranger).await, "the old one is not");
    let n = source.publish(&["a"]).await;
    client.got(n).await;
    assert_eq!(client.record().count(|what| matches!(what, What::Lost { .. })), 0, "{}", client.record());
    assert_eq!(gateway.metrics().await.sum("tidings_tls_reload_failures_total", &[]), 0.0);
}

#[tokio::test]
async fn a_broken_certificate_is_told_once_and_the_one_before_stays() {
    let mut certificate = Certificate::new();
    let (gateway, _, _) = memory(|setup| certificate.set(setup)).await;
    let before = certificate.trust(H1);
    let at = gateway.public();
    let reaches = async |transport: &Transport| transport.get(at, None, "/v1/poll?topic=a", &[]).await.is_ok();
    certificate.break_key();
    let failures = async || gateway.metrics().await.sum("tidings_tls_reload_failures_total", &[]);
    eventually("the failure is counted", PATIENCE, async || failures().await == 1.0).await;
    assert!(reaches(&before).await);
    certificate.renew();
    let after = certificate.trust(H1);
    eventually("the next certificate is served", PATIENCE, async || reaches(&after).await).await;
    assert_eq!(failures().await, 1.0);
    let told: Vec<String> = gateway.log().into_iter().filter(|line| line.contains("tls.key: ")).collect();
    assert!(told.len() == 1 && told[0].contains("stays in force") && told[0].contains("ERROR"), "{told:?}");
}

/// Whether the log has such a line from a look that a SIGHUP asked for.
fn logged_by_hangup(gateway: &Gateway, text: &str) -> bool {
    gateway.log().iter().any(|line| line.contains(text) && line.contains(r#""cause":"Request""#))
}

#[tokio::test]
async fn a_hangup_reads_the_certificate_at_once() {
    let mut certificate = Certificate::new();
    let (gateway, _, _) = memory(|setup| certificate.set(setup)).await;
    // Now and then the look that comes every two seconds is the first to see it: then another one is renewed.
    eventually("a SIGHUP takes a certificate into force", PATIENCE, async || {
        certificate.renew();
        gateway.hang_up();
        let before = gateway.log().len();
        let answered = || gateway.log().iter().skip(before.saturating_sub(1)).any(|line| line.contains(r#""Request""#));
        eventually("it answers the signal", PATIENCE, async || answered()).await;
        logged_by_hangup(&gateway, "renewed certificate is in force")
    })
    .await;
    let (before, at) = (certificate.trust(H1), gateway.public());
    let reaches = async |transport: &Transport| transport.get(at, None, "/v1/poll?topic=a", &[]).await.is_ok();
    assert!(reaches(&before).await, "the new certificate is served");
    certificate.break_key();
    gateway.hang_up();
    eventually("it says what is wrong", PATIENCE, async || logged_by_hangup(&gateway, "stays in force")).await;
    assert!(reaches(&before).await && gateway.is_up(), "the one before stays");
}

#[tokio::test]
async fn plain_http_is_told_what_is_spoken_here() {
    let certificate = Certificate::new();
    let (gateway, _, _) = memory(|setup| certificate.set(setup)).await;
    let mut response = Transport::Lean.get(gateway.public(), None, "/v1/events?topic=a", &[]).await.unwrap();
    let (body, _) = response.body.all().await.unwrap();
    assert_eq!((response.status, body.as_slice()), (400, &b"this port speaks HTTPS: ask again with https://\n"[..]));
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_given_up() {
    let certificate = Certificate::new();
    let (gateway, _, _) = memory(|setup| certificate.set(setup)).await;
    let mut silent = http::connect(gateway.public(), None).await.unwrap();
    let read = tokio::time::timeout(PATIENCE, silent.read(&mut [0; 16])).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
}
