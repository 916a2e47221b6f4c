//! The admin API: for services and operators, never for browsers.

mod health;
mod publish;
mod scrape;

use actix_web::web::{self, ServiceConfig};

pub use self::health::Lifecycle;
use crate::problem;

/// Adds the admin API.
pub fn configure(cfg: &mut ServiceConfig) {
    configure_publish(cfg);
    let get = |path, route| web::resource(path).route(route).default_service(problem::only("GET"));
    cfg.service(get("/livez", web::get().to(health::livez)));
    cfg.service(get("/readyz", web::get().to(health::readyz)));
    cfg.service(get("/metrics", web::get().to(scrape::metrics)));
}

/// Adds `/v1/publish` alone: with the embedded store, the public listener takes it too, for the demo.
pub fn configure_publish(cfg: &mut ServiceConfig) {
    cfg.service(
        web::resource("/v1/publish")
            .app_data(web::PayloadConfig::new(publish::BODY))
            .route(web::post().to(publish::publish))
            .default_service(problem::only("POST")),
    );
}
