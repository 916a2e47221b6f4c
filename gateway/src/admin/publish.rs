//! `POST /v1/publish`: one event, or an array of them.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::value::RawValue;
use tidings_publisher::Receipt;
use tidings_shared::{Event, Invalid};

use crate::metrics::{Metrics, Publish};
use crate::problem::{Kind, Problem};
use crate::store::{PublishError, Store};

/// The largest body, in bytes.
pub const BODY: usize = 8 * 1024 * 1024;

/// What became of one event of an array.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Published(Receipt),
    Failed { error: Problem },
}

/// Publishes. An array is checked whole first: if one of its events is wrong, none is published. Then each stands for
/// itself: if the store takes only some, the answer is 207, with an `error` in place of those that failed.
pub async fn publish(
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
    store: Data<Store>,
    metrics: Data<Metrics>,
) -> Result<HttpResponse, Problem> {
    let body = body.map_err(|error| unread(&error))?;
    check_content_type(&request)?;
    match parse(&body).inspect_err(|_| metrics.add_publishes(Publish::Invalid, 1))? {
        Parsed::One(event) => {
            let outcome = store.publish(event).await;
            count(&metrics, &outcome);
            Ok(HttpResponse::Ok().json(outcome?))
        }
        Parsed::Many(events) => {
            let outcomes = store.publish_all(events).await;
            outcomes.iter().for_each(|outcome| count(&metrics, outcome));
            let status = if outcomes.iter().all(Result::is_ok) { StatusCode::OK } else { StatusCode::MULTI_STATUS };
            let outcomes = outcomes.into_iter().map(|outcome| match outcome {
                Ok(receipt) => Outcome::Published(receipt),
                Err(error) => Outcome::Failed { error: error.into() },
            });
            Ok(HttpResponse::build(status).json(outcomes.collect::<Vec<_>>()))
        }
    }
}

enum Parsed {
    One(Event),
    Many(Vec<Event>),
}

fn parse(body: &[u8]) -> Result<Parsed, Problem> {
    if body.trim_ascii_start().first() != Some(&b'[') {
        // The store checks it, as there is no other that must not be published.
        return Ok(Parsed::One(serde_json::from_slice(body)?));
    }
    let items: Vec<&RawValue> = serde_json::from_slice(body)?;
    let parse = |(at, item): (usize, &&RawValue)| {
        let wrong = |error| Problem::new(Kind::BadRequest, format!("[{at}] is not an event: {error}"));
        let event: Event = serde_json::from_str(item.get()).map_err(wrong)?;
        event.prepare("").map_err(|error: Invalid| {
            let field = format!("[{at}].{}", error.field());
            error.of(field)
        })?;
        Ok(event)
    };
    Ok(Parsed::Many(items.iter().enumerate().map(parse).collect::<Result<_, Problem>>()?))
}

fn unread(error: &actix_web::Error) -> Problem {
    match error.as_response_error().status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(Kind::PayloadTooLarge, format!("the body is larger than {BODY} bytes"))
        }
        _ => Problem::new(Kind::BadRequest, format!("the body could not be read: {error}")),
    }
}

/// JSON, or what `curl -d` says unless it is told otherwise. What is meant as another format is not guessed at.
fn check_content_type(request: &HttpRequest) -> Result<(), Problem> {
    match request.mime_type() {
        Ok(None) => Ok(()),
        Ok(Some(mime)) if ["application/json", "application/x-www-form-urlencoded"].contains(&mime.essence_str()) => {
            Ok(())
        }
        _ => Err(Problem::new(Kind::UnsupportedMediaType, "the body must be JSON: Content-Type: application/json")),
    }
}

fn count(metrics: &Metrics, outcome: &Result<Receipt, PublishError>) {
    let outcome = match outcome {
        Ok(receipt) if receipt.duplicate => Publish::Duplicate,
        Ok(_) => Publish::Ok,
        Err(PublishError::Invalid(_)) => Publish::Invalid,
        Err(PublishError::Store(_)) => Publish::Failed,
    };
    metrics.add_publishes(outcome, 1);
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Invalid(invalid) => invalid.into(),
            PublishError::Store(error) => {
                tracing::warn!(%error, "an event could not be published");
                Self::new(Kind::Unavailable, format!("the store did not take the event: {error}"))
            }
        }
    }
}
