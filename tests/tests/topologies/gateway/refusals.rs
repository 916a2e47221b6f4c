//! One server that refuses: readiness says so in its words, and all goes on when it is over.

use redis::RedisResult;
use tidings_publisher::Partitions;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Server, Standalone, eventually};

use super::Stage;
use crate::{on_each_server, slow_to_load};

on_each_server!(out_of_memory, read_only, busy, loading, no_permission, wrong_type);

/// What an operator does, by words apart.
async fn run(redis: &Standalone, command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    let done: RedisResult<redis::Value> = redis.ask(words[0], &words[1..]).await;
    done.unwrap();
}

/// Between `fault` and `cure` readiness tells `word`; afterwards nothing is missing.
async fn told_and_over(server: Server, fault: &[&str], word: &str, cure: &[&str]) {
    let redis = Standalone::start(server).await;
    let stage = Stage::over(&redis.url(), Partitions::ONE).await;
    let last = stage.source.publish_many(&["o/0"], 20).await;
    stage.clients[0].got(last).await;
    for command in fault {
        run(&redis, command).await;
    }
    for gateway in &stage.gateways {
        eventually("readiness tells why", PATIENCE, async || {
            let (status, body) = gateway.strict_readiness().await;
            status == 503 && body.contains(word)
        })
        .await;
    }
    for command in cure {
        run(&redis, command).await;
    }
    stage.publish_through(std::future::ready(())).await;
    stage.assert_converged().await;
}

async fn out_of_memory(server: Server) {
    told_and_over(server, &["CONFIG SET maxmemory 1"], "OOM", &["CONFIG SET maxmemory 0"]).await;
}

async fn read_only(server: Server) {
    told_and_over(server, &["REPLICAOF 127.0.0.1 1"], "READONLY", &["REPLICAOF NO ONE"]).await;
}

async fn no_permission(server: Server) {
    let word = if server == Server::Redis7 { "can't run this command" } else { "'xsetid'" };
    told_and_over(server, &["ACL SETUSER default -xsetid"], word, &["ACL SETUSER default +xsetid"]).await;
}

async fn wrong_type(server: Server) {
    let fault = ["RENAME {tidings:0}:e {tidings:0}:kept", "SET {tidings:0}:e mine"];
    told_and_over(server, &fault, "WRONGTYPE", &["RENAME {tidings:0}:kept {tidings:0}:e"]).await;
}

async fn busy(server: Server) {
    let redis = Standalone::start(server).await;
    run(&redis, "CONFIG SET busy-reply-threshold 50").await;
    let stage = Stage::over(&redis.url(), Partitions::ONE).await;
    let mut connection = redis.connection().await.unwrap();
    let endless = tokio::spawn(async move {
        let _: RedisResult<()> = redis::cmd("EVAL").arg("while true do end").arg(0).exec_async(&mut connection).await;
    });
    eventually("readiness tells why", PATIENCE, async || {
        let (status, body) = stage.gateways[0].strict_readiness().await;
        status == 503 && body.contains("BUSY")
    })
    .await;
    run(&redis, "SCRIPT KILL").await;
    endless.await.unwrap();
    stage.publish_through(std::future::ready(())).await;
    stage.assert_converged().await;
}

async fn loading(server: Server) {
    let redis = slow_to_load(server).await;
    let stage = Stage::over(&redis.url(), Partitions::ONE).await;
    let last = stage.source.publish_many(&["o/0"], 20).await;
    stage.clients[0].got(last).await;
    let told = eventually("readiness tells why", PATIENCE, async || {
        let (status, body) = stage.gateways[0].strict_readiness().await;
        status == 503 && body.contains("LOADING")
    });
    futures_util::future::join(redis.restart(), told).await;
    stage.publish_through(std::future::ready(())).await;
    stage.assert_converged().await;
}
