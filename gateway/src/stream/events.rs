//! `GET /v1/events`: a stream.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use tidings_shared::Partitions;

use super::StreamLimits;
use super::body::StreamBody;
use super::options::{self, Kind, Options};
use crate::control;
use crate::hub::HubHandle;
use crate::metrics::{Connect, Metrics};
use crate::problem::Problem;

/// Opens a stream. Whatever should be retried is answered 200 and cut, as any other status ends an EventSource for
/// good; only what would be wrong again is an error.
pub async fn events(
    request: HttpRequest,
    hub: web::Data<HubHandle>,
    partitions: web::Data<Partitions>,
    limits: web::Data<StreamLimits>,
    metrics: web::Data<Metrics>,
) -> Result<HttpResponse, Problem> {
    let Options { follow, from, .. } =
        options::read(Kind::Stream, request.query_string(), last_event_id(&request), **partitions, limits.topics)?;
    metrics.add_connect(Connect::Stream);
    let connection = hub.hub.borrow_mut().join(follow, from);
    let first = control::retry(control::retry_delay(hub.options.retry));
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header(("X-Accel-Buffering", "no"))
        .body(StreamBody::new(hub.hub.clone(), connection, first)))
}

/// The header of a client that comes back. Bytes that are no text are an unreadable cursor, not an absent one.
pub(super) fn last_event_id(request: &HttpRequest) -> Option<&str> {
    request.headers().get("Last-Event-ID").map(|value| value.to_str().unwrap_or("?"))
}
