//! The publisher over topologies: what it was told is published is there, once, whatever happens to a primary.

mod backlog;
mod cluster;
mod doubt;
mod loading;
mod sentinel;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::future::{join, join_all};
use tidings_publisher::{Event, Namespace, Partitions, Publisher};
use tidings_shared::{Address, Message};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Node, eventually};

/// Enough attempts, over half a minute, for any failover.
const RETRIES: u32 = 30;
const ADDRESSES: usize = 40;
const ROUNDS: usize = 30;

fn slot_of(address: &str) -> u16 {
    Namespace::default().keys(Partitions::CLUSTER.of(&address.parse().unwrap())).slot()
}

fn builder(url: &str) -> tidings_publisher::Builder {
    Publisher::builder(url).retries(RETRIES).timeout(Duration::from_secs(1))
}

/// Publishes numbered events to many addresses, one after the other each, while `fault` happens. The id of each version
/// of each address.
async fn publish_through(publisher: &Publisher, fault: impl Future) -> HashMap<(String, String), String> {
    let one_address = async |n: usize| {
        let address = format!("o/{n}");
        let mut acknowledged = Vec::new();
        for version in 0..ROUNDS {
            let version = version.to_string();
            let receipt = publisher.publish(Event::refresh(&address).version(&version)).await.unwrap();
            acknowledged.push(((address.clone(), version), receipt.ids[&address].to_string()));
            // Spread over the time of the fault.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        acknowledged
    };
    let (acknowledged, _) = join(join_all((0..ADDRESSES).map(one_address)), fault).await;
    acknowledged.into_iter().flatten().collect()
}

/// Waits until some events were published, so that a fault falls among them.
async fn under_way(publisher: &Publisher) {
    eventually("events are published", PATIENCE, async || publisher.stats().published > 100).await;
}

/// Has a primary acknowledge nothing more, so that its replicas have all that it did acknowledge. Or it
/// could be stopped between the two, and a failover loses what only the primary has.
async fn hold_writes(primary: &Node) {
    let _: String = primary.ask("CLIENT", &["PAUSE", "60000", "WRITE"]).await.unwrap();
    // It writes to its replicas before it looks for the next command.
    let _: String = primary.ask("PING", &[]).await.unwrap();
}

/// What is in the stream of an address: versions with their ids, in order.
async fn stream(node: &Node, partitions: Partitions, address: &str) -> Vec<(String, String)> {
    let address: Address = address.parse().unwrap();
    let key = Namespace::default().keys(partitions.of(&address)).stream(&address);
    let entries: Vec<(String, BTreeMap<String, String>)> = node.ask("XRANGE", &[&key, "-", "+"]).await.unwrap();
    let version = |fields: &BTreeMap<String, String>| {
        let body: serde_json::Value = serde_json::from_str(Message::decode(&fields["m"]).unwrap().body).unwrap();
        body["version"].as_str().unwrap_or_default().to_owned()
    };
    entries.iter().map(|(id, fields)| (version(fields), id.clone())).collect()
}

/// Each acknowledged event is in its stream under its id, in order, and nothing twice.
fn assert_once(address: &str, found: &[(String, String)], acknowledged: &HashMap<(String, String), String>) {
    let expected: Vec<_> = (0..ROUNDS).map(|version| version.to_string()).collect();
    let versions: Vec<_> = found.iter().map(|(version, _)| version.clone()).collect();
    assert_eq!(versions, expected, "{address}");
    for (version, id) in found {
        assert_eq!(&acknowledged[&(address.to_owned(), version.clone())], id, "{address}, {version}");
    }
}
