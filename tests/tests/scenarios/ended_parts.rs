//! A part of the gateway that ends unexpectedly ends the process, with an error that names it.

use tidings_tests::{Client, Setup, Standalone};

/// Starts a gateway without a part, has a page connect, and waits until the process has ended with
/// an error whose last line says `why`.
async fn assert_ends_without(part: &str, why: &str) {
    let redis = Standalone::volatile().await;
    // One worker, so that the page comes to the one that loses its hub.
    let setup = Setup::redis(&redis.url()).with("server.workers", "1").without(&[part]);
    let gateway = setup.start().await;
    let _page = Client::open("page", &[gateway.public()], &["a"]);
    let status = gateway.exit().await;
    assert_eq!(status.code(), Some(1), "{status}");
    gateway.logged(&format!("tidings-gateway: {why}")).await;
}

#[tokio::test]
async fn a_reader_that_panics_ends_the_process() {
    assert_ends_without("reader", "the reader ended unexpectedly").await;
}

#[tokio::test]
async fn a_hub_that_panics_ends_the_process() {
    assert_ends_without("hub", "a worker's hub ended unexpectedly").await;
}

#[tokio::test]
async fn a_listener_that_ends_ends_the_process() {
    assert_ends_without("listener", "the server of server.listen ended unexpectedly").await;
}
