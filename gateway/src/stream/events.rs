//! `GET /v1/events`: a stream.

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};

use super::body::StreamBody;
use super::gate::{Asked, Gate, HEADERS, Stream};
use super::pages::origin;
use crate::admission::Places;
use crate::problem::Problem;

/// Opens a stream.
pub async fn events(request: HttpRequest, gate: web::Data<Gate>) -> Result<HttpResponse, Problem> {
    let places = request.extensions().get::<Places>().cloned();
    let Stream { connection, first, .. } = gate.stream(Asked { places, ..asked(&request) })?;
    let mut response = HttpResponse::Ok();
    for header in HEADERS {
        response.insert_header(header);
    }
    Ok(response.body(StreamBody::new(connection, first)))
}

/// What a request of this server says.
pub(super) fn asked(request: &HttpRequest) -> Asked<'_> {
    let last_event_id = request.headers().get("Last-Event-ID").map(|value| value.to_str().unwrap_or("?"));
    let forwarded = request.headers().get_all("X-Forwarded-For").filter_map(|value| value.to_str().ok());
    let peer = request.peer_addr().map(|peer| peer.ip());
    Asked {
        query: request.query_string(),
        last_event_id,
        origin: origin(request.headers()),
        peer,
        forwarded: forwarded.collect(),
        places: None,
    }
}
