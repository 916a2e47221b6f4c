//! What a well-behaved server never sends, though an EventSource may forgive it.

use serde_json::Value;

use crate::lines::{Lines, field};

/// Watches one stream and notes each fault.
#[derive(Debug, Default)]
pub struct Conduct {
    lines: Lines,
    block: Vec<(String, String)>,
    commented: bool,
    begun: bool,
    live: bool,
    faults: Vec<String>,
}

impl Conduct {
    /// Takes the same bytes as the parser.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Self { lines, block, commented, begun, live, faults } = self;
        lines.feed(bytes, |line| match std::str::from_utf8(line) {
            Err(_) => faults.push(format!("not UTF-8: {:?}", String::from_utf8_lossy(line))),
            Ok("") => {
                judge(block, Told { begun: *begun, commented: *commented, live: *live }, faults);
                *live |= block.iter().any(|(name, value)| name == "event" && value == "tidings.ready");
                *begun |= !block.is_empty();
                *commented = false;
                block.clear();
            }
            Ok(line) => match field(line) {
                Some((name, value)) if line.contains(':') => block.push((name.to_owned(), value.to_owned())),
                Some(_) => faults.push(format!("a field without colon: {line:?}")),
                None => *commented = true,
            },
        });
    }

    /// The body has ended. An end with the last chunk would stop clients that read streams through `fetch` for good.
    pub fn end(&mut self, clean: bool) {
        if clean {
            self.faults.push("the body ended cleanly instead of being cut".to_owned());
        }
        if self.lines.had_bom() {
            self.faults.push("a byte order mark".to_owned());
        }
    }

    /// What was noted since the last call.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.faults)
    }
}

/// What came before in the stream, or in the block.
#[derive(Clone, Copy)]
struct Told {
    begun: bool,
    commented: bool,
    live: bool,
}

fn judge(block: &[(String, String)], told: Told, faults: &mut Vec<String>) {
    let all = |name: &str| block.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    let mut fault = |what: &str| faults.push(format!("{what}: {block:?}"));
    let (ids, events, data) = (all("id"), all("event"), all("data"));
    if block.is_empty() {
        if !told.commented {
            fault("an empty block");
        }
        return;
    }
    if !told.begun && all("retry").is_empty() {
        fault("a stream that does not begin with retry");
    }
    if block.iter().any(|(name, _)| !["id", "event", "data", "retry"].contains(&name.as_str())) {
        fault("an unknown field");
    }
    if ids.len() > 1 || events.len() > 1 || data.len() > 1 {
        fault("a field twice");
    }
    if data.is_empty() && !(ids.is_empty() && events.is_empty()) {
        fault("id or event without data, which browsers treat differently");
    }
    if ids.iter().any(|id| id.is_empty() || id.len() > 512 || !id.bytes().all(|b| b.is_ascii_graphic())) {
        fault("an id that is not 1 to 512 bytes of printable ASCII");
    }
    if all("retry").iter().any(|ms| ms.parse::<u64>().is_ok_and(|ms| ms < 1_000) || ms.parse::<u64>().is_err()) {
        fault("a retry below one second");
    }
    if let Some(text) = data.first() {
        judge_data(events.first().copied(), !ids.is_empty(), told.live, text, &mut fault);
    }
}

fn judge_data(event: Option<&str>, has_id: bool, live: bool, data: &str, fault: &mut impl FnMut(&str)) {
    let json: Option<Value> = serde_json::from_str(data).ok();
    match event {
        Some("tidings.tick") if data.is_empty() && has_id => {}
        Some("tidings.tick") => fault("a tick with data or without id"),
        Some("tidings.goodbye") if has_id => fault("an id that is no place of an event"),
        Some("tidings.ready") if !has_id => fault("ready without cursor"),
        _ if !json.as_ref().is_some_and(Value::is_object) => fault("data that is no JSON object"),
        Some(name) if name.starts_with("tidings.") => {}
        name => {
            let resync = json.as_ref().is_some_and(|json| json.get("resync").is_some());
            match (resync, has_id) {
                (true, true) => fault("a resync with an id: a resume from it would skip what it does not cover"),
                (true, false) if name.is_some() => fault("a resync that does not reach onmessage"),
                // Before that, `tail` sends events that are older than the cursor.
                (false, false) if live => fault("a live event without cursor"),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(stream: &[u8]) -> Vec<String> {
        let mut conduct = Conduct::default();
        conduct.feed(stream);
        conduct.take()
    }

    #[test]
    fn the_contract_is_well_behaved() {
        let stream = "retry: 4210\n\n\
            :\n\n\
            data: {\"topic\":\"a\",\"version\":\"an older one, by tail\"}\n\n\
            id: 1.k3f9.17-0\ndata: {\"topic\":\"a\"}\n\n\
            event: tidings.ready\nid: 1.k3f9.17-0\ndata: {\"connection\":\"c\",\"topics\":[\"a\"]}\n\n\
            data: {\"topic\":\"a\",\"resync\":true,\"reason\":\"slow\"}\n\n\
            event: name\nid: 1.k3f9.18-0\ndata: {\"topic\":\"ü\"}\n\n\
            event: tidings.tick\nid: 1.k3f9.19-0\ndata:\n\n\
            retry: 1000\nevent: tidings.goodbye\ndata: {\"reason\":\"drain\"}\n\n";
        assert_eq!(faults(stream.as_bytes()), [""; 0]);
    }

    #[test]
    fn each_fault_is_seen() {
        let cases: &[(&[u8], &str)] = &[
            (b"data: \xff\n", "not UTF-8"),
            (b"data\n", "without colon"),
            (b"\n", "empty block"),
            (b"event: tidings.tick\nid: 1\ndata:\n\n", "begin with retry"),
            (b"retry: 1000\nfoo: 1\n\n", "unknown field"),
            (b"retry: 1000\n\nid: 1\n\n", "without data"),
            (b"retry: 1000\n\nevent: x\n\n", "without data"),
            ("retry: 1000\n\nid: ü\ndata: {}\n\n".as_bytes(), "printable ASCII"),
            (b"retry: 1000\n\nid: a b\ndata: {}\n\n", "printable ASCII"),
            (b"retry: 999\n\n", "below one second"),
            (b"retry: soon\n\n", "below one second"),
            (b"retry: 1000\n\nid: 1\ndata: {\ndata: }\n\n", "a field twice"),
            (b"retry: 1000\n\nid: 1\ndata: hello\n\n", "no JSON object"),
            (b"retry: 1000\n\nid: 1\ndata: {\"topic\":\"a\",\"resync\":true}\n\n", "resync with an id"),
            (b"retry: 1000\n\nevent: x\ndata: {\"topic\":\"a\",\"resync\":true}\n\n", "onmessage"),
            (b"retry: 1000\n\nevent: tidings.ready\nid: 1\ndata: {}\n\ndata: {\"topic\":\"a\"}\n\n", "without cursor"),
            (b"retry: 1000\n\nevent: tidings.tick\ndata:\n\n", "a tick"),
            (b"retry: 1000\n\nevent: tidings.ready\ndata: {}\n\n", "ready without cursor"),
            (b"retry: 1000\n\nevent: tidings.goodbye\nid: 1\ndata: {}\n\n", "no place"),
        ];
        for (stream, expected) in cases {
            let found = faults(stream);
            assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}: {found:?}");
        }
        let mut conduct = Conduct::default();
        conduct.feed(b"\xEF\xBB\xBFretry: 1000\n\n");
        conduct.end(true);
        assert_eq!(conduct.take().len(), 2);
    }
}
