//! Who may publish, and over what: TLS and Redis' users, of each topology.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use tidings_publisher::tail::{Follow, Tail};
use tidings_publisher::{Builder, ErrorKind, Event, Publisher};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{
    Authority, Client, Cluster, Gateway, Layout, Node, Oracle, Sentinel, Server, Setup, Source, Standalone, eventually,
};

use crate::on_each_server;

on_each_server!(
    standalone_tls,
    sentinel_tls,
    cluster_tls,
    standalone_publisher,
    sentinel_publisher,
    cluster_publisher,
    standalone_database,
    sentinel_database,
    standalone_gateway,
    sentinel_gateway,
    login_of_the_sentinels,
    cluster_gateway,
);

const README: &str = include_str!("../../../README.md");

/// The user of the README that sentinels have.
fn asker() -> &'static str {
    README.lines().find(|line| line.starts_with("user asker ")).unwrap()
}

/// A layout with the users of the README, as they stand there.
fn with_users(server: Server) -> Layout {
    let users: Vec<_> = README.lines().filter(|line| line.starts_with("user ") && *line != asker()).collect();
    assert_eq!(users.len(), 2, "the README tells of a publisher and a gateway");
    users.into_iter().fold(Layout::of(server).password("all"), Layout::setting)
}

/// The rules of a user of the README, as `ACL SETUSER` takes them.
pub(crate) fn user_rules(name: &str) -> &'static str {
    let rules = README.lines().find_map(|line| line.strip_prefix("user ")?.strip_prefix(name)?.strip_prefix(' '));
    rules.expect("the README tells of this user")
}

/// One attempt, with time enough for a slow machine.
pub(crate) fn once(url: &str) -> Builder {
    Publisher::builder(url).retries(0).timeout(Duration::from_secs(5))
}

/// Publishes to addresses of many partitions, with a key and again.
async fn publish_everywhere(builder: Builder) {
    let publisher = builder.connect().await.unwrap();
    let event = || (0..40).fold(Event::refresh("@alice"), |event, n| event.also_to(format!("o/{n}"))).key("k");
    assert!(!publisher.publish(event()).await.unwrap().duplicate);
    assert!(publisher.publish(event()).await.unwrap().duplicate);
}

/// Publishes through servers that know no script, at first and after they have forgotten it.
async fn publish_without_scripts(url: &str, nodes: &[&Node]) {
    let forget = async || {
        for node in nodes {
            node.flush_scripts().await;
        }
    };
    forget().await;
    let publisher = once(url).connect().await.unwrap();
    for _ in 0..2 {
        let events = (0..40).map(|n| Event::refresh("a").also_to(format!("o/{n}"))).collect();
        let receipts = publisher.publish_all(events).await;
        let ids: Vec<_> = receipts.into_iter().map(|receipt| receipt.unwrap().ids["a"]).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        forget().await;
    }
    for node in nodes {
        assert_nothing_refused(node).await;
    }
}

async fn refused(builder: Builder) {
    let error = builder.connect().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Refused, false), "{error}");
}

// TLS

async fn standalone_tls(server: Server) {
    let (authority, other) = (Arc::new(Authority::new()), Authority::new());
    let redis = Standalone::start(Layout::of(server).mutual_tls(&authority).password("secret")).await;
    let (cert, key) = authority.client();
    let trusting = || once(&redis.url()).tls_ca(authority.ca());
    publish_everywhere(trusting().tls_certificate(&cert, &key)).await;
    refused(trusting()).await;
    let (cert, key) = other.client();
    refused(trusting().tls_certificate(cert, key)).await;
    let (cert, key) = authority.client();
    refused(once(&redis.url()).tls_ca(other.ca()).tls_certificate(&cert, &key)).await;
    refused(once(&redis.url()).tls_certificate(cert, key)).await;
}

async fn sentinel_tls(server: Server) {
    let authority = Arc::new(Authority::new());
    let topology = Sentinel::start(Layout::of(server).mutual_tls(&authority).password("secret")).await;
    let (cert, key) = authority.client();
    let builder = once(&topology.url()).tls_ca(authority.ca()).tls_certificate(cert, key);
    publish_everywhere(builder.clone()).await;
    let publisher = builder.retries(30).connect().await.unwrap();
    topology.crash_failover().await;
    publisher.publish(Event::refresh("after")).await.unwrap();
}

async fn cluster_tls(server: Server) {
    let authority = Arc::new(Authority::new());
    let cluster = Cluster::start(Layout::of(server).mutual_tls(&authority).password("secret")).await;
    let (cert, key) = authority.client();
    publish_everywhere(once(&cluster.url()).tls_ca(authority.ca()).tls_certificate(cert, key)).await;
}

// Users

async fn standalone_publisher(server: Server) {
    let redis = Standalone::start(with_users(server)).await;
    publish_everywhere(once(&redis.url_for("publisher", "secret"))).await;
    publish_without_scripts(&redis.url_for("publisher", "secret"), &[&redis]).await;
    refused(once(&redis.url_for("publisher", "wrong"))).await;
    let publisher = once(&redis.url_for("publisher", "secret")).namespace("shop".parse().unwrap()).connect().await;
    let error = publisher.unwrap().publish(Event::refresh("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "another namespace: {error}");
    for rule in ["-xadd", "-publish", "resetchannels"] {
        redis.ask::<()>("ACL", &["SETUSER", "publisher", rule]).await.unwrap();
        let publisher = once(&redis.url_for("publisher", "secret")).connect().await.unwrap();
        let error = publisher.publish(Event::refresh("a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{rule}: {error}");
        redis.ask::<()>("ACL", &["SETUSER", "publisher", "+xadd", "+publish"]).await.unwrap();
    }
    let dry: RedisResult<String> =
        redis.ask("ACL", &["DRYRUN", "publisher", "XRANGE", "{tidings:0}:j", "-", "+"]).await;
    assert!(dry.is_ok_and(|told| told.contains("no permissions")), "it may publish, not read");
}

async fn sentinel_publisher(server: Server) {
    let topology = Sentinel::start(with_users(server)).await;
    publish_everywhere(once(&topology.url_for("publisher", "secret"))).await;
    let primary = topology.primary().await;
    publish_without_scripts(&topology.url_for("publisher", "secret"), &[primary]).await;
}

async fn cluster_publisher(server: Server) {
    let cluster = Cluster::start(with_users(server)).await;
    publish_everywhere(once(&cluster.url_for("publisher", "secret"))).await;
    let nodes: Vec<_> = cluster.nodes().iter().collect();
    publish_without_scripts(&cluster.url_for("publisher", "secret"), &nodes).await;
}

async fn standalone_database(server: Server) {
    let redis = Standalone::start(with_users(server)).await;
    database_needs_select(&redis, |user| redis.url_for(user, "secret")).await;
}

async fn sentinel_database(server: Server) {
    let topology = Sentinel::start(with_users(server)).await;
    let primary = topology.primary().await;
    database_needs_select(primary, |user| topology.url_for(user, "secret")).await;
}

/// A database other than 0 needs the one more right that the README names.
async fn database_needs_select(primary: &Node, url_for: impl Fn(&str) -> String) {
    const RIGHT: &str = "+select";
    assert!(README.contains(&format!("need `{RIGHT}` too")), "the README names it");
    let [publisher, gateway] = ["publisher", "gateway"].map(|user| format!("{}/3", url_for(user)));
    let error = once(&publisher).connect().await.unwrap_err();
    let is_named = |text: &str| text.contains("'select'") && text.contains("ACL SETUSER");
    assert!(error.kind() == ErrorKind::Refused && is_named(&error.to_string()), "{error}");
    let refused = Setup::redis(&gateway).start_unready().await;
    eventually("readiness names the right", PATIENCE, async || is_named(&refused.admin_get("/readyz").await.1)).await;
    drop(refused);
    for user in ["publisher", "gateway"] {
        primary.ask::<()>("ACL", &["SETUSER", user, RIGHT]).await.unwrap();
    }
    primary.ask::<()>("ACL", &["LOG", "RESET"]).await.unwrap();
    publish_everywhere(once(&publisher)).await;
    publish_and_poll(&gateway).await;
    assert_nothing_refused(primary).await;
    assert_eq!(primary.ask("DBSIZE", &[]).await, Ok(0), "nothing is in database 0");
}

async fn standalone_gateway(server: Server) {
    let redis = Standalone::start(with_users(server)).await;
    publish_and_poll(&redis.url_for("gateway", "secret")).await;
    follow_without_scripts(&redis.url_for("gateway", "secret"), &[&redis]).await;
    reads_of_history_take_turns(&redis).await;
    assert_nothing_refused(&redis).await;
}

/// After a lost connection a gateway reads the journal of each partition, over fewer connections
/// than there are partitions: the pool checks each before it is used again.
async fn reads_of_history_take_turns(redis: &Standalone) {
    let gateway = Setup::redis(&redis.url_for("gateway", "secret")).start().await;
    let topics: Vec<String> = (0..16).map(|n| format!("o/{n}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let client = Client::open("alice", &[gateway.public()], &topics);
    client.ready().await;
    let source = Source::connect(&gateway.url(), &Oracle::new()).await;
    client.got(source.publish(&topics).await).await;
    redis.kill_clients("pubsub").await;
    client.got(source.publish(&topics).await).await;
}

async fn sentinel_gateway(server: Server) {
    let topology = Sentinel::start(with_users(server)).await;
    publish_and_poll(&topology.url_for("gateway", "secret")).await;
    let primary = topology.primary().await;
    follow_without_scripts(&topology.url_for("gateway", "secret"), &[primary]).await;
}

/// Sentinels have users of their own, whom the servers do not know.
async fn login_of_the_sentinels(server: Server) {
    let layout = with_users(server).sentinel_password("watch");
    let layout = layout.sentinel_setting(asker());
    let topology = Sentinel::start(layout).await;
    let own = "?sentinel_password=watch";
    assert!(topology.url().ends_with(own), "{}", topology.url());
    once(&topology.url()).connect().await.unwrap().publish(Event::refresh("before")).await.unwrap();
    let url = topology.url_for("gateway", "secret");
    publish_and_poll(&format!("{url}?sentinel_user=asker&sentinel_password=secret")).await;
    for sentinel in topology.sentinels() {
        assert_nothing_refused(sentinel).await;
    }
    for (wrong, word) in [
        ("", "NOAUTH"),
        ("?sentinel_password=secret", "WRONGPASS"),
        ("?sentinel_user=nobody&sentinel_password=watch", "WRONGPASS"),
    ] {
        let url = format!("{url}{wrong}");
        let error = once(&url).connect().await.unwrap_err();
        let (text, asked) = (error.to_string(), topology.sentinels().iter().map(Node::addr));
        assert!(asked.into_iter().any(|addr| text.contains(&format!("the sentinel {addr}"))), "{text}");
        assert!(text.contains(word) && error.kind() == ErrorKind::Refused && !error.is_retryable(), "{text}");
        let gateway = Setup::redis(&url).start_unready().await;
        eventually("readiness says who refuses", PATIENCE, async || {
            let (status, body) = gateway.admin_get("/readyz").await;
            status == 503 && body.contains("the sentinel ") && body.contains(word)
        })
        .await;
    }
    let old = topology.primary().await.addr();
    let publisher = once(&format!("{url}{own}")).retries(30).connect().await.unwrap();
    assert_ne!(topology.crash_failover().await.addr(), old);
    publisher.publish(Event::refresh("after")).await.unwrap();
}

async fn cluster_gateway(server: Server) {
    let cluster = Cluster::start(with_users(server)).await;
    publish_and_poll(&cluster.url_for("gateway", "secret")).await;
    let nodes: Vec<_> = cluster.nodes().iter().collect();
    follow_without_scripts(&cluster.url_for("gateway", "secret"), &nodes).await;
}

/// All that a gateway does with its store.
async fn publish_and_poll(url: &str) {
    let gateway: Gateway = Setup::redis(url).start().await;
    let publisher = Publisher::connect(gateway.url()).await.unwrap();
    publisher.publish(Event::refresh("a").key("k")).await.unwrap();
    let (status, body) = gateway.public_get("/v1/poll?topic=a&tail=1").await;
    assert!(status == 200 && body.contains(r#""topic":"a""#), "{status} {body}");
}

/// Follows with the rights of a gateway through servers that know no script.
async fn follow_without_scripts(url: &str, nodes: &[&Node]) {
    for node in nodes {
        node.flush_scripts().await;
    }
    let (namespace, tls) = Default::default();
    let addresses = vec!["a".parse().unwrap()];
    let follow = Follow { addresses, cursor: None, namespace, partitions: None, tls };
    Tail::start(url, follow).await.unwrap();
    for node in nodes {
        assert_nothing_refused(node).await;
    }
}

async fn assert_nothing_refused(node: &Node) {
    let refusals: Vec<redis::Value> = node.ask("ACL", &["LOG"]).await.unwrap();
    assert!(refusals.is_empty(), "{refusals:?}");
}
