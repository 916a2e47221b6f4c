//! `GET /metrics`.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use tidings_shared::Partitions;

use super::health::{Health, Lifecycle};
use crate::log;
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::reader::ReaderHandle;

/// All metrics. Those of a partition are as of now.
pub async fn metrics(
    metrics: Data<Metrics>,
    reader: Data<ReaderHandle>,
    partitions: Data<Partitions>,
    life: Data<Lifecycle>,
) -> HttpResponse {
    for (partition, status) in partitions.all().zip(reader.status().partitions()) {
        metrics.set_partition_up(partition, status.up);
        if let Some(at) = status.beacon {
            metrics.set_beacon_age(partition, at.elapsed());
        }
    }
    metrics.set_degraded(Health::of(&reader, &life, Duration::ZERO).is_degraded());
    metrics.set_log_lines_dropped(log::dropped_lines());
    HttpResponse::Ok().insert_header(("Content-Type", CONTENT_TYPE)).body(metrics.render())
}
