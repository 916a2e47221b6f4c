//! The bytes of requests, good and bad.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings_shared::{Cursor, Partition, Partitions};

use super::AttackTask;

/// New topics of each request.
const TOPICS: u32 = 100;
/// Events of one body.
const EVENTS: usize = 300_000;

/// An event that nobody of the run follows.
pub const EVENT: &str = r#"{"to":"nobody"}"#;

/// A body of very many events.
pub fn event_array() -> String {
    let mut body = String::from("[");
    for n in 0..EVENTS {
        body.push_str(if n == 0 { r#"{"to":"n"}"# } else { r#",{"to":"n"}"# });
    }
    body + "]"
}

/// A request for a stream.
pub fn stream(query: &str, cursor: &str) -> Vec<u8> {
    let mut head = format!("GET /v1/events?{query} HTTP/1.1\r\nHost: localhost\r\n");
    if !cursor.is_empty() {
        head += &format!("Last-Event-ID: {cursor}\r\n");
    }
    (head + "Accept: text/event-stream\r\n\r\n").into_bytes()
}

/// A request that is answered at once.
pub fn poll() -> Vec<u8> {
    b"GET /v1/poll?topic=t/00000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec()
}

/// A publish request whose body lacks `missing` of the bytes that its head names.
pub fn publish(host: &str, headers: &str, body: &str, missing: usize) -> Vec<u8> {
    let length = body.len() + missing;
    let head = format!(
        "POST /v1/publish HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// The query of a stream whose topics nobody has followed before.
pub fn new_topics(n: u32) -> String {
    let topics: Vec<String> = (0..TOPICS).map(|topic| format!("topic=new/{n}/{topic}")).collect();
    topics.join("&")
}

/// The cursor of the task, moved to so long after now.
pub fn cursor_ahead(task: &AttackTask, ahead: Duration) -> String {
    let Ok(mut cursor) = Cursor::decode(&task.cursor, Partitions::ONE) else {
        return task.cursor.clone();
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if let Some(mut place) = cursor.place(Partition::FIRST) {
        place.id.ms = u64::try_from((since + ahead).as_millis()).unwrap_or(u64::MAX);
        cursor.set(Partition::FIRST, place);
    }
    cursor.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> AttackTask {
        AttackTask {
            public: ([127, 0, 0, 1], 80).into(),
            admin: ([127, 0, 0, 1], 81).into(),
            cursor: "1.abcd.1795233375000-0".to_owned(),
        }
    }

    #[test]
    fn a_cursor_ahead_differs_in_its_time_alone() {
        let ahead = cursor_ahead(&task(), Duration::from_secs(14));
        assert_ne!(ahead, task().cursor);
        assert_eq!(Cursor::decode(&ahead, Partitions::ONE).unwrap().encode(), ahead);
    }

    #[test]
    fn a_body_stalls_only_where_it_is_to() {
        let length = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let named = head.rsplit_once(": ").unwrap().1.parse::<usize>().unwrap();
            named - body.len()
        };
        assert_eq!(length(publish("a", "", EVENT, 0)), 0);
        assert_eq!(length(publish("a", "", EVENT, 9)), 9);
        let events: Vec<serde_json::Value> = serde_json::from_str(&event_array()).unwrap();
        assert_eq!(events.len(), EVENTS);
    }
}
