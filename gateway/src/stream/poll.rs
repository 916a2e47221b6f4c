//! `GET /v1/poll`: the same subscription for clients and proxies that cannot stream.

use std::future::poll_fn;
use std::task::Poll as Async;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tidings_shared::message::json_string;
use tokio::time::{Instant, timeout_at};

use super::events::asked;
use super::gate::{self, Gate, Refusal};
use crate::hub::OpenConnection;
use crate::problem::{self, Problem};

/// How long a poll waits for its place in the history, on top.
const JOIN: Duration = Duration::from_secs(5);

/// What a poll answers.
#[derive(Debug, Serialize)]
struct Answer {
    /// What a stream would have put behind `data:`, in order.
    events: Vec<Box<RawValue>>,
    /// Where the next poll goes on.
    cursor: String,
    /// The parameters of the request that nobody knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored: Vec<String>,
}

/// Answers with the events after the cursor, at once if there are any, else as soon as one comes or the wait is over.
pub async fn poll(request: HttpRequest, gate: web::Data<Gate>) -> Result<HttpResponse, Problem> {
    let gate::Poll { connection, wait, ignored } = gate.poll(asked(&request))?;
    let (events, cursor) = collect(&connection, Instant::now() + wait).await?;
    let answer = Answer { events, cursor, ignored };
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(answer))
}

/// The events, and the cursor after them.
async fn collect(connection: &OpenConnection, deadline: Instant) -> Result<(Vec<Box<RawValue>>, String), Refusal> {
    let mut frames = Frames::default();
    let joined = timeout_at(Instant::now() + JOIN, take_until(connection, &mut frames, |frames| frames.ready)).await;
    // A connection that is gone without a goodbye is one of a worker that is broken, and so about to end.
    let ended = || connection.goodbye().map_or(Refusal::Ending, |(why, later)| Refusal::of_goodbye(why, later));
    match joined {
        Ok(Some(())) => {}
        Ok(None) => return Err(ended()),
        Err(_) => return Err(Refusal::Late(JOIN)),
    }
    let _over = timeout_at(deadline, take_until(connection, &mut frames, |frames| !frames.events.is_empty())).await;
    let cursor = connection.cursor().ok_or_else(ended)?;
    Ok((frames.events, cursor))
}

/// Takes all that is queued, and waits for more until `enough`. `None` if the connection was ended.
async fn take_until(connection: &OpenConnection, frames: &mut Frames, enough: impl Fn(&Frames) -> bool) -> Option<()> {
    poll_fn(|context| {
        loop {
            match connection.poll(context.waker()) {
                Async::Ready(Some(bytes)) => frames.take(&bytes),
                Async::Ready(None) => return Async::Ready(None),
                Async::Pending if enough(frames) => return Async::Ready(Some(())),
                Async::Pending => return Async::Pending,
            }
        }
    })
    .await
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let problem = Self::new(problem::Kind::Unavailable, refusal.to_string());
        match refusal {
            Refusal::Request(error) => error.into(),
            Refusal::Over(_, later) | Refusal::NoRoom(later) | Refusal::Away(later) => problem.after(later),
            Refusal::Ending | Refusal::Late(_) => problem,
        }
    }
}

/// What frames say, told apart by their lines.
#[derive(Default)]
struct Frames {
    events: Vec<Box<RawValue>>,
    ready: bool,
}

impl Frames {
    fn take(&mut self, frame: &Bytes) {
        let Ok(text) = std::str::from_utf8(frame) else { return };
        let (mut control, mut before) = (false, None);
        for line in text.lines() {
            match line.split_once(": ") {
                Some(("event", name)) => {
                    control = name.starts_with("tidings.");
                    self.ready |= name == "tidings.ready";
                }
                // A resync comes under each event name at once, and here there are no names.
                Some(("data", data)) if !control && before.replace(data) != Some(data) => {
                    let event = RawValue::from_string(data.to_owned()).or_else(|_| {
                        // A foreign publisher's: a stream would carry it as it is, and here it is text.
                        RawValue::from_string(json_string(data))
                    });
                    self.events.extend(event.ok());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;

    use super::*;
    use crate::admission::Limit;
    use crate::control::Goodbye;

    /// How each refusal is answered: the status, in how many seconds to come back, and what it says.
    #[test]
    fn each_refusal_has_its_own_words_and_says_when_to_come_back() {
        const LATER: Duration = Duration::from_millis(4_200);
        let over = |limit, what: &str| {
            let text = format!("limits.{} is reached: {what}; poll again later", Limit::as_str(limit));
            (Refusal::Over(limit, LATER), "5", text)
        };
        let told = |refusal, later, text: &str| (refusal, later, text.to_owned());
        let (store, end) =
            ("the store is away for these addresses; poll again later", "this gateway is about to end; ");
        let end = format!("{end}poll again, at another gateway if there is one");
        let of = |why| Refusal::of_goodbye(why, LATER);
        let table = [
            over(Limit::Connections, "this gateway has as many connections as it may"),
            over(Limit::User, "a user that you follow has as many connections as it may"),
            over(Limit::Origin, "as many connections come from your network address as may"),
            over(Limit::Rate, "more connections come than this gateway takes up in a second"),
            over(Limit::Streams, "this HTTP/2 connection has as many streams as it may"),
            over(Limit::Addresses, "there is no room for more addresses, or new ones come too fast"),
            over(Limit::Waiting, "as many connections wait to begin as may"),
            told(
                of(Goodbye::Overload),
                "5",
                "limits.addresses or limits.waiting is reached: there is no room for what you follow; poll again later",
            ),
            told(of(Goodbye::Store), "5", store),
            told(Refusal::Away(LATER), "5", store),
            told(of(Goodbye::Drain), "1", &end),
            told(of(Goodbye::MaxAge), "1", &end),
            told(Refusal::Ending, "1", &end),
            told(Refusal::Late(JOIN), "1", "the history of these addresses was not read within 5 s; poll again"),
        ];
        let limits: Vec<_> = table.iter().filter_map(|(refusal, ..)| limit_of(refusal)).collect();
        assert!(Limit::ALL.iter().all(|limit| limits.contains(limit)), "each limit has its row");
        for (refusal, later, text) in table {
            let problem = Problem::from(refusal);
            let response = problem.error_response();
            let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
            assert_eq!((response.status().as_u16(), after, problem.detail()), (503, Some(later), text.as_str()));
        }
    }

    fn limit_of(refusal: &Refusal) -> Option<Limit> {
        match refusal {
            Refusal::Over(limit, _) => Some(*limit),
            _ => None,
        }
    }

    #[test]
    fn frames_are_told_apart() {
        let mut frames = Frames::default();
        for frame in [
            "retry: 3000\n\n",
            "id: 1.7.1-0\nevent: ping\ndata: {\"topic\":\"a\",\"event\":\"ping\"}\n\n",
            "data: {\"topic\":\"a\",\"resync\":true,\"reason\":\"slow\"}\n\n",
            "event: tidings.tick\nid: 1.7.1-0\ndata:\n\n",
        ] {
            frames.take(&Bytes::from(frame));
        }
        assert!(!frames.ready);
        frames.take(&Bytes::from("event: tidings.ready\nid: 1.7.1-0\ndata: {\"connection\":\"x\",\"topics\":[]}\n\n"));
        assert!(frames.ready);
        assert_eq!(frames.events.len(), 2);
        frames.take(&Bytes::from("data: {\"topic\":\"a\",no json}\n\n"));
        assert_eq!(frames.events[2].get(), r#""{\"topic\":\"a\",no json}""#);
        let resync = "data: {\"topic\":\"a\",\"resync\":true}\n\n";
        let under_each_name = format!("{resync}event: x\n{resync}event: y\n{resync}");
        (0..2).for_each(|_| frames.take(&Bytes::from(under_each_name.clone())));
        assert_eq!(frames.events.len(), 5, "each once, however many names there are");
    }
}
