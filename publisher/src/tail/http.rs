//! Following through a gateway: `GET /v1/events`.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Client, Response, StatusCode, Url};
use tokio::time::{sleep, timeout};

use super::sse::{Parser, Sse};
use super::{Follow, Line};
use crate::transport::{Problem, client, endpoint, http_failure};
use crate::{Error, ErrorKind};

/// A stream of a gateway, opened again whenever it ends.
pub(super) struct HttpTail {
    client: Client,
    url: Url,
    cursor: Option<String>,
    retry: Duration,
    stream: Option<(Response, Parser)>,
    pending: VecDeque<Line>,
}

/// How long to wait before coming back, unless the gateway says otherwise.
const RETRY: Duration = Duration::from_secs(3);
/// A stream without a byte for so long is dead: gateways send a heartbeat every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
const CONNECT: Duration = Duration::from_secs(10);

impl HttpTail {
    pub(super) async fn start(url: &str, follow: Follow) -> Result<Self, Error> {
        let mut url = endpoint(url, "v1/events")?;
        let topics = follow.addresses.iter().map(|address| ("topic", address.to_string()));
        url.query_pairs_mut().extend_pairs(topics);
        let client = client().connect_timeout(CONNECT).build().map_err(http_failure)?;
        let cursor = follow.cursor;
        let mut tail = Self { client, url, cursor, retry: RETRY, stream: None, pending: VecDeque::new() };
        tail.open().await?;
        Ok(tail)
    }

    pub(super) async fn next(&mut self) -> Result<Line, Error> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Ok(line);
            }
            let Some((response, _)) = &mut self.stream else {
                self.come_back().await?;
                continue;
            };
            match timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(chunk))) => self.read(&chunk)?,
                Ok(Ok(None)) => self.lose("the gateway ended the stream"),
                Ok(Err(error)) => self.lose(&http_failure(error).to_string()),
                Err(_) => self.lose("the gateway is silent"),
            }
        }
    }

    async fn open(&mut self) -> Result<(), Error> {
        let mut request = self.client.get(self.url.clone()).header(ACCEPT, "text/event-stream");
        if let Some(cursor) = &self.cursor {
            request = request.header("Last-Event-ID", cursor);
        }
        let response = timeout(SILENCE, request.send()).await;
        let response = response.map_err(|_| Error::told(ErrorKind::Timeout, "the gateway does not answer"))?;
        let response = response.map_err(http_failure)?;
        match response.status() {
            StatusCode::OK => {
                self.stream = Some((response, Parser::default()));
                Ok(())
            }
            StatusCode::NO_CONTENT => Err(Error::told(ErrorKind::Refused, "the gateway says to stop for good")),
            _ => Err(Problem::read(response).await),
        }
    }

    async fn come_back(&mut self) -> Result<(), Error> {
        sleep(self.retry).await;
        match self.open().await {
            Ok(()) => self.pending.push_back(Line::Notice("connected again".to_owned())),
            Err(error) if error.is_retryable() => self.pending.push_back(Line::Notice(error.to_string())),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn lose(&mut self, why: &str) {
        self.stream = None;
        self.pending.push_back(Line::Notice(format!("{why}; coming back in {:?}", self.retry)));
    }

    fn read(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let Some((_, parser)) = &mut self.stream else { return Ok(()) };
        // One byte may end an event, so each event meets the id that came with it.
        for byte in chunk {
            for event in parser.feed(std::slice::from_ref(byte))? {
                if let Some(id) = parser.last_id() {
                    self.cursor = Some(id.to_owned());
                }
                self.pending.push_back(line(event, self.cursor.clone()));
            }
        }
        self.retry = parser.retry().unwrap_or(self.retry);
        Ok(())
    }
}

fn line(event: Sse, cursor: Option<String>) -> Line {
    match event {
        Sse { name, data } if name.starts_with("tidings.") => Line::Control { name, data, cursor },
        Sse { data, .. } => Line::Data { json: data, cursor },
    }
}
