//! A server that loads its data answers, and takes nothing.

use std::time::Duration;

use futures_util::future::join3;
use tidings_publisher::{ErrorKind, Event, Partitions, Publisher};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Server, eventually};

use super::{builder, stream};
use crate::{on_each_server, slow_to_load};

on_each_server!(is_told_and_waited_for);

async fn is_told_and_waited_for(server: Server) {
    let redis = slow_to_load(server).await;
    let hasty = Publisher::builder(redis.url()).retries(0).timeout(Duration::from_secs(1)).connect().await.unwrap();
    let patient = builder(&redis.url()).connect().await.unwrap();
    patient.publish(Event::refresh("a").version("before")).await.unwrap();
    let told = eventually("the publisher tells why", PATIENCE, async || {
        let Err(error) = hasty.publish(Event::refresh("b")).await else { return false };
        assert!(error.is_retryable(), "{error}");
        error.kind() == ErrorKind::Unavailable && error.to_string().contains("LOADING")
    });
    let waiting = async {
        eventually("it is away", PATIENCE, async || hasty.publish(Event::refresh("b")).await.is_err()).await;
        patient.publish(Event::refresh("a").version("after")).await
    };
    let ((), (), waited) = join3(redis.restart(), told, waiting).await;
    let id = waited.unwrap().ids["a"].to_string();
    let found = stream(&redis, Partitions::ONE, "a").await;
    assert_eq!(found.iter().map(|(version, _)| version).collect::<Vec<_>>(), ["before", "after"]);
    assert_eq!(found[1].1, id);
}
