//! Last words through reverse proxies, of which some lose what comes in the same instant as the cut.

use tidings_tests::client::Options;
use tidings_tests::front::ReverseProxy;
use tidings_tests::http::{Part, Response, Transport};
use tidings_tests::wait::PATIENCE;
use tokio::time::timeout;

use crate::memory;

/// Proxies that were seen to lose last words.
const FORGETFUL: [ReverseProxy; 2] = [ReverseProxy::Varnish, ReverseProxy::Nghttpx];
/// Clients of one test.
const CROWD: usize = 20;
const TARGET: &str = "/v1/events?topic=a";

/// All that is left of a body, however it ends.
async fn rest(response: &mut Response) -> String {
    let mut read = Vec::new();
    while let Ok(Part::Bytes(bytes)) = timeout(PATIENCE, response.body.next()).await.expect("an end") {
        read.extend_from_slice(&bytes);
    }
    String::from_utf8_lossy(&read).into_owned()
}

fn goodbye(reason: &str) -> String {
    format!("\nevent: tidings.goodbye\ndata: {{\"reason\":\"{reason}\"}}\n\n")
}

#[tokio::test]
async fn a_refusal_comes_through_every_proxy() {
    let (gateway, _, _) = memory(|setup| setup.with("limits.connections", "1")).await;
    let inside = Options::new("inside", &[gateway.public()], &["a"]).open();
    inside.ready().await;
    for proxy in FORGETFUL {
        let front = proxy.start(gateway.public()).await;
        for _ in 0..CROWD {
            let mut response = Transport::Lean.get(front.addr(), None, TARGET, &[]).await.unwrap();
            let text = rest(&mut response).await;
            assert_eq!(response.status, 200, "{proxy:?}: {text}");
            assert!(text.starts_with("retry: ") && text.ends_with(&goodbye("overload")), "{proxy:?}: {text:?}");
        }
    }
}

#[tokio::test]
async fn a_goodbye_comes_through_every_proxy() {
    for proxy in FORGETFUL {
        let (gateway, _, _) = memory(|setup| setup).await;
        let front = proxy.start(gateway.public()).await;
        let mut streams = Vec::new();
        for _ in 0..CROWD {
            let mut response = Transport::Lean.get(front.addr(), None, TARGET, &[]).await.unwrap();
            response.until("tidings.ready").await;
            streams.push(response);
        }
        gateway.terminate();
        for response in &mut streams {
            let text = rest(response).await;
            assert!(text.ends_with(&goodbye("drain")), "{proxy:?}: {text:?}");
        }
    }
}
