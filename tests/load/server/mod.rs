//! A server under load, whichever it is: where its clients connect, how it is given events, what it has used.

mod nchan;
mod spec;

use std::fmt;
use std::net::SocketAddr;

use reqwest::Client;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tidings_publisher::Publisher;
use tidings_tests::{Certificate, Gateway, Setup, Standalone};
use tokio::task::{JoinHandle, JoinSet};

pub use nchan::Nchan;
pub use spec::{Spec, Stream, Way};

use crate::child::Child;
use crate::mark::{Mark, now};
use crate::options::{Options, Over, Publishing, Store};
use crate::sample::Sample;
use crate::usage::Usage;
use crate::writer;
use spec::{Publish, fill};

/// A server under load. Dropping it ends it, unless it is a peer that was running before.
pub struct Server {
    /// How it is spoken to.
    pub spec: Spec,
    /// Bytes of an event's data.
    data: usize,
    http: Client,
    kind: Kind,
}

enum Kind {
    Raw(Child),
    Gateway {
        gateway: Box<Gateway>,
        redis: Option<Box<Standalone>>,
        /// If it is given events past the gateway.
        publisher: Option<Publisher>,
        _certificate: Option<Certificate>,
    },
    Nchan {
        _nchan: Nchan,
    },
    Peer,
}

/// What tells gateways of a run apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayKind {
    /// Worker threads.
    pub workers: u16,
    /// How its clients come.
    pub over: Over,
    /// Streams on each of their connections.
    pub streams: u32,
}

impl GatewayKind {
    /// As most scenarios have it.
    pub fn plain(workers: u16) -> Self {
        Self { workers, over: Over::Plain, streams: 1 }
    }
}

impl fmt::Display for GatewayKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workers, over, streams } = self;
        write!(f, "gateway, {workers} worker{}", if *workers == 1 { "" } else { "s" })?;
        f.write_str(match over {
            Over::Plain => "",
            Over::Tls => ", HTTPS",
            Over::H2 => ", HTTPS, HTTP/2",
            Over::H2c => ", HTTP/2",
        })?;
        if over.is_shared() { write!(f, " of {streams}") } else { Ok(()) }
    }
}

/// An event to be sent: its address and serial.
pub type Event = (String, u32);

impl Server {
    /// The raw writer of what was sampled.
    pub fn raw(options: &Options, sample: &Sample) -> Self {
        let mut child = Child::start("writer");
        child.tell(sample);
        let address: SocketAddr = child.answer();
        let publish = Publish {
            method: String::new(),
            url: String::new(),
            headers: Vec::new(),
            body: String::new(),
            array: true,
        };
        let mut spec = Spec::local("raw writer", address.port(), writer::stream(), publish);
        spec.pids = vec![child.process.id()];
        Self::new(spec, options, Kind::Raw(child))
    }

    /// A gateway of this kind, on the store of the options.
    pub async fn gateway(options: &Options, kind: GatewayKind) -> Self {
        Self::limited_gateway(options, kind, 0).await
    }

    /// The same with no more than so many open files; 0 is as many as this process may have.
    pub async fn limited_gateway(options: &Options, kind: GatewayKind, files: u32) -> Self {
        let GatewayKind { workers, over, streams } = kind;
        let redis = match (options.store, options.publish) {
            (Store::Memory, Publishing::Http) => None,
            _ => Some(Box::new(Standalone::volatile().await)),
        };
        let publisher = match (&redis, options.publish) {
            (Some(redis), Publishing::Redis) => Some(Publisher::connect(redis.url()).await.expect("Redis answers")),
            _ => None,
        };
        let setup = match &redis {
            None => Setup::memory(),
            Some(redis) => Setup::redis(&redis.url()),
        };
        let setup = setup.with("server.workers", &workers.to_string()).with("limits.streams", &streams.to_string());
        let mut setup = tuned(setup, options).files(files);
        let certificate = over.is_secure().then(Certificate::new);
        if let Some(certificate) = &certificate {
            setup = certificate.set(setup);
        }
        let mut gateway = Box::new(setup.start().await);
        let certificate_der = certificate.as_ref().map(|certificate| certificate.der().to_vec());
        let way = Way { over, streams, certificate: certificate_der.unwrap_or_default() };
        let stream = Stream { way, ..stream() };
        let mut spec = Spec::local(&kind.to_string(), gateway.public().port(), stream, publish(gateway.admin()));
        spec.pids = vec![gateway.process().id()];
        Self::new(spec, options, Kind::Gateway { gateway, redis, publisher, _certificate: certificate })
    }

    /// nchan; `None` where it is not installed.
    pub async fn nchan(options: &Options) -> Option<Self> {
        let nchan = Nchan::start().await?;
        Some(Self::new(nchan.spec(), options, Kind::Nchan { _nchan: nchan }))
    }

    /// A server that runs already.
    pub fn peer(options: &Options, spec: Spec) -> Self {
        Self::new(spec, options, Kind::Peer)
    }

    fn new(spec: Spec, options: &Options, kind: Kind) -> Self {
        let http = Client::builder().no_proxy().build().expect("a client");
        Self { spec, data: options.data, http, kind }
    }

    /// Whether it is the raw writer.
    pub fn is_raw(&self) -> bool {
        matches!(self.kind, Kind::Raw(_))
    }

    /// Whether it is ours: then a fault of it fails the run.
    pub fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Raw(_) | Kind::Gateway { .. })
    }

    /// The gateway, if it is one.
    pub fn as_gateway(&self) -> Option<&Gateway> {
        match &self.kind {
            Kind::Gateway { gateway, .. } => Some(gateway),
            _ => None,
        }
    }

    /// The Redis behind it, if it has one.
    pub fn redis(&self) -> Option<&Standalone> {
        match &self.kind {
            Kind::Gateway { redis, .. } => redis.as_deref(),
            _ => None,
        }
    }

    /// Has a gateway killed, and another process take its place.
    pub async fn replace(&mut self) {
        if let Kind::Gateway { gateway, .. } = &mut self.kind {
            gateway.kill();
            gateway.start().await;
            gateway.ready().await;
            self.spec.pids = vec![gateway.process().id()];
        }
    }

    /// What it has used until now, without what is behind it.
    pub fn usage(&self) -> Usage {
        Usage::of(&self.spec.pids)
    }

    /// Has it send these events, all at once. The raw writer joins them into one write for each connection, if it is
    /// told to, and has written them when this returns; others have taken them when the task ends.
    pub fn send(&mut self, events: Vec<Event>, joined: bool) -> JoinHandle<()> {
        let data = self.data;
        let data = move |serial| Mark { at: now(), serial }.data(data);
        if let Kind::Raw(child) = &mut self.kind {
            let events = events.into_iter().map(|(address, serial)| (address, data(serial))).collect();
            child.tell(&writer::Order { joined, events });
            child.answer::<()>();
            return tokio::spawn(async {});
        }
        if let Kind::Gateway { publisher: Some(publisher), .. } = &self.kind {
            let publisher = publisher.clone();
            return tokio::spawn(async move {
                let events = events.iter().map(|(to, serial)| event(to, &data(*serial))).collect();
                for receipt in publisher.publish_all(events).await {
                    receipt.expect("Redis takes it");
                }
            });
        }
        let (http, publish, name) = (self.http.clone(), self.spec.publish.clone(), self.spec.name.clone());
        tokio::spawn(async move {
            let mut requests = JoinSet::new();
            if publish.array && events.len() > 1 {
                let bodies: Vec<_> =
                    events.iter().map(|(to, serial)| fill(&publish.body, to, &data(*serial))).collect();
                requests.spawn(post(&http, &publish, &events[0].0, &format!("[{}]", bodies.join(","))));
            } else {
                for (to, serial) in &events {
                    requests.spawn(post(&http, &publish, to, &fill(&publish.body, to, &data(*serial))));
                }
            }
            while let Some(status) = requests.join_next().await {
                let status = status.expect("a request does not panic").expect("the server answers");
                assert!(status.is_success(), "{name} answers a publish with {status}");
            }
        })
    }
}

/// The same event as by HTTP.
fn event(to: &str, data: &str) -> tidings_publisher::Event {
    let data = serde_json::value::RawValue::from_string(data.to_owned()).expect("JSON");
    tidings_publisher::Event::refresh(to).event_type("load.measured").version("7").data(data)
}

fn post(
    http: &Client,
    publish: &Publish,
    address: &str,
    body: &str,
) -> impl Future<Output = reqwest::Result<reqwest::StatusCode>> + use<> {
    let method = publish.method.parse().expect("a method");
    let headers = publish.headers.iter().filter_map(|header| header.split_once(':'));
    let headers: HeaderMap = headers
        .map(|(name, value)| -> (HeaderName, HeaderValue) {
            (name.parse().expect("a header's name"), value.trim().parse().expect("a header's value"))
        })
        .collect();
    let url = fill(&publish.url, address, "");
    let request = http.request(method, url).headers(headers).body(body.to_owned());
    async move {
        let answer = request.send().await?;
        let status = answer.status();
        // Or the connection is not used again.
        answer.bytes().await?;
        Ok(status)
    }
}

/// The defaults, but for heartbeats, which nobody else in a run has, so they are as rare as can be set.
pub fn tuned(setup: Setup, options: &Options) -> Setup {
    let setup = setup.with("beacon.interval", "5s").with("stream.heartbeat", "60s");
    options.set.iter().fold(setup, |setup, (key, value)| setup.with(key, value))
}

/// How a stream of a gateway is asked for.
pub fn stream() -> Stream {
    Stream {
        path: "/v1/events?{addresses}".to_owned(),
        address: "topic={address}".to_owned(),
        join: "&".to_owned(),
        ready: "tidings.ready".to_owned(),
        headers: Vec::new(),
        way: Way::default(),
    }
}

fn publish(admin: SocketAddr) -> Publish {
    Publish {
        method: "POST".to_owned(),
        url: format!("http://{admin}/v1/publish"),
        headers: vec!["Content-Type: application/json".to_owned()],
        body: r#"{"to":"{address}","type":"load.measured","version":"7","data":{data}}"#.to_owned(),
        array: true,
    }
}
