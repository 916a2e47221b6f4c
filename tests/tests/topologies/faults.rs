//! Faults of one node do what they say, and end.

use std::time::Duration;

use redis::{RedisError, RedisResult};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Layout, Node, Server, Standalone, eventually};

use crate::on_each_server;

on_each_server!(
    keeps_or_loses_its_data,
    forgets_keys_and_scripts,
    freezes,
    refuses_writes,
    is_full,
    is_busy,
    closes_connections,
    changes_its_password,
    asks_users_for_their_rights,
    sets_its_clock_back,
);

async fn set(node: &Node) -> RedisResult<()> {
    node.ask("SET", &["a", "1"]).await
}

/// The code of the error that a write ends with.
async fn refusal(node: &Node) -> Option<String> {
    set(node).await.err().as_ref().and_then(RedisError::code).map(str::to_owned)
}

async fn keeps_or_loses_its_data(server: Server) {
    let redis = Standalone::start(Layout::of(server).durable()).await;
    let keys = async || redis.ask::<i64>("DBSIZE", &[]).await.unwrap();
    set(&redis).await.unwrap();
    redis.restart().await;
    assert_eq!(keys().await, 1);
    redis.restart_empty().await;
    assert_eq!(keys().await, 0);
    redis.kill();
    assert!(!redis.is_running() && set(&redis).await.is_err());
}

async fn forgets_keys_and_scripts(server: Server) {
    let redis = Standalone::start(server).await;
    set(&redis).await.unwrap();
    redis.flush().await;
    assert_eq!(redis.ask("DBSIZE", &[]).await, Ok(0));
    let script: String = redis.ask("SCRIPT", &["LOAD", "return 1"]).await.unwrap();
    assert_eq!(redis.ask("EVALSHA", &[&script, "0"]).await, Ok(1));
    redis.flush_scripts().await;
    let refused = redis.ask::<i64>("EVALSHA", &[&script, "0"]).await.unwrap_err();
    assert_eq!(refused.code(), Some("NOSCRIPT"), "{refused}");
    assert_eq!(redis.calls("evalsha").await, 2);
}

async fn freezes(server: Server) {
    let redis = Standalone::start(server).await;
    redis.freeze();
    assert!(redis.is_running() && !redis.is_up());
    assert!(set(&redis).await.is_err_and(|e| e.is_timeout()));
    redis.thaw();
    set(&redis).await.unwrap();
}

async fn refuses_writes(server: Server) {
    let redis = Standalone::start(server).await;
    redis.read_only().await;
    assert_eq!(refusal(&redis).await.as_deref(), Some("READONLY"));
    redis.writable().await;
    set(&redis).await.unwrap();
    redis.fill_memory().await;
    assert_eq!(refusal(&redis).await.as_deref(), Some("OOM"));
    redis.free_memory().await;
    set(&redis).await.unwrap();
}

async fn is_full(server: Server) {
    let redis = Standalone::start(Layout::of(server).durable().setting("appendfsync everysec")).await;
    set(&redis).await.unwrap();
    redis.fill_disk();
    let refused = async || refusal(&redis).await.as_deref() == Some("MISCONF");
    eventually("writes are refused", PATIENCE, refused).await;
    redis.free_disk();
    eventually("writes are taken", PATIENCE, async || set(&redis).await.is_ok()).await;

    let redis = Standalone::start(Layout::of(server).durable()).await;
    redis.fill_disk();
    assert!(set(&redis).await.is_err());
    eventually("it ends itself", PATIENCE, async || !redis.is_running()).await;
    redis.start().await;
    set(&redis).await.unwrap();
}

async fn is_busy(server: Server) {
    let redis = Standalone::start(server).await;
    redis.busy().await;
    assert_eq!(refusal(&redis).await.as_deref(), Some("BUSY"));
    redis.idle().await;
    set(&redis).await.unwrap();
}

async fn closes_connections(server: Server) {
    let redis = Standalone::start(server).await;
    let mut connection = redis.connection().await.unwrap();
    redis.kill_clients("normal").await;
    let answer: RedisResult<String> = redis::cmd("PING").query_async(&mut connection).await;
    assert!(answer.is_err(), "{answer:?}");
}

async fn changes_its_password(server: Server) {
    let redis = Standalone::start(Layout::of(server).password("old")).await;
    let old = redis.url();
    redis.set_password("new").await;
    set(&redis).await.unwrap();
    redis.restart().await;
    set(&redis).await.unwrap();
    let refused = connect(&old).await.unwrap_err();
    assert!(refused.to_string().to_lowercase().contains("password"), "{refused}");
}

async fn asks_users_for_their_rights(server: Server) {
    let layout = Layout::of(server).password("all").user("reader", "on >secret ~{t:*} resetchannels +@read +ping");
    let redis = Standalone::start(layout).await;
    let mut reader = connect(&redis.url_for("reader", "secret")).await.unwrap();
    let nothing: RedisResult<Option<String>> = redis::cmd("GET").arg("{t:0}").query_async(&mut reader).await;
    assert_eq!(nothing, Ok(None));
    let refused: RedisResult<()> = redis::cmd("SET").arg("{t:0}").arg("1").query_async(&mut reader).await;
    assert_eq!(refused.unwrap_err().code(), Some("NOPERM"));
    assert!(connect(&redis.url_for("reader", "wrong")).await.is_err());
}

async fn connect(url: &str) -> RedisResult<redis::aio::MultiplexedConnection> {
    redis::Client::open(url)?.get_multiplexed_async_connection().await
}

async fn sets_its_clock_back(server: Server) {
    let redis = Standalone::start(server).await;
    let add = async || redis.ask::<String>("XADD", &["s", "*", "a", "1"]).await.unwrap();
    let ms = |id: &str| id.split('-').next().unwrap().parse::<u64>().unwrap();
    let before = add().await;
    redis.set_clock_back("s", Duration::from_secs(3_600)).await;
    let (first, second) = (add().await, add().await);
    assert!(ms(&first) >= ms(&before) + 3_600_000, "{before} {first}");
    assert_eq!(ms(&first), ms(&second), "no clock ticks until it has caught up");
}
