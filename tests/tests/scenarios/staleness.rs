//! A gateway that does not reach Redis: for how long its streams stay, and where its pages go.

use std::time::{Duration, Instant};

use tidings_tests::client::Options;
use tidings_tests::front::{Front, ReverseProxy};
use tidings_tests::http::{Part, Transport};
use tidings_tests::oracle::Verdict;
use tidings_tests::proxy::Cut;
use tidings_tests::record::{Record, What};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, Oracle, Proxy, Setup, Source, Standalone, eventually};

use crate::recipes::{adapted, block};

/// Behind the number of its `retry:`, what a refusal says in the same block.
const STORE: &str = "\nevent: tidings.goodbye\ndata: {\"reason\":\"store\"}\n\n";
/// The pages behind a balancer.
const PAGES: usize = 200;

/// Gateways, each of which reaches Redis by a link of its own. The publisher reaches it by none.
struct Linked {
    redis: Standalone,
    links: Vec<Proxy>,
    gateways: Vec<Gateway>,
    source: Source,
}

impl Linked {
    async fn start(count: usize, set: impl Fn(Setup) -> Setup) -> Self {
        let redis = Standalone::durable().await;
        let (mut links, mut gateways) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let link = Proxy::start(redis.addr()).await;
            gateways.push(set(Setup::redis(&format!("redis://{}", link.addr()))).start().await);
            links.push(link);
        }
        let source = Source::connect(&redis.url(), &Oracle::new()).await;
        Self { redis, links, gateways, source }
    }

    fn cut_off(&self, which: usize) {
        self.links[which].refuse();
        self.links[which].cut(Cut::Reset);
    }
}

fn is_store_goodbye(what: &What) -> bool {
    matches!(what, What::Goodbye { reason } if reason == "store")
}

fn goodbyes(client: &Client) -> usize {
    client.record().count(is_store_goodbye)
}

/// The delay of a refusal, which is one block and then cut.
async fn refusal(gateway: &Gateway, transport: &Transport) -> u64 {
    let mut response = transport.get(gateway.public(), None, "/v1/events?topic=a", &[]).await.unwrap();
    assert_eq!((response.status, response.header("content-type")), (200, Some("text/event-stream")));
    let mut body = Vec::new();
    let end = loop {
        match response.body.next().await {
            Ok(Part::Bytes(bytes)) => body.extend(bytes),
            end => break end,
        }
    };
    // Over TLS a cut is an error: the peer closed without its last word.
    assert!(matches!(end, Ok(Part::Cut) | Err(_)), "{end:?}");
    let text = String::from_utf8(body).unwrap();
    let delay = text.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix(STORE));
    delay.and_then(|ms| ms.parse().ok()).unwrap_or_else(|| panic!("not one block: {text:?}"))
}

async fn is_away(gateway: &Gateway) {
    let status = async || gateway.admin_get("/readyz?strict=1").await.0;
    eventually("the gateway notices", PATIENCE, async || status().await == 503).await;
}

#[tokio::test]
async fn a_refusal_is_one_block_on_every_transport() {
    let certificate = tidings_tests::certificate::Certificate::new();
    let stage = Linked::start(1, |setup| setup).await;
    let secure = certificate.set(Setup::redis(&stage.redis.url())).start().await;
    stage.redis.kill();
    is_away(&stage.gateways[0]).await;
    is_away(&secure).await;
    for transport in Transport::PLAIN {
        assert!(refusal(&stage.gateways[0], &transport).await >= 1_000);
    }
    for versions in [&["http/1.1"], &["h2"]] {
        assert!(refusal(&secure, &certificate.trust(versions)).await >= 1_000);
    }
    let poll = reqwest::get(format!("http://{}/v1/poll?topic=a", stage.gateways[0].public())).await.unwrap();
    let after: u64 = poll.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!((poll.status().as_u16(), after > 0), (503, true));
}

#[tokio::test]
async fn refusals_wait_longer_in_a_longer_outage() {
    let stage = Linked::start(1, |setup| setup).await;
    stage.redis.kill();
    is_away(&stage.gateways[0]).await;
    // `stream.retry` is a second here, and no jitter makes more than two of it.
    eventually("a refusal waits longer", PATIENCE, async || {
        let delay = refusal(&stage.gateways[0], &Transport::Lean).await;
        assert!((1_000..60_000).contains(&delay), "{delay} ms");
        delay > 2_000
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_when_the_store_was_away_for_too_long() {
    let stage = Linked::start(1, |setup| setup.with("stream.max_stale", "2s")).await;
    let addresses = [stage.gateways[0].public()];
    let clients = [Client::open("one", &addresses, &["a"]), Client::open("two", &addresses, &["a", "b"])];
    crate::all_ready(&clients).await;
    stage.cut_off(0);
    for client in &clients {
        client.record().until("is sent away", PATIENCE, |record| record.count(is_store_goodbye) > 0).await;
    }
    let ended = async || stage.gateways[0].metrics().await.sum("tidings_ended_total", &[("reason", "store")]);
    eventually("both are counted", PATIENCE, async || ended().await == 2.0).await;
    let missed = stage.source.publish(&["a"]).await;
    stage.links[0].accept();
    for client in &clients {
        client.got(missed).await;
        assert_eq!(client.record().faults(), [""; 0]);
    }
}

#[tokio::test]
async fn a_poll_that_waits_is_answered_when_the_store_was_away_for_too_long() {
    let stage = Linked::start(1, |setup| setup.with("stream.max_stale", "2s")).await;
    let gateway = &stage.gateways[0];
    let first: serde_json::Value = serde_json::from_str(&gateway.public_get("/v1/poll?topic=a").await.1).unwrap();
    let cursor = first["cursor"].as_str().unwrap();
    let url = format!("http://{}/v1/poll?topic=a&wait=55s&cursor={cursor}", gateway.public());
    let poll = tokio::spawn(reqwest::get(url));
    let waits = async || gateway.metrics().await.sum("tidings_connections", &[]) > 0.0;
    eventually("the poll waits", PATIENCE, waits).await;
    stage.cut_off(0);
    eventually("it is answered", PATIENCE, async || poll.is_finished()).await;
    let answer = poll.await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
}

#[tokio::test]
async fn the_ending_stops_when_the_store_is_back() {
    let set = |setup: Setup| setup.with("stream.max_stale", "1500ms").with("drain.window", "5m");
    let stage = Linked::start(1, set).await;
    let (link, gateway) = (&stage.links[0], &stage.gateways[0]);
    let pages: Vec<Client> = (0..60).map(|n| Client::open(&format!("page {n}"), &[gateway.public()], &["a"])).collect();
    crate::all_ready(&pages).await;
    stage.cut_off(0);
    let ended = || pages.iter().filter(|page| goodbyes(page) > 0).count();
    eventually("streams begin to end", PATIENCE, async || ended() > 0).await;
    link.accept();
    let logged = || gateway.log().iter().any(|line| line.contains("no more streams end"));
    eventually("the ending stops", PATIENCE, async || logged()).await;
    let n = stage.source.publish(&["a"]).await;
    for page in &pages {
        page.got(n).await;
    }
    let stayed = pages.iter().filter(|page| page.record().connections() == 1).count();
    assert!(stayed > 0, "all {} ended", pages.len());
}

/// Two gateways behind haproxy as the README has it, and pages that follow `a` there.
struct Balanced {
    stage: Linked,
    pages: Vec<Client>,
    _front: Front,
    _folder: tempfile::TempDir,
}

impl Balanced {
    /// With times so short that a test is quick.
    async fn start() -> Self {
        Self::with(&[("stream.max_stale", "2s"), ("drain.window", "2s")]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let set = |setup: Setup| {
            let setup = setup.with("server.trusted_proxies", "127.0.0.1");
            settings.iter().fold(setup, |setup, (key, value)| setup.with(key, value))
        };
        let stage = Linked::start(2, set).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("later.http");
        std::fs::write(&file, block("http")).unwrap();
        let recipe = adapted(&block("haproxy"), &stage.gateways);
        let recipe = recipe.replace("{folder}/later.http", &file.display().to_string());
        let front = ReverseProxy::Haproxy(recipe).start(stage.gateways[0].public()).await;
        for gateway in &stage.gateways {
            gateway.ready().await;
        }
        let status = async || reqwest::get(format!("http://{}/v1/poll?topic=a", front.addr())).await.unwrap().status();
        eventually("the balancer has a gateway", PATIENCE, async || status().await == 200).await;
        // They wait for as long as they are told to.
        let open = |n| Options::new(&format!("page {n}"), &[front.addr()], &["a"]).over(&Transport::Lean).open();
        let pages: Vec<Client> = (0..PAGES).map(open).collect();
        crate::all_ready(&pages).await;
        Self { stage, pages, _front: front, _folder: folder }
    }

    async fn connections(&self, which: usize) -> usize {
        self.stage.gateways[which].metrics().await.sum("tidings_connections", &[]) as usize
    }

    async fn assert_all_live(&self) {
        let n = self.stage.source.publish(&["a"]).await;
        for page in &self.pages {
            page.got(n).await;
            assert_eq!(page.record().count(|what| matches!(what, What::Dead { .. })), 0, "{}", page.record());
        }
    }
}

/// How often a page asked, after its stream was ended for the store, until it was live.
fn tries_until_live(record: &Record) -> Option<usize> {
    record.look(|entries| {
        let ended = entries.iter().position(|entry| is_store_goodbye(&entry.what))?;
        let rest = &entries[ended..];
        let live = rest.iter().position(|entry| matches!(entry.what, What::Ready { .. }))?;
        Some(rest[..live].iter().filter(|entry| matches!(entry.what, What::Connected { .. })).count())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_gateway_that_is_cut_off_go_to_the_other() {
    let balanced = Balanced::start().await;
    eventually("each gateway has pages", PATIENCE, async || {
        let (one, two) = (balanced.connections(0).await, balanced.connections(1).await);
        one + two == PAGES && one > 0 && two > 0
    })
    .await;
    balanced.stage.cut_off(0);
    eventually("all are at the other", 2 * PATIENCE, async || balanced.connections(1).await == PAGES).await;
    balanced.assert_all_live().await;
    let tries: Vec<usize> = balanced.pages.iter().filter_map(|page| tries_until_live(page.record())).collect();
    let moved = balanced.pages.iter().filter(|page| goodbyes(page) > 0).count();
    println!("{moved} pages moved, after {:?} tries at the most", tries.iter().max());
    assert_eq!(tries.len(), moved);
    assert!(moved > 0 && tries.iter().all(|tries| *tries <= 3), "{tries:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_dies_while_all_gateways_are_cut_off() {
    let balanced = Balanced::start().await;
    (0..2).for_each(|which| balanced.stage.cut_off(which));
    // Its stream ended, and it was refused at least once.
    let waits = |page: &Client| goodbyes(page) >= 2;
    eventually("every page was refused", 2 * PATIENCE, async || balanced.pages.iter().all(waits)).await;
    balanced.stage.links.iter().for_each(Proxy::accept);
    balanced.assert_all_live().await;
    eventually("all are connected", PATIENCE, async || {
        balanced.connections(0).await + balanced.connections(1).await == PAGES
    })
    .await;
}

/// The defaults of what decides when streams end and pages come back, which the harness shortens.
const DEFAULTS: [(&str, &str); 6] = [
    ("beacon.interval", "5s"),
    ("stream.heartbeat", "15s"),
    ("stream.retry", "3s"),
    ("stream.resync_spread", "5s"),
    ("stream.max_stale", "1m"),
    ("drain.window", "10s"),
];
const OUTAGE: Duration = Duration::from_secs(120);
/// The pause between events that are published meanwhile.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest `retry:`, and what a busy machine takes.
const BACK_WITHIN: Duration = Duration::from_secs(75);

/// A real outage of two minutes with the default settings. What came of it is in
/// `tests/faults/RESULTS.md`.
#[ignore = "takes three minutes: cargo test --workspace --test scenarios two_minutes -- --ignored"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_dies_in_two_minutes_without_redis() {
    let balanced = Balanced::with(&DEFAULTS).await;
    let Linked { source, links, redis, .. } = &balanced.stage;
    let oracle = source.oracle();
    source.publish(&["a"]).await;

    (0..2).for_each(|which| balanced.stage.cut_off(which));
    let began = Instant::now();
    while began.elapsed() < OUTAGE {
        source.publish(&["a"]).await;
        tokio::time::sleep(PAUSE).await;
    }
    assert!(redis.is_running() && oracle.unacknowledged() == 0, "Redis itself went away");
    let sent_away = balanced.pages.iter().filter(|page| goodbyes(page) > 0).count();
    links.iter().for_each(Proxy::accept);
    let back = Instant::now();
    let last = source.publish(&["a"]).await;
    let has_last = |page: &Client| page.record().serials().contains(&last);
    let all_live = async || balanced.pages.iter().all(has_last);
    eventually("all pages are live", BACK_WITHIN, all_live).await;
    let live_after = back.elapsed();

    balanced.assert_all_live().await;
    let verdict = oracle.settle(balanced.pages.iter().map(Client::record), PATIENCE).await;
    let asked = balanced.pages.iter().map(|page| page.record().connections());
    println!("{sent_away} of {PAGES} pages were sent away; each asked {} times at the most", asked.max().unwrap());
    println!("all were live {:.1} s after Redis was back", live_after.as_secs_f64());
    let Verdict { pairs, delivered, lost, twice, out_of_order, ahead, stray, .. } = verdict;
    println!("{} events; of {pairs} owed to pages {delivered} were delivered", verdict.events);
    // What haproxy answers itself has no headers of ours, and counts as a fault of conduct.
    assert_eq!(lost + twice + out_of_order + ahead + stray, 0, "{verdict}");
    assert_eq!(sent_away, PAGES);
}
