//! The admin API: for services and operators, never for browsers.

mod health;
mod publish;
mod scrape;

use actix_web::Route;
use actix_web::guard::{self, GuardContext};
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};

pub use self::health::Lifecycle;
use crate::problem;
use crate::request::guard_hosts;

/// Adds the admin API.
pub fn configure(cfg: &mut ServiceConfig) {
    configure_publish(cfg);
    configure_probes(cfg);
}

/// Adds health and metrics, which change nothing.
pub fn configure_probes(cfg: &mut ServiceConfig) {
    // A balancer may ask for health by HEAD, or by OPTIONS, as haproxy does unless it is told otherwise.
    let health = |path| web::resource(path).default_service(problem::only("GET, HEAD, OPTIONS"));
    cfg.service(health("/livez").route(probe().to(health::livez)));
    cfg.service(health("/readyz").route(probe().to(health::readyz)));
    let metrics = web::resource("/metrics").default_service(problem::only("GET, HEAD"));
    cfg.service(metrics.route(web::get().to(scrape::metrics)).route(web::head().to(scrape::metrics)));
}

/// A route for the methods by which balancers ask.
fn probe() -> Route {
    let asks =
        |context: &GuardContext<'_>| [Method::GET, Method::HEAD, Method::OPTIONS].contains(&context.head().method);
    web::route().guard(guard::fn_guard(asks))
}

/// Adds `/v1/publish` alone: with the embedded store, the public listener takes it too, for the demo.
pub fn configure_publish(cfg: &mut ServiceConfig) {
    cfg.service(
        web::resource("/v1/publish")
            .app_data(web::PayloadConfig::new(publish::BODY))
            .route(web::post().to(publish::publish))
            .default_service(problem::only("POST"))
            .wrap(from_fn(guard_hosts)),
    );
}
