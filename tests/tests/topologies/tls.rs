//! TLS: each topology speaks nothing else, and asks for what it was told to ask for.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Authority, Cluster, Layout, Sentinel, Server, Standalone};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::on_each_server;

on_each_server!(a_standalone_server_asks_for_a_certificate, sentinels_speak_tls, a_cluster_speaks_tls);

async fn a_standalone_server_asks_for_a_certificate(server: Server) {
    let (authority, other) = (Arc::new(Authority::new()), Authority::new());
    let redis = Standalone::start(Layout::of(server).mutual_tls(&authority)).await;
    assert!(redis.url().starts_with("rediss://"), "{}", redis.url());
    assert_eq!(ping(redis.addr(), &authority, true).await.as_deref(), Some("+PONG"));
    assert_eq!(ping(redis.addr(), &authority, false).await, None, "it wants to see a certificate");
    assert_eq!(ping(redis.addr(), &other, true).await, None, "signed by another");
    assert!(!plain(redis.addr()).await, "it speaks TLS alone");
}

async fn sentinels_speak_tls(server: Server) {
    let authority = Arc::new(Authority::new());
    let topology = Sentinel::start(Layout::of(server).tls(&authority).password("secret")).await;
    for node in topology.nodes().iter().chain(topology.sentinels()) {
        assert!(ping(node.addr(), &authority, false).await.is_some(), "{}", node.addr());
        assert!(!plain(node.addr()).await);
    }
    let old = topology.primary().await.addr();
    assert_ne!(topology.crash_failover().await.addr(), old);
}

async fn a_cluster_speaks_tls(server: Server) {
    let authority = Arc::new(Authority::new());
    let cluster = Cluster::start(Layout::of(server).tls(&authority).proxied()).await;
    for node in cluster.nodes() {
        assert_eq!(ping(node.addr(), &authority, false).await.as_deref(), Some("+PONG"));
        assert!(!plain(node.addr()).await);
    }
    cluster.primary_of(0).await.ask::<()>("SET", &["{06S}", "1"]).await.unwrap();
    let to = cluster.primary_of(16_383).await;
    cluster.migrate(0, to).await;
    assert_eq!(to.ask("GET", &["{06S}"]).await, Ok("1".to_owned()), "it moved over TLS");
    cluster.crash_failover(0).await;
}

/// What the server answers to a ping over TLS; `None` if it does not speak with such a client.
async fn ping(addr: SocketAddr, authority: &Authority, certified: bool) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.ca()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    let config = if certified {
        let (certificate, key) = authority.client();
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
    } else {
        config.with_no_client_auth()
    };
    let socket = TcpStream::connect(addr).await.unwrap();
    let mut stream =
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), socket).await.ok()?;
    // In TLS 1.3 a client hears only now that its certificate was missed.
    answer(&mut stream).await
}

/// Whether the server answers to a ping without TLS.
async fn plain(addr: SocketAddr) -> bool {
    answer(&mut TcpStream::connect(addr).await.unwrap()).await.is_some_and(|answer| answer.starts_with(['+', '-']))
}

async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Option<String> {
    stream.write_all(b"PING\r\n").await.ok()?;
    let mut buffer = [0; 100];
    let length = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an answer or an end").ok()?;
    (length > 0).then(|| String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned())
}
