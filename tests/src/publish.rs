//! Publishing numbered events, and telling the oracle of each what became of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::to_raw_value;
use tidings_shared::{Event, Id};

use crate::Oracle;

/// What a publish answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The id of each address.
    pub ids: BTreeMap<String, Id>,
    /// Whether its key was known.
    pub duplicate: bool,
}

#[derive(Deserialize)]
struct Answer {
    ids: BTreeMap<String, String>,
    duplicate: bool,
}

/// Where numbered events come from.
#[derive(Debug, Clone)]
pub struct Source {
    http: reqwest::Client,
    admin: SocketAddr,
    oracle: Arc<Oracle>,
}

impl Source {
    /// Publishes through a gateway's admin listener.
    pub fn new(admin: SocketAddr, oracle: &Arc<Oracle>) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { http, admin, oracle: oracle.clone() }
    }

    /// Publishes the next event to `to`, which a slow reader may not see collapsed. Answers its serial.
    pub async fn publish(&self, to: &[&str]) -> u64 {
        self.publish_sized(to, 0).await
    }

    /// The same with `bytes` more of data.
    pub async fn publish_sized(&self, to: &[&str], bytes: usize) -> u64 {
        let n = self.oracle.begin(to);
        match self.send(&event(to, n, bytes).coalesce(false)).await {
            Ok(receipt) => self.oracle.acked(n, receipt.ids),
            Err(_) => self.oracle.unknown(n),
        }
        n
    }

    /// Publishes an event that the oracle does not hear of.
    pub async fn send(&self, event: &Event) -> Result<Receipt, String> {
        let body = serde_json::to_string(event).map_err(|e| e.to_string())?;
        let url = format!("http://{}/v1/publish", self.admin);
        let response = self.http.post(url).header("content-type", "application/json").body(body).send().await;
        let response = response.map_err(|e| e.to_string())?;
        let (status, text) = (response.status(), response.text().await.map_err(|e| e.to_string())?);
        let answer: Answer = serde_json::from_str(&text).map_err(|_| format!("{status}: {text}"))?;
        let ids = answer.ids.into_iter().map(|(address, id)| Ok((address, id.parse()?)));
        let ids = ids.collect::<Result<_, tidings_shared::Invalid>>().map_err(|e| e.to_string())?;
        Ok(Receipt { ids, duplicate: answer.duplicate })
    }
}

/// An event with a serial in its data.
pub fn event(to: &[&str], n: u64, bytes: usize) -> Event {
    let mut addresses = to.iter();
    let first = Event::refresh(*addresses.next().expect("an address"));
    let data = if bytes == 0 { json!({"n": n}) } else { json!({"n": n, "filling": "x".repeat(bytes)}) };
    addresses.fold(first, |event, address| event.also_to(*address)).data(to_raw_value(&data).expect("JSON"))
}
