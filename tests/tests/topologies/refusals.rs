//! What Redis refuses, by meaning: publishers, the command and gateways say which command it was,
//! what the server answered and what would help, and know whether to try again.

use std::process::Stdio;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tidings_publisher::tail::{Follow, Tail};
use tidings_publisher::{ErrorKind, Event, Publisher};
use tidings_tests::gateway::binary;
use tidings_tests::wait::{PATIENCE, perhaps};
use tidings_tests::{Cluster, Gateway, Layout, Node, Server, Setup, Standalone, eventually};
use tokio::process::Command;

use crate::access::{once, user_rules};
use crate::on_each_server;

on_each_server!(
    full,
    full_with_password,
    full_for_notify,
    full_for_backfills,
    too_few_databases,
    logins,
    rights_of_publishers,
    rights_of_gateways,
    rights_of_tails,
    renamed_commands,
    renamed_commands_of_clusters,
);

/// A store that refuses, and what is said of it.
struct Refusal<'a> {
    url: String,
    kind: ErrorKind,
    /// Each is in each error, in small letters.
    words: &'a [&'a str],
}

impl<'a> Refusal<'a> {
    /// One that trying again does not end.
    fn lasting(url: String, words: &'a [&'a str]) -> Self {
        Self { url, kind: ErrorKind::Refused, words }
    }

    /// The exit code of the command.
    fn exit(&self) -> i32 {
        if self.kind == ErrorKind::InvalidUrl { 64 } else { 69 }
    }

    fn is_told_by(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        self.words.iter().all(|word| text.contains(word))
    }

    /// The library and the command say it.
    async fn assert_of_publisher(&self) {
        let error = publish_once(&self.url).await.unwrap_err();
        assert_eq!(error.kind(), self.kind, "{error}");
        assert_eq!(error.is_retryable(), self.kind == ErrorKind::Unavailable, "{error}");
        assert!(self.is_told_by(&error.to_string()), "{:?}: {error}", self.words);
        let mut command = Command::new(binary().with_file_name("tidings"));
        command.args(["--store", &self.url, "publish", "a"]).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(self.exit()), "{told}");
        assert!(self.is_told_by(&told), "{:?}: {told}", self.words);
    }

    /// Readiness and the log of a gateway say it.
    async fn assert_of_gateway(&self) -> Gateway {
        let gateway = Setup::redis(&self.url).start_unready().await;
        let mut last = (0, String::new());
        let is_told = async || {
            last = gateway.admin_get("/readyz").await;
            last.0 == 503 && self.is_told_by(&last.1)
        };
        perhaps(PATIENCE, is_told).await;
        assert!(last.0 == 503 && self.is_told_by(&last.1), "{:?}: {last:?}", self.words);
        let is_logged = async || gateway.log().iter().any(|line| self.is_told_by(line));
        eventually("the log says it", PATIENCE, is_logged).await;
        gateway
    }
}

async fn publish_once(url: &str) -> Result<(), tidings_publisher::Error> {
    once(url).connect().await?.publish(Event::refresh("a")).await.map(drop)
}

/// A server without a place for one more client. The connection that is left can free some.
async fn fill(node: &Node) -> MultiplexedConnection {
    let mut last = node.connection().await.unwrap();
    set(&mut last, "1").await;
    last
}

async fn free(last: &mut MultiplexedConnection) {
    set(last, "1000").await;
}

async fn set(connection: &mut MultiplexedConnection, places: &str) {
    let mut command = redis::cmd("CONFIG");
    command.arg(&["SET", "maxclients", places]).exec_async(connection).await.unwrap();
}

/// What is said of a full server.
const FULL: [&str; 3] = ["max number of clients", "retry later", "raise maxclients"];

async fn full(server: Server) {
    all_say_full(&Standalone::start(server).await).await;
}

async fn full_with_password(server: Server) {
    all_say_full(&Standalone::start(Layout::of(server).password("secret")).await).await;
}

async fn all_say_full(redis: &Standalone) {
    let mut last = fill(redis).await;
    let refusal = Refusal { url: redis.url(), kind: ErrorKind::Unavailable, words: &FULL };
    refusal.assert_of_publisher().await;
    let gateway = refusal.assert_of_gateway().await;
    free(&mut last).await;
    gateway.ready().await;
    publish_once(&redis.url()).await.unwrap();
}

async fn full_for_notify(server: Server) {
    let redis = Standalone::start(server).await;
    let mut last = fill(&redis).await;
    let publisher = Publisher::builder(redis.url()).timeout(Duration::from_secs(5)).lazy().unwrap();
    for version in ["1", "2"] {
        publisher.notify(Event::refresh("a").version(version).coalesce(false));
    }
    // Both of its attempts, and those of one that gives up, are over by then.
    let refused = async || rejected(&mut last.clone()).await > 5;
    eventually("it is refused several times", PATIENCE, refused).await;
    let stats = publisher.stats();
    assert_eq!((stats.published, stats.failed, stats.dropped), (0, 0, 0), "{stats:?}");
    free(&mut last).await;
    eventually("both are published", PATIENCE, async || publisher.stats().published == 2).await;
    assert_eq!(redis.ask::<u64>("XLEN", &["{tidings:0}:t:a"]).await, Ok(2), "each once");
}

/// How many connections the server has refused.
async fn rejected(connection: &mut MultiplexedConnection) -> u64 {
    let info: redis::InfoDict = redis::cmd("INFO").arg("stats").query_async(connection).await.unwrap();
    info.get("rejected_connections").unwrap()
}

/// A gateway that is at work needs one more connection when it reads what it has missed.
async fn full_for_backfills(server: Server) {
    let redis = Standalone::start(server).await;
    let gateway = Setup::redis(&redis.url()).start().await;
    publish_once(&redis.url()).await.unwrap();
    let mut last = fill(&redis).await;
    let mut kill = redis::cmd("CLIENT");
    kill.arg(&["KILL", "TYPE", "pubsub"]).exec_async(&mut last).await.unwrap();
    let refusal = Refusal { url: redis.url(), kind: ErrorKind::Unavailable, words: &FULL };
    eventually("readiness says why", PATIENCE, async || {
        let (status, body) = gateway.strict_readiness().await;
        status == 503 && refusal.is_told_by(&body)
    })
    .await;
    assert_eq!(gateway.admin_get("/readyz").await.0, 200, "it has been ready, and the store is away");
    free(&mut last).await;
    gateway.ready().await;
}

async fn too_few_databases(server: Server) {
    let redis = Standalone::start(Layout::of(server).setting("databases 1")).await;
    let words = ["select", "index is out of range", "`databases` setting"];
    let refusal = Refusal { url: format!("{}/3", redis.url()), kind: ErrorKind::InvalidUrl, words: &words };
    refusal.assert_of_publisher().await;
    refusal.assert_of_gateway().await;
}

async fn logins(server: Server) {
    let redis = Standalone::start(Layout::of(server).password("secret")).await;
    let bare = format!("redis://{}", redis.addr());
    let rows: [(String, &[&str], &[&str]); 3] = [
        (bare, &["eval: ", "noauth", "needs a user and password"], &["hello: ", "noauth", "needs a user and password"]),
        (
            redis.url_for("default", "wrong"),
            &["auth: ", "wrongpass", "check the user and password"],
            &["hello: ", "wrongpass", "check the user and password"],
        ),
        (
            redis.url_for("nobody", "secret"),
            &["auth: ", "wrongpass", "check the user and password"],
            &["hello: ", "wrongpass", "check the user and password"],
        ),
    ];
    for (url, of_publisher, of_gateway) in rows {
        Refusal::lasting(url.clone(), of_publisher).assert_of_publisher().await;
        Refusal::lasting(url, of_gateway).assert_of_gateway().await;
    }
    let open = Standalone::start(server).await;
    let words = ["auth: ", "must not have a password"];
    Refusal::lasting(open.url().replace("://", "://:secret@"), &words).assert_of_publisher().await;
}

/// What is said of a right that a user lacks.
const RIGHT: &str = "acl setuser";

/// A user like the one of the README, but for this rule.
async fn user_without(redis: &Standalone, like: &str, rule: &str) -> String {
    let name = format!("{like}{}", fastrand::u32(..));
    let rules = user_rules(like);
    let words = ["SETUSER", &name].into_iter().chain(rules.split(' ')).chain([rule]);
    redis.ask::<()>("ACL", &words.collect::<Vec<_>>()).await.unwrap();
    redis.url_for(&name, "secret")
}

async fn rights_of_publishers(server: Server) {
    let redis = Standalone::start(server).await;
    let rows: [(&str, &str, &[&str]); 6] = [
        ("-eval", "", &["eval: ", "'eval'", RIGHT]),
        ("-evalsha", "", &["evalsha: ", "'evalsha'", RIGHT]),
        ("resetchannels", "", &["evalsha: ", "channel", RIGHT]),
        ("resetkeys", "", &["evalsha: ", "key", RIGHT]),
        ("-xadd", "", &["evalsha: ", RIGHT]),
        ("-select", "/3", &["select: ", "'select'", RIGHT]),
    ];
    for (rule, database, words) in rows {
        let url = user_without(&redis, "publisher", rule).await;
        Refusal::lasting(format!("{url}{database}"), words).assert_of_publisher().await;
    }
}

async fn rights_of_gateways(server: Server) {
    let redis = Standalone::start(server).await;
    let rows: [(&str, &str, &[&str]); 8] = [
        ("-eval", "", &["eval: ", "'eval'", RIGHT]),
        ("-evalsha", "", &["evalsha: ", "'evalsha'", RIGHT]),
        ("resetchannels", "", &["channel", RIGHT]),
        ("resetkeys", "", &["hmget: ", "key", RIGHT]),
        ("-subscribe", "", &["subscribe: ", "'subscribe'", RIGHT]),
        ("-info", "", &["info: ", "'info'", RIGHT]),
        ("-xsetid", "", &["evalsha: ", RIGHT]),
        ("-select", "/3", &["select: ", "'select'", RIGHT]),
    ];
    for (rule, database, words) in rows {
        let url = user_without(&redis, "gateway", rule).await;
        Refusal::lasting(format!("{url}{database}"), words).assert_of_gateway().await;
    }
}

async fn rights_of_tails(server: Server) {
    let redis = Standalone::start(server).await;
    let rows: [(&str, &[&str]); 4] = [
        ("-hmget", &["hmget: ", "'hmget'", RIGHT]),
        ("-subscribe", &["subscribe: ", "'subscribe'", RIGHT]),
        ("resetchannels", &["subscribe: ", "channel", RIGHT]),
        ("-evalsha", &["evalsha: ", "'evalsha'", RIGHT]),
    ];
    for (rule, words) in rows {
        let url = user_without(&redis, "gateway", rule).await;
        assert_of_tail(&Refusal::lasting(url, words)).await;
    }
}

async fn assert_of_tail(refusal: &Refusal<'_>) {
    let follow = Follow {
        addresses: vec!["a".parse().unwrap()],
        cursor: None,
        namespace: Default::default(),
        partitions: None,
        tls: Default::default(),
    };
    let error = Tail::start(&refusal.url, follow).await.err().expect("it is refused");
    assert_eq!(error.kind(), refusal.kind, "{error}");
    assert!(refusal.is_told_by(&error.to_string()), "{:?}: {error}", refusal.words);
}

/// A layout whose servers do not know this command any more.
fn renamed(server: Server, command: &str) -> Layout {
    Layout::of(server).setting(&format!("rename-command {command} \"\""))
}

/// What is said of a command that the server does not know.
const UNKNOWN: &str = "without rename-command";

async fn renamed_commands(server: Server) {
    let rows: [(&str, &[&str], &[&str]); 6] = [
        ("EVALSHA", &["evalsha: ", "unknown command", UNKNOWN], &["evalsha: ", "unknown command", UNKNOWN]),
        ("EVAL", &["eval: ", "unknown command", UNKNOWN], &["eval: ", "unknown command", UNKNOWN]),
        ("XADD", &["evalsha: ", "the script calls", UNKNOWN], &["evalsha: ", "the script calls", UNKNOWN]),
        ("HELLO", &[], &["hello: ", "resp3 is needed", "no proxy"]),
        ("SUBSCRIBE", &[], &["subscribe: ", "unknown command", UNKNOWN]),
        ("INFO", &[], &["info: ", "unknown command", UNKNOWN]),
    ];
    for (command, of_publisher, of_gateway) in rows {
        let redis = Standalone::start(renamed(server, command)).await;
        match of_publisher {
            [] => publish_once(&redis.url()).await.unwrap(),
            words => Refusal::lasting(redis.url(), words).assert_of_publisher().await,
        }
        Refusal::lasting(redis.url(), of_gateway).assert_of_gateway().await;
    }
}

async fn renamed_commands_of_clusters(server: Server) {
    let cluster = Cluster::start(renamed(server, "SSUBSCRIBE")).await;
    publish_once(&cluster.url()).await.unwrap();
    let refusal = Refusal::lasting(cluster.url(), &["ssubscribe: ", "unknown command", UNKNOWN]);
    refusal.assert_of_gateway().await;
    assert_of_tail(&refusal).await;
}
