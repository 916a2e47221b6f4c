//! A long-poll client over `/v1/poll`: the same record as a stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::http;
use crate::record::{Record, What};
use crate::wait::PATIENCE;

/// The answer to a poll.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// The data of each event.
    pub events: Vec<Box<RawValue>>,
    /// Where to go on.
    pub cursor: String,
}

/// A running poller. Dropping it stops it.
#[derive(Debug)]
pub struct Poller {
    record: Arc<Record>,
    task: JoinHandle<()>,
}

impl Poller {
    /// Starts one that asks these gateways in turn.
    pub fn open(name: &str, gateways: &[SocketAddr], topics: &[impl AsRef<str>]) -> Self {
        let topics: Vec<String> = topics.iter().map(|topic| topic.as_ref().to_owned()).collect();
        let record = Record::new(name, &topics);
        let task = tokio::spawn(run(record.clone(), gateways.to_vec(), topics));
        Self { record, task }
    }

    /// What it saw.
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Waits until it has its first cursor.
    pub async fn ready(&self) {
        self.record.until("is ready", PATIENCE, |record| record.first_ready().is_some()).await;
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(record: Arc<Record>, gateways: Vec<SocketAddr>, topics: Vec<String>) {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut cursor: Option<String> = None;
    for turn in 1_u32.. {
        let gateway = gateways[turn as usize % gateways.len()];
        let mut query: Vec<(String, String)> = topics.iter().map(|t| ("topic".to_owned(), t.clone())).collect();
        query.extend(cursor.iter().map(|cursor| ("cursor".to_owned(), cursor.clone())));
        match poll(&http, gateway, &query).await {
            Ok(answer) => {
                if cursor.is_none() {
                    let ready = What::Ready { cursor: answer.cursor.clone(), connection: String::new() };
                    record.add(turn, ready);
                }
                for event in &answer.events {
                    record.add_data(turn, "message", event.get(), None);
                }
                cursor = Some(answer.cursor);
            }
            Err(why) => {
                record.add(turn, What::Lost { why });
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// One poll.
pub async fn poll(http: &reqwest::Client, gateway: SocketAddr, query: &[(String, String)]) -> Result<Answer, String> {
    let url = format!("http://{gateway}{}", http::target("/v1/poll", query));
    let response = http.get(url).timeout(Duration::from_secs(40)).send().await.map_err(|e| e.to_string())?;
    let (status, text) = (response.status(), response.text().await.map_err(|e| e.to_string())?);
    match serde_json::from_str(&text) {
        Ok(answer) if status == 200 => Ok(answer),
        _ => Err(format!("{status}: {text}")),
    }
}
