//! Brings calls to the primaries of their slots, and follows where these send them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::{Pipeline, Script, Value};
use futures_util::future::join_all;
use tidings_shared::script::{self, Call};
use tokio::time::{Instant, timeout_at};

use super::link::Link;
use crate::store::{Generation, Map, Primaries, Server, Verdict, command_failure};
use crate::{Error, ErrorKind};

/// Owns the links to all primaries.
pub(super) struct Courier {
    primaries: Primaries,
    /// The publish script, which is another on a cluster.
    script: &'static str,
    /// The name by which servers know it.
    hash: String,
    links: Mutex<HashMap<Server, Arc<Link>>>,
    timeout: Duration,
}

/// A call on its way.
pub(super) struct Errand<'a> {
    what: What<'a>,
    slot: u16,
    /// Whose answer it brings, by place.
    at: usize,
    /// Where a server sent it for this once.
    sent_to: Option<Server>,
    /// Whether the server needs the script itself.
    whole: bool,
}

#[derive(Clone, Copy)]
enum What<'a> {
    /// A call of the publish script.
    Publish(&'a Call),
    /// The arguments of an `HMGET`.
    Read(&'a [String]),
}

impl What<'_> {
    /// The command's name, for errors.
    fn command(self) -> &'static str {
        match self {
            Self::Publish(_) => "EVALSHA",
            Self::Read(_) => "HMGET",
        }
    }
}

/// An errand with its answer, or without if it has to go on.
type Settled<'a> = (Errand<'a>, Option<Result<Value, Error>>);

impl<'a> Errand<'a> {
    /// A call of the publish script.
    pub(super) fn publish(call: &'a Call, slot: u16) -> Self {
        Self::new(What::Publish(call), slot)
    }

    /// An `HMGET` with these arguments.
    pub(super) fn read(args: &'a [String], slot: u16) -> Self {
        Self::new(What::Read(args), slot)
    }

    fn new(what: What<'a>, slot: u16) -> Self {
        Self { what, slot, at: 0, sent_to: None, whole: false }
    }
}

/// How often a call is sent on within one attempt: to another server, or to the same with the script itself. A move of a
/// slot needs one, a server that is new two; more are a cluster in disorder.
const HOPS: usize = 5;

impl Courier {
    /// A courier who gives up what takes longer than `timeout`.
    pub(super) fn new(primaries: Primaries, timeout: Duration) -> Self {
        let script = if primaries.is_cluster() { script::cluster::PUBLISH } else { script::PUBLISH };
        let hash = Script::new(script).get_hash().to_owned();
        Self { primaries, script, hash, links: Mutex::default(), timeout }
    }

    /// Connects to the primaries of these slots.
    pub(super) async fn connect(&self, slots: impl Iterator<Item = u16>) -> Result<(), Error> {
        let deadline = self.deadline();
        let (map, generation) = self.map(deadline).await?;
        let mut servers: Vec<&Server> = slots.map(|slot| map.served(slot)).collect::<Result<_, _>>()?;
        servers.sort();
        servers.dedup();
        let opened = servers.into_iter().map(async |server| {
            let link = self.link(server, &map);
            timeout_at(deadline, link.connection()).await.unwrap_or_else(|_| Err(self.late(server)))
        });
        for opened in join_all(opened).await {
            if let Err(error) = opened {
                self.primaries.distrust(generation).await;
                return Err(error);
            }
        }
        Ok(())
    }

    /// When what begins now is given up.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Sends each call once, those for a server in one write and in order, and on to where its server says. One answer
    /// for each, in their order.
    pub(super) async fn run(&self, mut waiting: Vec<Errand<'_>>, deadline: Instant) -> Vec<Result<Value, Error>> {
        let lost = || Err(Error::told(ErrorKind::Unavailable, "the servers of the cluster send it to one another"));
        let mut answers: Vec<Result<Value, Error>> = waiting.iter().map(|_| lost()).collect();
        waiting.iter_mut().enumerate().for_each(|(at, errand)| errand.at = at);
        for _ in 0..=HOPS {
            if waiting.is_empty() {
                break;
            }
            let settled = self.round(waiting, deadline).await;
            waiting = Vec::new();
            for (errand, answer) in settled {
                match answer {
                    Some(answer) => answers[errand.at] = answer,
                    None => waiting.push(errand),
                }
            }
            // So that those of an address keep their order.
            waiting.sort_by_key(|errand| errand.at);
        }
        answers
    }

    /// Sends all that waits, to all servers at once. What comes back without an answer has to go on.
    async fn round<'a>(&self, waiting: Vec<Errand<'a>>, deadline: Instant) -> Vec<Settled<'a>> {
        let (map, generation) = match self.map(deadline).await {
            Ok(known) => known,
            Err(error) => return fail(waiting, &error),
        };
        let mut settled = Vec::with_capacity(waiting.len());
        let mut by_server: BTreeMap<Server, Vec<Errand<'a>>> = BTreeMap::new();
        for errand in waiting {
            match errand.sent_to.clone().map_or_else(|| map.served(errand.slot).cloned(), Ok) {
                Ok(server) => by_server.entry(server).or_default().push(errand),
                Err(error) => settled.push((errand, Some(Err(error)))),
            }
        }
        let mut doubtful = !settled.is_empty();
        let visits = by_server.into_iter().map(async |(server, errands)| {
            let link = self.link(&server, &map);
            let answers = self.visit(&server, &link, &errands, deadline).await;
            (server, errands, answers)
        });
        for (server, errands, answers) in join_all(visits).await {
            match answers {
                Ok(values) => {
                    doubtful |= values.iter().any(|value| is_elsewhere(value, &server));
                    for (errand, value) in errands.into_iter().zip(values) {
                        settled.push(self.settle(errand, value, &server).await);
                    }
                }
                Err(error) => {
                    doubtful = true;
                    settled.extend(fail(errands, &error));
                }
            }
        }
        if doubtful {
            self.primaries.distrust(generation).await;
        }
        settled
    }

    /// One pipeline to one server.
    async fn visit(
        &self,
        server: &Server,
        link: &Link,
        errands: &[Errand<'_>],
        deadline: Instant,
    ) -> Result<Vec<Value>, Error> {
        let opened = timeout_at(deadline, link.connection()).await;
        let (mut connection, generation) = opened.unwrap_or_else(|_| Err(self.late(server)))?;
        let mut pipeline = Pipeline::with_capacity(errands.len());
        for errand in errands {
            if errand.sent_to.is_some() {
                pipeline.cmd("ASKING");
            }
            match errand.what {
                What::Publish(Call { keys, args, .. }) if errand.whole => {
                    pipeline.cmd("EVAL").arg(self.script).arg(keys.len()).arg(keys).arg(args)
                }
                What::Publish(Call { keys, args, .. }) => {
                    pipeline.cmd("EVALSHA").arg(&self.hash).arg(keys.len()).arg(keys).arg(args)
                }
                What::Read(args) => pipeline.cmd("HMGET").arg(args),
            };
        }
        let count = pipeline.len();
        let values = match timeout_at(deadline, connection.send_packed_commands(&pipeline, 0, count)).await {
            Ok(values) => {
                let command = errands.first().map_or("", |errand| errand.what.command());
                values.map_err(|error| command_failure(server, command, error))
            }
            Err(_) => Err(self.late(server)),
        };
        // A connection that failed or is silent may be dead. A server that says it is a replica now stays one: only a
        // new connection may lead to the new primary.
        if values.as_ref().map_or(true, |values| values.iter().any(|value| is_elsewhere(value, server))) {
            link.discard(generation).await;
        }
        let mut values = values?.into_iter();
        let answers = errands.iter().map(|errand| {
            if errand.sent_to.is_some() {
                values.next();
            }
            values.next().unwrap_or_default()
        });
        Ok(answers.collect())
    }

    /// What an answer means for its errand.
    async fn settle<'a>(&self, errand: Errand<'a>, value: Value, server: &Server) -> Settled<'a> {
        let error = match value.extract_error() {
            Ok(value) => return (errand, Some(Ok(value))),
            Err(error) => error,
        };
        let errand = Errand { sent_to: None, whole: false, ..errand };
        match Verdict::of(&error, server) {
            Verdict::Moved { .. } | Verdict::Ask(_) if !self.primaries.is_cluster() => {
                let told = format!("{server} is part of a cluster: use redis+cluster://");
                (errand, Some(Err(Error::told(ErrorKind::InvalidUrl, told))))
            }
            Verdict::Moved { slot, to } => {
                self.primaries.moved(slot, to).await;
                (errand, None)
            }
            Verdict::Ask(to) => (Errand { sent_to: Some(to), ..errand }, None),
            Verdict::Teach => (Errand { whole: true, ..errand }, None),
            Verdict::Elsewhere(_) | Verdict::Later | Verdict::Never(_) => {
                let error = command_failure(server, errand.what.command(), error);
                (errand, Some(Err(error)))
            }
        }
    }

    async fn map(&self, deadline: Instant) -> Result<(Arc<Map>, Generation), Error> {
        let late =
            |_| Err(Error::told(ErrorKind::Timeout, format!("no server told the primary in {:?}", self.timeout)));
        timeout_at(deadline, self.primaries.map()).await.unwrap_or_else(late)
    }

    /// The link to a server; those to servers that are no primaries any more are let go.
    fn link(&self, server: &Server, map: &Map) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(server) {
            return link.clone();
        }
        let primaries = map.servers();
        links.retain(|server, _| primaries.contains(server));
        let link = Arc::new(Link::new(server.clone(), self.primaries.clone(), self.script, self.timeout));
        links.insert(server.clone(), link.clone());
        link
    }

    fn late(&self, server: &Server) -> Error {
        Error::told(ErrorKind::Timeout, format!("{server} did not answer in {:?}", self.timeout))
    }
}

fn fail<'a>(errands: Vec<Errand<'a>>, error: &Error) -> Vec<Settled<'a>> {
    errands.into_iter().map(|errand| (errand, Some(Err(error.clone())))).collect()
}

fn is_elsewhere(value: &Value, server: &Server) -> bool {
    let Value::ServerError(error) = value else { return false };
    matches!(Verdict::of(&error.clone().into(), server), Verdict::Elsewhere(_))
}
