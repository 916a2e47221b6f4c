//! What pages of other origins need around the answers of this server: CORS headers on each, and the preflight.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpResponse, ResponseError};

use super::gate::Gate;
use crate::cors::{Grant, Origins};
use crate::problem::{Kind, Problem};

/// What a page may do here after it has asked.
const METHODS: &str = "GET";

/// Answers a preflight, and adds to every other answer, problems too, what lets pages of other origins read it.
pub(super) async fn pages(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let gate = request.app_data::<Data<Gate>>();
    let origins = gate.map_or(Origins::None, |gate| gate.origins().clone());
    let grant = origins.grant(origin(request.headers()));
    let asks_before =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks_before && origins != Origins::None {
        let answer = preflight(&grant, origin(request.headers()));
        request.into_response(answer)
    } else {
        next.call(request).await?
    };
    for (name, value) in grant.headers() {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    Ok(response)
}

fn preflight(grant: &Grant, origin: Option<&str>) -> HttpResponse {
    if *grant == Grant::Unlisted {
        let origin = origin.unwrap_or_default();
        return Problem::new(Kind::Forbidden, format!("cors.origins does not list {origin:?}")).error_response();
    }
    let mut response = HttpResponse::NoContent();
    for header in grant.preflight(METHODS) {
        response.insert_header(header);
    }
    response.finish()
}

/// The `Origin` header, which browsers write in ASCII.
pub(super) fn origin(headers: &HeaderMap) -> Option<&str> {
    headers.get(ORIGIN).and_then(|value| value.to_str().ok())
}
