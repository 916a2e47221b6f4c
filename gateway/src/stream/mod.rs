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

use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};

use crate::problem;

/// Adds `/v1/events` and `/v1/poll`.
pub fn configure(cfg: &mut ServiceConfig) {
    let get = |path, route| {
        web::resource(path).route(route).default_service(problem::only("GET")).wrap(from_fn(pages::pages))
    };
    cfg.service(get("/v1/events", web::get().to(events::events)));
    cfg.service(get("/v1/poll", web::get().to(poll::poll)));
}
