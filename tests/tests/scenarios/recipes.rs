//! The README's recipes for proxies, tried as they stand there.

use std::time::Duration;

use tidings_tests::client::Options;
use tidings_tests::front::ReverseProxy;
use tidings_tests::record::What;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, eventually};

use crate::Stage;

const README: &str = include_str!("../../../README.md");
/// The pages of one test.
const PAGES: usize = 20;

/// The first code block of this language.
pub(crate) fn block(language: &str) -> String {
    let begin = format!("\n```{language}\n");
    let (_, rest) = README.split_once(&begin).unwrap_or_else(|| panic!("the README has no block of {language}"));
    format!("{}\n", rest.split_once("\n```").expect("an end").0)
}

/// A recipe with the addresses of this test in place of its own.
pub(crate) fn adapted(text: &str, gateways: &[Gateway]) -> String {
    let [one, two] = gateways else { panic!("two gateways") };
    text.replace("127.0.0.1:8080", &one.public().to_string())
        .replace("127.0.0.1:8081", &two.public().to_string())
        .replace("port 9090", &format!("port {}", one.admin().port()))
        .replace("port 9091", &format!("port {}", two.admin().port()))
        .replace("listen 8000", "listen {listen}")
        .replace("bind 127.0.0.1:8000", "bind {listen}")
        .replace("/path/to", "{folder}")
}

/// Pages behind a proxy outlive one gateway, then both, and miss nothing.
async fn assert_no_page_dies(proxy: impl Fn(&[Gateway]) -> ReverseProxy) {
    let Stage { gateways, source, .. } =
        &Stage::with(2, |setup| setup.with("server.trusted_proxies", "127.0.0.1").with("drain.window", "100ms")).await;
    let front = proxy(gateways).start(gateways[0].public()).await;
    let ready = async || reqwest::get(format!("http://{}/v1/poll?topic=a", front.addr())).await.unwrap().status();
    eventually("the proxy has a gateway", PATIENCE, async || ready().await == 200).await;
    let open = |n| {
        let options = Options::new(&format!("page {n}"), &[front.addr()], &["a"]);
        options.over(&tidings_tests::http::Transport::Lean).retry_at_most(Duration::from_millis(200)).open()
    };
    let pages: Vec<Client> = (0..PAGES).map(open).collect();
    crate::all_ready(&pages).await;
    let mut published = Vec::new();
    published.push(source.publish(&["a"]).await);

    // One is replaced, then one is lost, then both.
    gateways[0].terminate();
    gateways[0].exit().await;
    published.push(source.publish(&["a"]).await);
    gateways[0].start().await;
    gateways[0].ready().await;
    gateways[1].kill();
    published.push(source.publish(&["a"]).await);
    gateways[0].kill();
    let later =
        |page: &Client| page.record().count(|what| matches!(what, What::Goodbye { reason } if reason == "store"));
    eventually("every page is told to come back", PATIENCE, async || pages.iter().all(|page| later(page) > 0)).await;
    published.push(source.publish(&["a"]).await);
    for gateway in gateways {
        gateway.start().await;
        gateway.ready().await;
    }
    // The proxy's own answers are not those of a gateway, so the oracle, which is strict about them, does not judge here.
    for page in &pages {
        for n in &published {
            page.got(*n).await;
        }
        assert_eq!(page.record().count(|what| matches!(what, What::Dead { .. })), 0, "{}", page.record());
    }
}

#[tokio::test]
async fn nginx_as_the_readme_has_it() {
    assert_no_page_dies(|gateways| ReverseProxy::Nginx(adapted(&block("nginx"), gateways))).await;
}

#[tokio::test]
async fn haproxy_as_the_readme_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("later.http");
    std::fs::write(&file, block("http")).unwrap();
    assert_no_page_dies(|gateways| {
        let text = adapted(&block("haproxy"), gateways).replace("{folder}/later.http", &file.display().to_string());
        ReverseProxy::Haproxy(text)
    })
    .await;
}
