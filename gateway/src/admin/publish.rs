//! `POST /v1/publish`: one event, or an array of them.

mod array;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde_json::value::RawValue;
use tidings_publisher::Receipt;
use tidings_shared::{Event, Invalid};

use self::array::publish_array;
use crate::metrics::{Metrics, Publish};
use crate::problem::{Kind, Problem};
use crate::store::{PublishError, Store};
use crate::stream::query_params;

/// The largest body, in bytes.
pub const BODY: usize = 8 * 1024 * 1024;

/// Publishes one event, or an array: see [`publish_array`].
pub async fn publish(
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
    store: Data<Store>,
    metrics: Data<Metrics>,
) -> Result<HttpResponse, Problem> {
    let body = body.map_err(|error| unread(&error))?;
    check_content_type(&request)?;
    let is_array = body.trim_ascii_start().first() == Some(&b'[');
    let partial = read_partial(request.query_string())?;
    if is_array {
        return publish_array(&body, partial, &store, &metrics).await;
    }
    // The store checks it, as there is no other that must not be published.
    let event = read_event(&body).inspect_err(|_| count_invalid(&metrics))?;
    let outcome = store.publish(event).await;
    count(&metrics, &outcome);
    Ok(HttpResponse::Ok().json(outcome?))
}

fn read_event(body: &[u8]) -> Result<Event, Problem> {
    let json: &RawValue = serde_json::from_slice(body)?;
    Ok(Event::from_json(json)?)
}

/// Reads the query: whether the valid events of an array are published although others are not.
fn read_partial(query: &str) -> Result<bool, Invalid> {
    let mut partial = false;
    for param in query_params(query) {
        partial = match (param.name.as_str(), param.value()?) {
            ("partial", "true") => true,
            ("partial", "false") => false,
            ("partial", value) => return Err(Invalid::new("partial", value, "true or false")),
            (name, value) => return Err(Invalid::new(name.to_owned(), value, "no parameter but partial")),
        };
    }
    Ok(partial)
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

/// Counts a request of which nothing is published.
fn count_invalid(metrics: &Metrics) {
    metrics.add_publishes(Publish::Invalid, 1);
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
