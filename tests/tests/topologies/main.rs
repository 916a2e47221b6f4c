//! The harness's topologies: each comes up on each server, fails over, and its faults do what they say.

mod access;
mod addresses;
mod cluster;
mod faults;
mod gateway;
mod name;
mod publisher;
mod refusals;
mod sentinel;
mod tail;
mod tls;

use tidings_tests::wait::PATIENCE;
use tidings_tests::{Layout, Server, Standalone, eventually};

/// Each function once for each server.
macro_rules! on_each_server {
    ($($test:ident),+ $(,)?) => {
        on_each_server!(@ redis_7 Redis7 $($test),+);
        on_each_server!(@ valkey_8 Valkey8 $($test),+);
        on_each_server!(@ redis_8 Redis8 $($test),+);
    };
    (@ $module:ident $server:ident $($test:ident),+) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(tidings_tests::Server::$server).await;
                }
            )+
        }
    };
}

pub(crate) use on_each_server;

/// A server that takes seconds to load the data that it has, and listens to clients meanwhile.
async fn slow_to_load(server: Server) -> Standalone {
    let layout = Layout::of(server).durable();
    let layout = layout.setting("key-load-delay 1000").setting("loading-process-events-interval-bytes 1024");
    let redis = Standalone::start(layout).await;
    redis.ask::<()>("DEBUG", &["POPULATE", "3000"]).await.unwrap();
    redis.ask::<redis::Value>("BGREWRITEAOF", &[]).await.unwrap();
    eventually("its data is on disk", PATIENCE, async || {
        let is = async |field: &str| redis.info(field).await.as_deref() == Some("0");
        is("aof_rewrite_in_progress").await && is("aof_rewrite_scheduled").await
    })
    .await;
    redis
}
