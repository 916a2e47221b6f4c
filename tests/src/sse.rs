//! The event stream parser of an EventSource, exactly as the WHATWG HTML standard has it.

use crate::lines::{Lines, field};

/// What the parser hands to its EventSource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event to dispatch.
    Event(Event),
    /// A new reconnection time, in milliseconds.
    Retry(u64),
}

/// A dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` if the stream named none.
    pub name: String,
    /// Its data, lines joined by LF.
    pub data: String,
    /// `lastEventId` at its dispatch.
    pub last_id: String,
    /// The `id` of its own block, if that had one.
    pub id: Option<String>,
}

/// Reads one stream, in chunks of any size.
#[derive(Debug, Default)]
pub struct Parser {
    lines: Lines,
    block: Block,
    last_id: String,
}

#[derive(Debug, Default)]
struct Block {
    name: String,
    data: String,
    id: Option<String>,
    id_buffer: String,
}

impl Parser {
    /// For a stream that continues after `last_id`. The standard starts the buffer empty, which would let an event
    /// without id forget the cursor; Chromium and Firefox keep it, and so does this.
    pub fn resuming(last_id: &str) -> Self {
        let block = Block { id_buffer: last_id.to_owned(), ..Block::default() };
        Self { lines: Lines::default(), block, last_id: last_id.to_owned() }
    }

    /// What would be sent as `Last-Event-ID` now.
    pub fn last_id(&self) -> &str {
        &self.last_id
    }

    /// Takes bytes and answers what they completed.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Item> {
        let mut items = Vec::new();
        let Self { lines, block, last_id } = self;
        lines.feed(bytes, |line| {
            let line = String::from_utf8_lossy(line);
            if line.is_empty() {
                items.extend(block.dispatch(last_id).map(Item::Event));
            } else if let Some((name, value)) = field(&line) {
                items.extend(block.take(name, value).map(Item::Retry));
            }
        });
        items
    }
}

impl Block {
    fn take(&mut self, name: &str, value: &str) -> Option<u64> {
        match name {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => {
                value.clone_into(&mut self.id_buffer);
                self.id = Some(value.to_owned());
            }
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => return value.parse().ok(),
            _ => {}
        }
        None
    }

    fn dispatch(&mut self, last_id: &mut String) -> Option<Event> {
        self.id_buffer.clone_into(last_id);
        let (mut data, name) = (std::mem::take(&mut self.data), std::mem::take(&mut self.name));
        let id = self.id.take();
        // A block without any data line is no event; one with an empty data line is.
        data.pop()?;
        let name = if name.is_empty() { "message".to_owned() } else { name };
        Some(Event { name, data, last_id: last_id.clone(), id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(chunks: &[&[u8]]) -> (Vec<Item>, String) {
        let mut parser = Parser::default();
        let items = chunks.iter().flat_map(|chunk| parser.feed(chunk)).collect();
        (items, parser.last_id().to_owned())
    }

    /// `name|data|last id` of each event, `retry N` of each retry.
    fn told(stream: &str) -> Vec<String> {
        let tell = |item: Item| match item {
            Item::Event(event) => format!("{}|{}|{}", event.name, event.data, event.last_id),
            Item::Retry(ms) => format!("retry {ms}"),
        };
        parse(&[stream.as_bytes()]).0.into_iter().map(tell).collect()
    }

    #[test]
    fn the_table() {
        let cases: &[(&str, &[&str])] = &[
            // The examples of the standard.
            ("data: YHOO\ndata: +2\ndata: 10\n\n", &["message|YHOO\n+2\n10|"]),
            (
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
                &["message|first event|1", "message|second event|", "message| third event|"],
            ),
            ("data\n\ndata\ndata\n\ndata:", &["message||", "message|\n|"]),
            ("data:test\n\ndata: test\n\n", &["message|test|", "message|test|"]),
            // Names last for one block, ids for all that follow.
            ("event: a\nid: 7\ndata: x\n\ndata: y\n\n", &["a|x|7", "message|y|7"]),
            ("event: a\n\ndata: y\n\n", &["message|y|"]),
            ("event: a\nevent: b\nevent\ndata: y\n\n", &["message|y|"]),
            // An id without data counts, but only at the end of its block.
            ("id: 7\n\ndata: y\n\n", &["message|y|7"]),
            ("id: 7\nid: a\0b\ndata: y\n\n", &["message|y|7"]),
            ("event: tidings.tick\nid: 9\ndata:\n\n", &["tidings.tick||9"]),
            // Retry: digits only, at once, no data needed.
            ("retry: 1500\n", &["retry 1500"]),
            ("retry: 1.5\nretry: -1\nretry: +1\nretry:\nretry: 1 \nretry: x\nretry: 99999999999999999999\n", &[]),
            ("data: x\nretry: 5\n\n", &["retry 5", "message|x|"]),
            // Unknown fields, comments, spaces before the colon.
            ("dat: x\n:data: y\n data: z\ndata : z\nData: z\n\n", &[]),
            // An unfinished event is dropped.
            ("data: x\n", &[]),
            ("data: x\n\ndata: y", &["message|x|"]),
        ];
        for (stream, expected) in cases {
            assert_eq!(told(stream), *expected, "{stream:?}");
        }
    }

    #[test]
    fn an_id_counts_only_with_its_blank_line() {
        assert_eq!(parse(&[b"id: 1\ndata: x\n\nid: 2\ndata: y\n"]).1, "1");
        assert_eq!(parse(&[b"id: 1\n\nid: 2\n\n"]).1, "2");
    }

    #[test]
    fn a_resumed_stream_keeps_its_cursor_until_told_another() {
        let mut parser = Parser::resuming("5");
        let items = parser.feed(b"data: resync\n\n");
        assert!(matches!(&items[..], [Item::Event(event)] if event.last_id == "5" && event.id.is_none()));
        parser.feed(b"id\n\n");
        assert_eq!(parser.last_id(), "");
    }

    #[test]
    fn broken_utf8_is_replaced() {
        assert!(matches!(&parse(&[b"data: a\xffb\n\n"]).0[..], [Item::Event(event)] if event.data == "a\u{fffd}b"));
    }

    const PIECES: &[&str] = &[
        "data",
        "id",
        "event",
        "retry",
        "x",
        "ü🦀",
        ":",
        ": ",
        " ",
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        "\r\n\r\n",
        "\u{feff}",
        "\0",
        "12",
        "data: y\n\n",
    ];

    proptest! {
        #[test]
        fn the_same_at_every_split(picks in proptest::collection::vec(0..PIECES.len(), 0..40)) {
            let stream: String = picks.iter().map(|at| PIECES[*at]).collect();
            let bytes = stream.as_bytes();
            let whole = parse(&[bytes]);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&parse(&single), &whole);
            for at in 0..=bytes.len() {
                prop_assert_eq!(&parse(&[&bytes[..at], &bytes[at..]]), &whole);
            }
        }
    }
}
