//! `GET /livez` and `GET /readyz`.
//!
//! Both judge the reader by a clock outside of it, as a reader that is stuck cannot say so. Neither
//! follows the store: a restart mends no outage, and a balancer whose members all fail readiness
//! answers 503 itself, which ends every `EventSource` for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use tidings_shared::{Invalid, Partitions, Retention};

use crate::problem::Problem;
use crate::reader::{PartitionStatus, ReaderHandle, max_silence};
use crate::stream::query_params;

/// Age of the reader's last turn at which only a new process helps.
const MAX_TURN_AGE: Duration = Duration::from_secs(30);
/// The time that a reader gets for a turn when its last one is too old: after a stop of the whole
/// process (SIGSTOP, a paused virtual machine) the probe may run before the reader does.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// Whether the process is on its way out, and what its health is measured by. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    draining: Arc<AtomicBool>,
    /// Age of the reader's last turn, or of a beacon, at which something is wrong.
    max_silence: Duration,
}

impl Lifecycle {
    /// The lifecycle of a gateway that sends a beacon once in each `beacon_interval`.
    pub fn new(beacon_interval: Duration) -> Self {
        Self { draining: Arc::default(), max_silence: max_silence(beacon_interval) }
    }

    /// From now on readiness fails, so that new connections go elsewhere.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// Answers 200 while the reader has turns. If it has none, only a new process helps.
pub async fn livez(reader: Data<ReaderHandle>) -> HttpResponse {
    let turn_age = turn_age(&reader, MAX_TURN_AGE).await;
    let (mut response, body) = match reader_fault(&reader, turn_age, MAX_TURN_AGE) {
        None => (HttpResponse::Ok(), "ok\n".to_owned()),
        Some(fault) => (HttpResponse::InternalServerError(), fault + "\n"),
    };
    response.content_type("text/plain; charset=utf-8").body(body)
}

/// Returns the age of the reader's last turn. If it exceeds `limit`, the reader gets time for one.
async fn turn_age(reader: &ReaderHandle, limit: Duration) -> Duration {
    let pulse = reader.status().pulse();
    if pulse.age(Instant::now()) > limit {
        tokio::time::sleep(SECOND_LOOK).await;
    }
    pulse.age(Instant::now())
}

fn reader_fault(reader: &ReaderHandle, turn_age: Duration, limit: Duration) -> Option<String> {
    if reader.is_gone() {
        return Some("the reader has ended".to_owned());
    }
    let seconds = turn_age.as_secs_f64();
    (turn_age > limit).then(|| format!("the reader is stuck; its last turn began {seconds:.1} s ago"))
}

/// The health of this gateway at one moment.
#[derive(Debug)]
pub struct Health {
    /// Why it must get no new connections.
    unready: Vec<String>,
    /// What does not work, although the gateway may get connections.
    degraded: Vec<String>,
}

impl Health {
    /// Judges a gateway whose reader began its last turn `turn_age` ago.
    pub fn of(reader: &ReaderHandle, life: &Lifecycle, turn_age: Duration) -> Self {
        let partitions = reader.status().partitions();
        let mut unready = Vec::new();
        if life.is_draining() {
            unready.push("draining: this gateway ends soon".to_owned());
        }
        unready.extend(reader_fault(reader, turn_age, life.max_silence));
        if let Some(at_odds) = partitions.iter().find(|partition| partition.at_odds) {
            unready.push(format!("misconfigured: {}", at_odds.reason));
        }
        let never_up = partitions.iter().filter(|partition| !partition.was_up).count();
        if never_up > 0 {
            unready.push(format!("starting: {never_up} partitions have not been up yet"));
        }
        let degraded = partitions.iter().enumerate().filter_map(|(number, partition)| {
            let fault = partition_fault(partition, life.max_silence)?;
            Some(format!("partition {number}: {fault}"))
        });
        Self { unready, degraded: degraded.collect() }
    }

    /// Whether it may get new connections. If `strict`, only while all partitions work.
    fn is_ready(&self, strict: bool) -> bool {
        self.unready.is_empty() && !(strict && self.is_degraded())
    }

    /// Whether some partition does not work.
    pub fn is_degraded(&self) -> bool {
        !self.degraded.is_empty()
    }
}

fn partition_fault(status: &PartitionStatus, max_beacon_age: Duration) -> Option<String> {
    if !status.up {
        return Some(status.reason.clone());
    }
    let age = status.beacon.map(|at| at.elapsed()).filter(|age| *age > max_beacon_age)?;
    Some(format!("the last beacon came back {:.1} s ago", age.as_secs_f64()))
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// Whether some partition does not work. Readiness follows it only if it is strict.
    degraded: bool,
    draining: bool,
    /// Why it is not ready, or degraded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
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

/// Answers 200 while this gateway may get new connections, and says what does not work. With
/// `strict=1` it answers 200 only while every partition works.
pub async fn readyz(
    request: HttpRequest,
    reader: Data<ReaderHandle>,
    partitions: Data<Partitions>,
    life: Data<Lifecycle>,
) -> Result<HttpResponse, Problem> {
    let strict = read_strict(request.query_string())?;
    let turn_age = turn_age(&reader, life.max_silence).await;
    let health = Health::of(&reader, &life, turn_age);
    let (ready, degraded) = (health.is_ready(strict), health.is_degraded());
    let status = reader.status();
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
    let readiness = Readiness {
        ready,
        degraded,
        draining: life.is_draining(),
        reasons: health.unready.into_iter().chain(health.degraded).collect(),
        policy: status.policy(),
        retention,
        partitions: each.collect(),
    };
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    Ok(response.json(readiness))
}

/// Reads `strict`. Other parameters are ignored: some probes add one against caches.
fn read_strict(query: &str) -> Result<bool, Invalid> {
    let mut strict = false;
    for param in query_params(query).filter(|param| param.name == "strict") {
        strict = match param.value()? {
            "1" => true,
            "0" => false,
            value => return Err(Invalid::new("strict", value, "1 or 0")),
        };
    }
    Ok(strict)
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

    #[test]
    fn a_reader_without_turns_is_not_ready_and_later_dead() {
        let (reader, _commands) = ReaderHandle::new(Status::new(Partitions::ONE));
        let life = Lifecycle::new(Duration::from_secs(1));
        let is_stuck = |age| {
            let unready = Health::of(&reader, &life, Duration::from_secs(age)).unready;
            unready.iter().any(|reason| reason.contains("stuck"))
        };
        assert_eq!([5, 6].map(is_stuck), [false, true]);
        let is_dead = |age| reader_fault(&reader, Duration::from_secs(age), MAX_TURN_AGE).is_some();
        assert_eq!([30, 31].map(is_dead), [false, true]);
    }
}
