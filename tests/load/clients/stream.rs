//! One connection's event stream: what matters to a measurement is picked out line by line.
//!
//! Whether streams are well formed is what other tests check. Here it is taken for granted that a chunk of the body
//! ends where a line does; where that is wrong, events are missed and the run fails.

use std::time::Duration;

use serde::Deserialize;

use crate::mark::{Mark, now};
use crate::order::Seen;
use crate::verdict::scatter;

/// One connection's stream. Small, as there are thousands.
#[derive(Debug, Default)]
pub struct Stream {
    /// What it saw.
    pub seen: Seen,
    /// The last cursor, if it is to be kept.
    pub cursor: String,
    /// What it was asked to wait before it comes back, in milliseconds.
    pub retry: u32,
    /// How far it has come.
    pub state: State,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Not open.
    #[default]
    Closed,
    /// Asked for.
    Asked,
    /// The head of a good answer came.
    Answered,
    /// Live.
    Live,
    /// The answer was another than 200.
    Refused,
}

/// What a reader is to look for.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// In the line with which a stream is live; if empty, it is live with the end of the head.
    pub ready: &'a str,
    /// Keep cursors and serials.
    pub keep: bool,
}

#[derive(Deserialize)]
struct Resync {
    topic: String,
}

impl Stream {
    /// It was asked for anew.
    pub fn asked(&mut self) {
        self.partial.clear();
        self.state = State::Asked;
    }

    /// It has ended: how far it had come, and after which time it comes back, if it does. One that never became live was
    /// put off, and comes back when it was told to; one that was live, if it is to come back. A refusal is for good.
    pub fn ended(&mut self, returns: bool) -> (State, Option<Duration>) {
        let before = std::mem::take(&mut self.state);
        let wait = Duration::from_millis(u64::from(self.retry.max(100)));
        (before, (before != State::Refused && (returns || before != State::Live)).then_some(wait))
    }

    /// The head of the answer came, apart from the body.
    pub fn answered(&mut self, status: u16, look: Look<'_>) {
        self.state = if status == 200 { State::Answered } else { State::Refused };
        if self.state == State::Answered && look.ready.is_empty() {
            self.live();
        }
    }

    /// Takes what was read, and tells of each event.
    pub fn feed(&mut self, mut bytes: &[u8], look: Look<'_>, mut event: impl FnMut(Mark)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.partial.is_empty() {
                self.line(&bytes[..end], look, &mut event);
            } else {
                self.partial.extend_from_slice(&bytes[..end]);
                let line = std::mem::take(&mut self.partial);
                self.line(&line, look, &mut event);
            }
            bytes = &bytes[end + 1..];
        }
        self.partial.extend_from_slice(bytes);
    }

    fn line(&mut self, line: &[u8], look: Look<'_>, event: &mut impl FnMut(Mark)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.state {
            State::Asked => {
                let good = line.starts_with(b"HTTP/1.1 200");
                self.state = if good { State::Answered } else { State::Refused };
            }
            State::Answered if look.ready.is_empty() && line.is_empty() => self.live(),
            State::Answered if !look.ready.is_empty() && contains(line, look.ready) => self.live(),
            State::Closed | State::Refused => return,
            State::Answered | State::Live => {}
        }
        match line.first() {
            Some(b'd') if line.starts_with(b"data:") => self.data(line, look, event),
            Some(b'i') if look.keep => {
                if let Some(Ok(cursor)) = line.strip_prefix(b"id:").map(std::str::from_utf8) {
                    cursor.trim_start().clone_into(&mut self.cursor);
                }
            }
            Some(b'r') => {
                let text = line.strip_prefix(b"retry:").and_then(|text| std::str::from_utf8(text).ok());
                self.retry = text.and_then(|text| text.trim().parse().ok()).unwrap_or(self.retry);
            }
            _ => {}
        }
    }

    fn live(&mut self) {
        self.state = State::Live;
        self.seen.last = now();
    }

    fn data(&mut self, line: &[u8], look: Look<'_>, event: &mut impl FnMut(Mark)) {
        if let Some(mark) = Mark::find(line) {
            self.seen.events += 1;
            self.seen.digest = self.seen.digest.wrapping_add(scatter(mark.serial));
            if look.keep {
                self.seen.serials.push(mark.serial);
                self.seen.last = now();
            }
            event(mark);
        } else if contains(line, "\"resync\":true")
            && let Ok(Resync { topic }) = serde_json::from_slice(&line["data:".len()..])
        {
            self.seen.resyncs.push(topic);
            self.seen.last = now();
        }
    }
}

fn contains(line: &[u8], text: &str) -> bool {
    memchr::memmem::find(line, text.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look<'_> = Look { ready: "tidings.ready", keep: true };
    const STREAM: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2b\r\nretry: 2345\n\n\r\n40\r\nevent: tidings.ready\nid: a.1\n\
        data: {}\n\n\r\n99\r\nid: a.2\ndata: {\"data\":{\"mark\":\"~0000000000000005.00000007~\"}}\n\n\r\n\
        50\r\ndata: {\"topic\":\"t/00001\",\"resync\":true,\"reason\":\"slow\"}\n\n\r\n\
        99\r\nid: a.3\ndata: {\"data\":{\"mark\":\"~0000000000000006.00000008~\"}}\n\n\r\n";

    #[test]
    fn picks_out_what_matters_however_reads_cut_it() {
        for size in 1..=STREAM.len() {
            let (mut stream, mut marks) = (Stream::default(), Vec::new());
            stream.asked();
            STREAM.as_bytes().chunks(size).for_each(|bytes| stream.feed(bytes, LOOK, |mark| marks.push(mark.at)));
            assert_eq!((stream.state, stream.retry, stream.cursor.as_str()), (State::Live, 2345, "a.3"), "{size}");
            assert_eq!(
                (marks, stream.seen.events, stream.seen.serials),
                (vec![5, 6], 2, vec![7, 8]),
                "in pieces of {size}"
            );
            assert_eq!(stream.seen.resyncs, ["t/00001"]);
        }
    }

    #[test]
    fn is_live_when_the_server_says_so() {
        let state = |text: &str, ready| {
            let mut stream = Stream::default();
            stream.asked();
            stream.feed(text.as_bytes(), Look { ready, keep: false }, drop);
            stream.state
        };
        let head = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        assert_eq!(state(head, "tidings.ready"), State::Answered);
        assert_eq!(state(head, ""), State::Live);
        assert_eq!(state(&head[..20], ""), State::Answered);
        assert_eq!(state("HTTP/1.1 503 No\r\n\r\nevent: tidings.ready\n", "tidings.ready"), State::Refused);
    }
}
