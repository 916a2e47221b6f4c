//! A server that is reached by name: the name moves, and the old server stays writable.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tidings_publisher::tail::{Follow, Line, Tail};
use tidings_publisher::{Builder, Event, Partitions, Publisher};
use tidings_tests::port::Port;
use tidings_tests::process::Process;
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Gateway, Hosts, Setup, eventually};
use tokio::time::{sleep, timeout};

use super::gateway::Stage;

const NAME: &str = "store.test";
const OLD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const NEW: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
/// Several times what two look-ups and a reconnect take.
const FOLLOWED: Duration = Duration::from_secs(60);
/// Several look-ups.
const LOOK_UPS: Duration = Duration::from_secs(25);
/// What a gateway logs when it has left a server because its name has moved.
const LEFT: &str = "server name moved";
/// What a gateway logs when it loses a server, for whichever reason.
const LOST: &str = "the way to the store is broken";

/// Two servers, and a name that leads to the old one.
struct Servers {
    hosts: Hosts,
    port: Port,
    _processes: [Process; 2],
}

impl Servers {
    async fn start() -> Self {
        let hosts = Hosts::private();
        hosts.set(NAME, &[OLD]);
        let port = Port::free();
        let start = |ip: IpAddr| {
            let mut command = Command::new("redis-server");
            command.args(["--bind", &ip.to_string(), "--port", &port.number().to_string()]);
            command.args(["--save", "", "--appendonly", "no"]).stdout(Stdio::null());
            Process::start(&mut command)
        };
        let servers = Self { hosts, _processes: [OLD, NEW].map(start), port };
        for ip in [OLD, NEW] {
            let up = async || servers.try_connect(ip).await.is_some();
            eventually("the server answers", PATIENCE, up).await;
        }
        servers
    }

    fn url(&self, host: &str) -> String {
        format!("redis://{host}:{}", self.port.number())
    }

    /// Past the name.
    fn direct(&self, ip: IpAddr) -> Builder {
        Publisher::builder(self.url(&ip.to_string())).retries(0).timeout(Duration::from_secs(1))
    }

    async fn try_connect(&self, ip: IpAddr) -> Option<MultiplexedConnection> {
        let client = redis::Client::open(self.url(&ip.to_string())).unwrap();
        client.get_multiplexed_async_connection().await.ok()
    }

    /// A field of the hash of the epoch.
    async fn field(&self, ip: IpAddr, name: &str) -> Option<String> {
        let mut connection = self.try_connect(ip).await.unwrap();
        let mut ask = redis::cmd("HGET");
        ask.arg("{tidings:0}:e").arg(name).query_async(&mut connection).await.unwrap()
    }

    /// How many commands of publishers came here.
    async fn journal(&self, ip: IpAddr) -> u64 {
        let mut connection = self.try_connect(ip).await.unwrap();
        redis::cmd("XLEN").arg("{tidings:0}:j").query_async(&mut connection).await.unwrap()
    }

    /// Moves the name, and waits until the gateways and the publishers of the stage are there.
    async fn move_to(&self, ip: IpAddr, gateways: &[Gateway]) {
        let lefts: Vec<usize> = gateways.iter().map(lefts_of).collect();
        let other = if ip == OLD { NEW } else { OLD };
        self.hosts.set(NAME, &[ip]);
        for (gateway, before) in gateways.iter().zip(lefts) {
            eventually("the gateway leaves", FOLLOWED, async || lefts_of(gateway) > before).await;
            gateway.ready().await;
        }
        let is_fenced = async || self.field(other, "fenced").await.as_deref() == Some("1");
        eventually("the other one is fenced", FOLLOWED, is_fenced).await;
        let before = self.journal(ip).await;
        let comes = async || self.journal(ip).await > before + 5;
        eventually("events come to the server of the name", FOLLOWED, comes).await;
    }
}

/// How often this gateway has left a server because of its name.
fn lefts_of(gateway: &Gateway) -> usize {
    count(gateway, LEFT)
}

fn count(gateway: &Gateway, what: &str) -> usize {
    gateway.log().iter().filter(|line| line.contains(what)).count()
}

#[tokio::test]
async fn all_follow_a_name_there_and_back() {
    let servers = Servers::start().await;
    let stage = Stage::over(&servers.url(NAME), Partitions::ONE).await;
    stage.publish_through(servers.move_to(NEW, &stage.gateways)).await;
    stage.publish_through(servers.move_to(OLD, &stage.gateways)).await;
    stage.assert_converged().await;
}

#[tokio::test]
async fn a_gateway_that_does_not_look_is_deaf() {
    let servers = Servers::start().await;
    let setup = Setup::redis(&servers.url(NAME)).without(&["watch"]);
    let stage = Stage::of(setup, Publisher::builder(servers.url(NAME)), Partitions::ONE).await;
    let followed = async {
        servers.hosts.set(NAME, &[NEW]);
        let comes = async || servers.journal(NEW).await > 20;
        eventually("the publisher follows the name", FOLLOWED, comes).await;
    };
    stage.publish_through(followed).await;
    stage.assert_lost().await;
}

#[tokio::test]
async fn who_comes_late_loses_nothing_in_silence_on_the_old_server() {
    let servers = Servers::start().await;
    let late = servers.direct(OLD).connect().await.unwrap();
    let gateway = Setup::redis(&servers.url(NAME)).start().await;
    late.publish(Event::refresh("a")).await.unwrap();
    let epoch = servers.field(OLD, "epoch").await;
    servers.hosts.set(NAME, &[NEW]);
    eventually("the gateway leaves", FOLLOWED, async || lefts_of(&gateway) > 0).await;
    gateway.ready().await;
    let refused = late.publish(Event::refresh("a")).await.unwrap_err();
    assert!(refused.is_retryable(), "{refused}");
    // A gateway whose resolver is behind, and which starts just now.
    let behind = Setup::redis(&servers.url(&OLD.to_string())).start_unready().await;
    let tries = async || behind.log().iter().any(|line| line.contains("READONLY"));
    eventually("it is refused too", PATIENCE, tries).await;
    assert_eq!(behind.admin_get("/readyz").await.0, 503);
    late.publish(Event::refresh("a")).await.unwrap_err();
    // The name is moved back, and the gateway that was at the new server comes back with it.
    servers.hosts.set(NAME, &[OLD]);
    eventually("it comes back", FOLLOWED, async || lefts_of(&gateway) > 1).await;
    behind.ready().await;
    late.publish(Event::refresh("a")).await.unwrap();
    assert_ne!(servers.field(OLD, "epoch").await, epoch, "events of the other server are missing");
}

#[tokio::test]
async fn without_the_fence_what_comes_late_is_lost() {
    let servers = Servers::start().await;
    let late = servers.direct(OLD).connect().await.unwrap();
    let setup = Setup::redis(&servers.url(NAME)).without(&["fence"]);
    let gateway = setup.start().await;
    servers.hosts.set(NAME, &[NEW]);
    let left = async || count(&gateway, LOST) > 0;
    eventually("the gateway leaves", FOLLOWED, left).await;
    gateway.ready().await;
    late.publish(Event::refresh("a")).await.unwrap();
}

#[tokio::test]
async fn look_ups_that_fail_or_tell_several_addresses_change_nothing() {
    let servers = Servers::start().await;
    let gateway = Setup::redis(&servers.url(NAME)).start().await;
    for addresses in [&[NEW, OLD][..], &[]] {
        servers.hosts.set(NAME, addresses);
        sleep(LOOK_UPS).await;
    }
    // One of two names that is missing twice, but not in a row, is covered by unit tests.
    assert_eq!(count(&gateway, LOST), 0);
    assert_eq!(gateway.admin_get("/readyz").await.0, 200);
    assert_eq!(servers.field(OLD, "fenced").await.as_deref(), Some("0"));
}

#[tokio::test]
async fn a_server_that_takes_no_login_is_not_followed() {
    let servers = Servers::start().await;
    let gateway = Setup::redis(&servers.url(NAME)).start().await;
    let mut new = servers.try_connect(NEW).await.unwrap();
    let set = async |new: &mut MultiplexedConnection, users: &str| {
        let mut command = redis::cmd("ACL");
        command.arg(&["SETUSER", "default", users]).exec_async(new).await.unwrap();
    };
    set(&mut new, ">secret").await;
    set(&mut new, "resetpass").await;
    servers.hosts.set(NAME, &[NEW]);
    sleep(LOOK_UPS).await;
    assert_eq!((count(&gateway, LOST), gateway.admin_get("/readyz").await.0), (0, 200));
    set(&mut new, "nopass").await;
    eventually("the gateway leaves", FOLLOWED, async || lefts_of(&gateway) > 0).await;
}

#[tokio::test]
async fn a_tail_follows_a_name() {
    let servers = Servers::start().await;
    let follow = Follow {
        addresses: vec!["a".parse().unwrap()],
        cursor: None,
        namespace: Default::default(),
        partitions: None,
        tls: Default::default(),
    };
    let mut tail = Tail::start(&servers.url(NAME), follow).await.unwrap();
    let before = servers.direct(OLD).connect().await.unwrap();
    before.publish(Event::refresh("a").version("1")).await.unwrap();
    let mut told = async |what: &str| {
        let comes = async {
            loop {
                if let Line::Data { json, .. } = tail.next().await.unwrap()
                    && json.contains(what)
                {
                    return;
                }
            }
        };
        timeout(FOLLOWED, comes).await.unwrap_or_else(|_| panic!("{what} never came"));
    };
    told("\"version\":\"1\"").await;
    let after = servers.direct(NEW).connect().await.unwrap();
    after.publish(Event::refresh("a").version("2")).await.unwrap();
    servers.hosts.set(NAME, &[NEW]);
    told("\"resync\":true").await;
    after.publish(Event::refresh("a").version("3")).await.unwrap();
    told("\"version\":\"3\"").await;
}
