//! What clients ask for and how they get it: streams and long polls over one hub.

mod body;
mod events;
mod gate;
mod options;
mod pages;
mod poll;
mod query;

pub use body::LAST_BYTES;
pub use gate::{Asked, Gate, HEADERS, Stream, StreamLimits};
pub use query::params as query_params;

use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};

use crate::problem;

/// Adds `/v1/events` and `/v1/poll`.
pub fn configure(cfg: &mut ServiceConfig) {
    let events = web::resource("/v1/events").route(web::get().to(events::events));
    let poll = web::resource("/v1/poll").route(web::get().to(poll::poll)).route(web::head().to(poll::poll));
    cfg.service(events.default_service(problem::only("GET")).wrap(from_fn(pages::pages)));
    cfg.service(poll.default_service(problem::only("GET, HEAD")).wrap(from_fn(pages::pages)));
}
