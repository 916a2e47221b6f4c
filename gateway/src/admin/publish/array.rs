//! An array at `/v1/publish`: bounded in number, and taken chunk by chunk.

use std::fmt;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use tidings_publisher::Receipt;
use tidings_shared::{Event, Invalid};

use super::{count, count_invalid};
use crate::metrics::{Metrics, Publish};
use crate::problem::{Kind, Problem};
use crate::store::{PublishError, Store};

/// The most events of an array.
pub const MAX_EVENTS: usize = 10_000;
/// Events that are read and published at a time. Between two chunks other requests have their turn.
const CHUNK: usize = 100;

/// The items of an array, not read yet, so that each costs no more than its place in the body.
struct RawArray<'a> {
    /// The first of them, up to the bound.
    items: Vec<&'a RawValue>,
    /// How many there are.
    count: usize,
}

/// Publishes chunks, and writes the answer as they are done.
struct ArrayRun<'a> {
    store: &'a Store,
    metrics: &'a Metrics,
    /// What the store said when it took no event of a chunk. The events that follow are not tried:
    /// each chunk would wait for the store again.
    away: Option<Problem>,
    status: StatusCode,
    json: Vec<u8>,
}

/// What became of one event of an array.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Published(Receipt),
    Failed { error: Problem },
}

/// Publishes an array. Unless it may be taken in `partial`, it is checked whole first: if one of
/// its events is wrong, none is published. Then each stands for itself: if only some are published,
/// the answer is 207, with an `error` in place of the others.
pub async fn publish_array(
    body: &[u8],
    partial: bool,
    store: &Store,
    metrics: &Metrics,
) -> Result<HttpResponse, Problem> {
    let items = read(body).inspect_err(|_| count_invalid(metrics))?;
    if !partial {
        check(&items).await.inspect_err(|_| count_invalid(metrics))?;
    }
    let mut run = ArrayRun::new(store, metrics);
    for (number, chunk) in items.chunks(CHUNK).enumerate() {
        let read = |(at, item): (usize, &&RawValue)| read_event(number * CHUNK + at, item);
        run.publish(chunk.iter().enumerate().map(read).collect()).await?;
        tokio::task::yield_now().await;
    }
    Ok(run.finish())
}

fn read(body: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    let RawArray { items, count } = serde_json::from_slice(body)?;
    if count > MAX_EVENTS {
        let detail = format!("the array has {count} events; one request takes at most {MAX_EVENTS}");
        return Err(Problem::new(Kind::PayloadTooLarge, detail));
    }
    Ok(items)
}

/// Checks all events. They are read again when it is their turn: what is kept of an event until
/// then takes many times its bytes in the body.
async fn check(items: &[&RawValue]) -> Result<(), Problem> {
    for (at, item) in items.iter().enumerate() {
        read_event(at, item)?;
        if at % CHUNK == CHUNK - 1 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Reads and checks one event of an array. An error names its field as `[3].to[1]`, or `[3]` if it
/// is no event at all.
fn read_event(at: usize, item: &RawValue) -> Result<Event, Problem> {
    let in_array = |error: Invalid| match error.field() {
        Event::BODY => error.of(format!("[{at}]")),
        field => {
            let field = format!("[{at}].{field}");
            error.of(field)
        }
    };
    let event = Event::from_json(item).map_err(in_array)?;
    event.prepare("").map_err(in_array)?;
    Ok(event)
}

impl<'a> ArrayRun<'a> {
    fn new(store: &'a Store, metrics: &'a Metrics) -> Self {
        Self { store, metrics, away: None, status: StatusCode::OK, json: Vec::new() }
    }

    async fn publish(&mut self, chunk: Vec<Result<Event, Problem>>) -> Result<(), Problem> {
        let mut events = Vec::with_capacity(chunk.len());
        // In place of each event: why it is not tried.
        let mut refused = Vec::with_capacity(chunk.len());
        for event in chunk {
            match (event, &self.away) {
                (Ok(event), None) => {
                    events.push(event);
                    refused.push(None);
                }
                (Ok(_), Some(away)) => {
                    self.metrics.add_publishes(Publish::Failed, 1);
                    refused.push(Some(away.clone()));
                }
                (Err(problem), _) => {
                    self.metrics.add_publishes(Publish::Invalid, 1);
                    refused.push(Some(problem));
                }
            }
        }
        let results = self.store.publish_all(events).await;
        results.iter().for_each(|result| count(self.metrics, result));
        let is_away = results.iter().all(|result| matches!(result, Err(PublishError::Store(_))));
        let mut results = results.into_iter().map(|result| result.map_err(Problem::from));
        let mut last_error = None;
        for problem in refused {
            let missing = || Err(Problem::new(Kind::Internal, "no answer for the event"));
            let outcome = match problem {
                Some(error) => Outcome::Failed { error },
                None => match results.next().unwrap_or_else(missing) {
                    Ok(receipt) => Outcome::Published(receipt),
                    Err(error) => {
                        last_error = Some(error.clone());
                        Outcome::Failed { error }
                    }
                },
            };
            self.add(&outcome)?;
        }
        if is_away {
            self.away = self.away.take().or(last_error);
        }
        Ok(())
    }

    fn add(&mut self, outcome: &Outcome) -> Result<(), Problem> {
        if matches!(outcome, Outcome::Failed { .. }) {
            self.status = StatusCode::MULTI_STATUS;
        }
        self.json.push(if self.json.is_empty() { b'[' } else { b',' });
        serde_json::to_writer(&mut self.json, outcome)
            .map_err(|error| Problem::new(Kind::Internal, format!("the answer could not be written: {error}")))
    }

    fn finish(mut self) -> HttpResponse {
        if self.json.is_empty() {
            self.json.push(b'[');
        }
        self.json.push(b']');
        HttpResponse::build(self.status).content_type(ContentType::json()).body(self.json)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawArray<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = RawArray<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawArray<'de>, A::Error> {
                let mut array = RawArray { items: Vec::new(), count: 0 };
                while array.count < MAX_EVENTS {
                    let Some(item) = seq.next_element()? else { return Ok(array) };
                    array.items.push(item);
                    array.count += 1;
                }
                // The others are only counted, for the error.
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    array.count += 1;
                }
                Ok(array)
            }
        }

        deserializer.deserialize_seq(Items)
    }
}
