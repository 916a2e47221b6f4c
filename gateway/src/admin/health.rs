//! `GET /livez` and `GET /readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use tidings_shared::{Partitions, Retention};

use crate::reader::ReaderHandle;

/// Whether the process is on its way out. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    draining: Arc<AtomicBool>,
}

impl Lifecycle {
    /// From now on readiness fails, so that new connections go elsewhere.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// The process answers, and its reader runs. If not, only a new process helps.
pub async fn livez(reader: Data<ReaderHandle>) -> HttpResponse {
    let (mut response, body) = match reader.is_gone() {
        false => (HttpResponse::Ok(), "ok\n"),
        true => (HttpResponse::InternalServerError(), "the reader has ended\n"),
    };
    response.content_type("text/plain; charset=utf-8").body(body)
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    draining: bool,
    /// The store's `maxmemory-policy`; history is only safe with `noeviction`.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// The retention that is in force, where another gateway wants more than this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<RetentionInForce>,
    partitions: Vec<PartitionReadiness>,
}

#[derive(Serialize)]
struct RetentionInForce {
    events: u64,
    age_seconds: f64,
    journal: u64,
}

#[derive(Serialize)]
struct PartitionReadiness {
    partition: u16,
    up: bool,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    beacon_age_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark: Option<String>,
}

/// Whether events reach this gateway through every partition, and if not, why.
pub async fn readyz(reader: Data<ReaderHandle>, partitions: Data<Partitions>, life: Data<Lifecycle>) -> HttpResponse {
    let status = reader.status();
    let draining = life.is_draining();
    let ready = status.is_ready() && !draining;
    let statuses = status.partitions();
    let retention = statuses.iter().find_map(|status| status.other_retention);
    let each = partitions.all().zip(statuses).map(|(partition, status)| PartitionReadiness {
        partition: partition.number(),
        up: status.up,
        reason: status.reason,
        beacon_age_seconds: status.beacon.map(|at| at.elapsed().as_secs_f64()),
        watermark: status.place.map(|place| place.id.to_string()),
    });
    let retention = retention.map(|Retention { events, age_ms, journal }| RetentionInForce {
        events,
        age_seconds: Duration::from_millis(age_ms).as_secs_f64(),
        journal,
    });
    let readiness = Readiness { ready, draining, policy: status.policy(), retention, partitions: each.collect() };
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(readiness)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Status;

    #[actix_web::test]
    async fn a_process_without_a_reader_is_dead() {
        let (reader, commands) = ReaderHandle::new(Status::new(Partitions::ONE));
        let reader = Data::new(reader);
        assert_eq!(livez(reader.clone()).await.status(), 200);
        drop(commands);
        assert_eq!(livez(reader).await.status(), 500);
    }
}
