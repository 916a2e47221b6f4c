//! Reading an event stream piece by piece, by the rules of WHATWG.

use std::time::Duration;

use crate::{Error, ErrorKind};

/// An event of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sse {
    /// `message` unless the stream named it.
    pub name: String,
    /// The data lines, joined.
    pub data: String,
}

/// The state of one stream.
#[derive(Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    /// The line before ended with CR, so an LF now belongs to it.
    after_cr: bool,
    begun: bool,
    name: String,
    data: String,
    id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

/// The longest line that is taken, in bytes; a gateway's are far below.
const LINE: usize = 4 * 1024 * 1024;
const BOM: &[u8] = b"\xef\xbb\xbf";

impl Parser {
    /// Reads on; answers the events that are now complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Sse>, Error> {
        let mut events = Vec::new();
        for byte in bytes {
            let closes_crlf = self.after_cr && *byte == b'\n';
            self.after_cr = *byte == b'\r';
            match byte {
                b'\n' if closes_crlf => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()),
                _ if self.line.len() >= LINE => {
                    return Err(Error::told(ErrorKind::Protocol, "a line of the event stream does not end"));
                }
                byte => self.line.push(*byte),
            }
        }
        Ok(events)
    }

    /// The id of the last event that was complete: what `Last-Event-ID` should be.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref().filter(|id| !id.is_empty())
    }

    /// The last `retry:` of the stream.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn end_of_line(&mut self) -> Option<Sse> {
        let line = std::mem::take(&mut self.line);
        let line = if self.begun { &line[..] } else { line.strip_prefix(BOM).unwrap_or(&line) };
        self.begun = true;
        if line.is_empty() {
            return self.dispatch();
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        self.field(field, value.strip_prefix(' ').unwrap_or(value));
        None
    }

    fn field(&mut self, field: &str, value: &str) {
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            // Comments, and fields of later versions.
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Sse> {
        if let Some(id) = &self.id {
            self.last_id = Some(id.clone());
        }
        let (name, mut data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        // No data line at all: nothing to dispatch. One empty data line is an event with empty data.
        data.pop()?;
        Some(Sse { name: if name.is_empty() { "message".to_owned() } else { name }, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}retry: 4210\r\n\r\n: hello\nevent: tidings.ready\rid: c1\rdata: {}\r\rdata:one\n\
                          data:  two\nid: c2\nunknown: x\n\nid: c3\n\nevent: tick\ndata\n\nretry: soon\nid\n\nid: c4\ndata: cut";

    fn event(name: &str, data: &str) -> Sse {
        Sse { name: name.into(), data: data.into() }
    }

    #[test]
    fn reads_the_same_whole_or_byte_by_byte() {
        let expected = [event("tidings.ready", "{}"), event("message", "one\n two"), event("tick", "")];
        for size in [1, 2, 3, 7, STREAM.len()] {
            let mut parser = Parser::default();
            let events: Vec<Sse> =
                STREAM.as_bytes().chunks(size).flat_map(|chunk| parser.feed(chunk).unwrap()).collect();
            assert_eq!(events, expected, "in pieces of {size}");
            assert_eq!(parser.retry(), Some(Duration::from_millis(4210)));
            assert_eq!(parser.last_id(), None, "an empty id forgets, one that was cut off does not count");
        }
    }

    #[test]
    fn ids_stay_until_another_comes() {
        let mut parser = Parser::default();
        parser.feed(b"id: a\ndata: 1\n\ndata: 2\n\nid: b\ndata: 3").unwrap();
        assert_eq!(parser.last_id(), Some("a"));
        parser.feed(b"\n\n").unwrap();
        assert_eq!(parser.last_id(), Some("b"));
    }

    #[test]
    fn a_line_without_end_is_refused() {
        assert!(Parser::default().feed(&vec![b'x'; LINE + 1]).is_err());
    }
}
