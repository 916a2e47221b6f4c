//! A server under load: the raw writer or a gateway.

use std::net::{SocketAddr, SocketAddrV4};

use serde_json::{Value, json};
use tidings_tests::process::Process;
use tidings_tests::{Gateway, RedisServer, Setup};

use crate::child::Child;
use crate::options::{Options, Store};
use crate::sample::Sample;
use crate::shape::Shape;
use crate::tally::MARK;

/// A server under load. Dropping it ends it.
pub struct Target {
    /// What the report calls it.
    pub name: String,
    address: SocketAddrV4,
    kind: Kind,
}

enum Kind {
    Writer(Child),
    Gateway { gateway: Box<Gateway>, publisher: reqwest::Client, event: Value, _redis: Option<RedisServer> },
}

impl Target {
    /// The raw writer.
    pub fn writer(sample: &Sample) -> Self {
        let mut child = Child::start(&["writer".to_owned()]);
        child.tell(&serde_json::to_string(sample).expect("a sample is JSON"));
        let address = v4(child.answer());
        Self { name: "raw writer".to_owned(), address, kind: Kind::Writer(child) }
    }

    /// A gateway with so many workers.
    pub async fn gateway(options: &Options, workers: u16) -> Self {
        let redis = match options.store {
            Store::Memory => None,
            Store::Redis => Some(RedisServer::volatile().await),
        };
        let setup = match &redis {
            None => Setup::memory(),
            Some(redis) => Setup::redis(&redis.url()),
        };
        // The defaults, but for heartbeats: the raw writer has none, so they are as rare as can be set.
        let setup = setup.with("server.workers", &workers.to_string()).with("beacon.interval", "5s");
        let gateway = Box::new(setup.with("stream.heartbeat", "60s").start().await);
        let name = format!("gateway, {workers} worker{}", if workers == 1 { "" } else { "s" });
        let address = v4(gateway.public());
        let publisher = reqwest::Client::builder().no_proxy().build().expect("a client");
        let kind = Kind::Gateway { gateway, publisher, event: event(options.data), _redis: redis };
        Self { name, address, kind }
    }

    /// Where its clients connect.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// The process that is measured.
    pub fn process(&mut self) -> &mut Process {
        match &mut self.kind {
            Kind::Writer(child) => &mut child.process,
            Kind::Gateway { gateway, .. } => gateway.process(),
        }
    }

    /// The shapes in which it can be sent events.
    pub fn shapes(&self, burst: u32) -> Vec<Shape> {
        let mut shapes = vec![Shape::Single, Shape::Burst(burst)];
        if matches!(self.kind, Kind::Writer(_)) {
            shapes.push(Shape::Joined(burst));
        }
        shapes
    }

    /// Has it send one go of events to all that are connected.
    pub async fn send(&mut self, shape: Shape) {
        match &mut self.kind {
            Kind::Writer(child) => {
                child.tell(&match shape {
                    Shape::Single => "1 1".to_owned(),
                    Shape::Burst(events) => format!("{events} 1"),
                    Shape::Joined(events) => format!("1 {events}"),
                });
                child.answer::<()>();
            }
            Kind::Gateway { gateway, publisher, event, .. } => {
                let body = match shape {
                    Shape::Single => event.clone(),
                    _ => vec![event.clone(); shape.events() as usize].into(),
                };
                let url = format!("http://{}/v1/publish", gateway.admin());
                let response = publisher.post(url).json(&body).send().await.expect("the gateway answers");
                assert_eq!(response.status(), 200, "the gateway does not publish");
            }
        }
    }
}

/// An event with so many bytes of data.
fn event(bytes: u32) -> Value {
    let around = json!({"filling": MARK}).to_string().len();
    let filling = "x".repeat(bytes as usize - around);
    json!({"to": "load", "type": "load.measured", "version": "7", "data": {"filling": format!("{filling}{MARK}")}})
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => panic!("{address} is not IPv4"),
    }
}
