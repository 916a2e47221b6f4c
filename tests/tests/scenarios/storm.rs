//! A reconnect storm: who is there already goes on hearing of events while thousands come in.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tidings_tests::http::{Part, Transport};
use tidings_tests::wait::{PATIENCE, now_us};
use tidings_tests::{Source, eventually};
use tokio::task::JoinSet;

use crate::memory;

const STORM: usize = 5_000;

/// Reads a stream on a thread of its own, which no other client holds up; sends on when each event came.
fn listen(to: SocketAddr) -> mpsc::Receiver<(u64, u64)> {
    let (sender, arrivals) = mpsc::channel();
    let mut socket = TcpStream::connect(to).unwrap();
    write!(socket, "GET /v1/events?topic=established HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut lines = BufReader::new(socket).lines().map_while(Result::ok);
    lines.by_ref().find(|line| line.contains("tidings.ready")).expect("it is ready");
    std::thread::spawn(move || {
        for line in lines {
            let json = || serde_json::from_str::<serde_json::Value>(line.strip_prefix("data: ")?).ok();
            let Some(n) = json().and_then(|json| json.pointer("/data/n")?.as_u64()) else { continue };
            if sender.send((n, now_us())).is_err() {
                return;
            }
        }
    });
    arrivals
}

/// Publishes every few milliseconds for as long as `meanwhile` takes; how long each event took to a client, sorted, and
/// how many came before it was over.
async fn latencies(
    source: &Source,
    arrivals: &mpsc::Receiver<(u64, u64)>,
    meanwhile: impl Future<Output = ()>,
) -> (Vec<u64>, usize) {
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = std::thread::spawn({
        let (source, stop) = (source.clone(), stop.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut sent = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let at = now_us();
                    sent.push((source.publish(&["established"]).await, at));
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                sent
            })
        }
    });
    meanwhile.await;
    let over = now_us();
    stop.store(true, Ordering::Relaxed);
    let sent = publishing.join().unwrap();
    let mut came = HashMap::new();
    eventually("all events have come", PATIENCE, async || {
        came.extend(arrivals.try_iter());
        sent.iter().all(|(n, _)| came.contains_key(n))
    })
    .await;
    let mut latencies: Vec<u64> = sent.iter().map(|(n, at)| came[n].saturating_sub(*at)).collect();
    latencies.sort_unstable();
    (latencies, sent.iter().filter(|(n, _)| came[n] < over).count())
}

fn percentile(sorted: &[u64], part: f64) -> u64 {
    assert!(!sorted.is_empty(), "nothing was published meanwhile");
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

/// Opens as many streams as it can, all at once; how many are live, how many were told to come later.
async fn storm(to: SocketAddr) -> (usize, usize) {
    let mut all = JoinSet::new();
    for n in 0..STORM {
        all.spawn(async move {
            let target = format!("/v1/events?topic=storm/{}&topic=all", n % 100);
            let mut response = Transport::of_environment().get(to, None, &target, &[]).await?;
            let mut read = Vec::new();
            loop {
                match response.body.next().await? {
                    Part::Bytes(bytes) => read.extend_from_slice(&bytes),
                    _ => return Ok((response, false)),
                }
                if read.windows(13).any(|part| part == b"tidings.ready") {
                    return std::io::Result::Ok((response, true));
                }
            }
        });
    }
    let held: Vec<_> = all.join_all().await.into_iter().map(|answer| answer.unwrap()).collect();
    let live = held.iter().filter(|(_, live)| *live).count();
    (live, held.len() - live)
}

#[tokio::test]
async fn established_streams_go_on_hearing_of_events() {
    // All clients are one thread here: so busy a one takes longer than the usual second to send its request or to answer a
    // ping, and a connection of HTTP/2 that does so is closed.
    let (gateway, _, source) = memory(|setup| setup.with("stream.heartbeat", "30s")).await;
    let arrivals = listen(gateway.public());
    let (calm, _) = latencies(&source, &arrivals, tokio::time::sleep(Duration::from_secs(1))).await;
    let (mut live, mut later) = (0, 0);
    let (stormy, in_time) =
        latencies(&source, &arrivals, async { (live, later) = storm(gateway.public()).await }).await;
    println!("{live} came in, {later} are to come later\n calm: {}\nstorm: {}", told(&calm), told(&stormy));
    assert!(live + later == STORM && live > STORM / 2, "{live} {later}");
    // Were the storm served first, nearly all of them would come when it is over. On a machine that has nothing else to
    // do the medians are about equal; how much later they come here says as much about what runs beside it.
    assert!(in_time > stormy.len() / 4, "{in_time} of {} events came before the storm was over", stormy.len());
}

fn told(sorted: &[u64]) -> String {
    let [median, most, nearly_all, worst] = [0.5, 0.9, 0.99, 1.0].map(|part| percentile(sorted, part));
    format!("{} events; median {median} µs, p90 {most}, p99 {nearly_all}, worst {worst}", sorted.len())
}
