//! The message codec: an event as it travels through Redis.
//!
//! ```text
//! 1 1763683201877-0 k3f9 c order.updated - - - {"type":"order.updated","version":"7","time":"…","data":{…}}
//! │ │               │    │ │             │ │ │ └ body: the JSON that becomes `data:`, but for its address
//! │ │               │    │ │             │ │ └ event name          (- for none)
//! │ │               │    │ │             │ └ trace context         (- for none)
//! │ │               │    │ │             └ spread in milliseconds  (- for none)
//! │ │               │    │ └ type                                  (- for none)
//! │ │               │    └ flags                                 (- for none)
//! │ │               └ epoch  ┐ the publish script puts these three before the message;
//! │ └ id                     │ in a stream entry they are known already, and absent
//! └ version of the codec     ┘
//! ```
//!
//! Flags: `c` the event may be coalesced; `m` it goes to several addresses; `d` and digits: the delay in milliseconds, as
//! in `cmd500`. The publish script looks for `m` among the letters at the beginning, so what has digits comes last. A
//! decoder passes over flags that it does not know. So a gateway of version 0.1 delivers an event with a delay at once
//! or over its spread. It would take a spread that is no number for no message at all, so the delay is not written there.
//!
//! A body that begins with `{"sender":"…",` names the event's sender. It needs no flag: the publisher cannot forget it,
//! and version 0.1 delivers it as it delivers any other field.
//!
//! The body names no address. An event to several addresses is stored and sent once for each, and a connection is told
//! only of the addresses that it follows itself: [`data`] puts those in.

use crate::{Address, Epoch, Id, Invalid};

/// The codec's version, the first field of every [`Delivered`] text.
pub const VERSION: &str = "1";

/// The header that a gateway routes by, without parsing JSON, and the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Whether a newer event of the same address may take the place of this one.
    pub coalesce: bool,
    /// Whether it goes to more addresses than one. Its copies come one right after the other, and then an end mark on the
    /// journal's channel: a gateway holds them until then, so that a connection that follows several gets one event.
    pub several: bool,
    /// The event's type.
    pub event_type: Option<&'a str>,
    /// The window, in milliseconds, over which connections get the event.
    pub spread_ms: Option<u64>,
    /// The time, in milliseconds, before which no connection gets the event.
    pub delay_ms: u64,
    /// W3C `traceparent` of the publish.
    pub trace: Option<&'a str>,
    /// The SSE event name; without one the event reaches `onmessage`.
    pub name: Option<&'a str>,
    /// A JSON object on one line, without `topic` and `topics`.
    pub body: &'a str,
}

/// A message as pub/sub brings it: with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered<'a> {
    /// Its place in the partition.
    pub id: Id,
    /// The history it belongs to.
    pub epoch: Epoch,
    /// What was published.
    pub message: Message<'a>,
}

const EXPECTED: &str = "<flags> <type> <spread> <trace> <name> <body>, as tidings-shared writes a message";

impl<'a> Message<'a> {
    /// The message as text, as [`Message::decode`] reads it.
    pub fn encode(&self) -> String {
        let spread = self.spread_ms.map(|ms| ms.to_string());
        let flags = self.flags();
        let flags = Some(flags.as_str()).filter(|flags| !flags.is_empty());
        let fields = [flags, self.event_type, spread.as_deref(), self.trace, self.name];
        let mut text = String::with_capacity(64 + self.body.len());
        for field in fields {
            text.push_str(field.unwrap_or("-"));
            text.push(' ');
        }
        text.push_str(self.body);
        text
    }

    fn flags(&self) -> String {
        let mut flags = String::new();
        if self.coalesce {
            flags.push('c');
        }
        if self.several {
            flags.push('m');
        }
        if self.delay_ms > 0 {
            flags.push_str(&format!("d{}", self.delay_ms));
        }
        flags
    }

    /// The sender, if the body begins with one.
    pub fn sender(&self) -> Option<String> {
        let text = self.body.strip_prefix("{\"sender\":")?;
        // Stops behind the string: the rest of the body is not looked at.
        serde_json::Deserializer::from_str(text).into_iter::<String>().next()?.ok()
    }

    /// Reads what [`Message::encode`] wrote. Unknown flags are passed over, so that later versions may add some.
    pub fn decode(text: &'a str) -> Result<Self, Invalid> {
        Self::read(text).ok_or_else(|| Invalid::new("message", text, EXPECTED))
    }

    fn read(text: &'a str) -> Option<Self> {
        let mut fields = text.splitn(6, ' ');
        let mut field = || fields.next().filter(|field| !field.is_empty());
        let given = |field: &'a str| (field != "-").then_some(field);
        let flags = field()?;
        let event_type = given(field()?);
        let spread_ms = match given(field()?) {
            None => None,
            Some(ms) => Some(ms.parse().ok()?),
        };
        let (trace, name, body) = (given(field()?), given(field()?), field()?);
        let one_line = !body.bytes().any(|b| b == b'\n' || b == b'\r');
        let object = body.len() > 2 && body.starts_with('{') && body.ends_with('}');
        let clean = [event_type, trace, name].into_iter().flatten().all(|f| !f.contains(['\n', '\r']));
        (one_line && object && clean).then_some(Self {
            coalesce: flags.contains('c'),
            several: flags.contains('m'),
            event_type,
            spread_ms,
            delay_ms: delay_ms(flags),
            trace,
            name,
            body,
        })
    }
}

/// Reads the delay among the flags; zero if there is none. One that is too large for a number is the largest there is:
/// who delivers it has a bound of its own.
fn delay_ms(flags: &str) -> u64 {
    let Some((_, behind)) = flags.split_once('d') else { return 0 };
    let digits = behind.bytes().map_while(|byte| byte.is_ascii_digit().then(|| u64::from(byte - b'0')));
    digits.fold(0, |ms: u64, digit| ms.saturating_mul(10).saturating_add(digit))
}

impl<'a> Delivered<'a> {
    /// The text that the publish script sends.
    pub fn encode(&self) -> String {
        format!("{VERSION} {} {} {}", self.id, self.epoch, self.message.encode())
    }

    /// Reads what the publish script sent.
    pub fn decode(text: &'a str) -> Result<Self, Invalid> {
        let wrong =
            || Invalid::new("message", text, "1 <id> <epoch> <message>, as the publish script of this version sends");
        let (place, message) = split_place(text).ok_or_else(wrong)?;
        Ok(Self { id: place.0, epoch: place.1, message: Message::decode(message)? })
    }
}

/// Reads a mark: `1 <id> <epoch>`. A beacon says so what the last id of the journal is; the journal's channel, that the
/// event of this id has come whole.
pub fn decode_mark(text: &str) -> Result<(Id, Epoch), Invalid> {
    let wrong = || Invalid::new("mark", text, "1 <id> <epoch>, as a script of this version sends");
    let padded = format!("{text} ");
    match split_place(&padded) {
        Some((place, "")) => Ok(place),
        _ => Err(wrong()),
    }
}

fn split_place(text: &str) -> Option<((Id, Epoch), &str)> {
    let mut fields = text.splitn(4, ' ');
    if fields.next()? != VERSION {
        return None;
    }
    let place = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((place, fields.next()?))
}

/// The `data:` of an event for a connection that follows `addresses` of those it was sent to: the body, with `"topic"`
/// put first, and `"topics"` after it if there are several. `None` if there is no address or the body is no object.
pub fn data(addresses: &[&Address], body: &str) -> Option<String> {
    let fields = body.strip_prefix('{').filter(|rest| rest.len() > 1)?;
    let mut text = String::with_capacity(body.len() + 64);
    text.push_str("{\"topic\":");
    text.push_str(&json_string(&addresses.first()?.to_string()));
    if addresses.len() > 1 {
        text.push_str(",\"topics\":[");
        for (at, address) in addresses.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { "," });
            text.push_str(&json_string(&address.to_string()));
        }
        text.push(']');
    }
    text.push(',');
    text.push_str(fields);
    Some(text)
}

/// `text` as a JSON string, quotes included.
pub fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::option;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trips(
            coalesce: bool,
            several: bool,
            event_type in option::of("[a-z][a-z.]{0,20}"),
            spread_ms: Option<u64>,
            delay_ms: u64,
            trace in option::of("00-[0-9a-f]{32}-[0-9a-f]{16}-01"),
            name in option::of("[a-z][a-z.]{0,20}"),
            body in "\\{\"[^\\p{C}]{1,40}\\}",
            (ms, seq, bits) in any::<(u64, u64, u32)>(),
        ) {
            let message = Message {
                coalesce,
                several,
                event_type: event_type.as_deref(),
                spread_ms,
                delay_ms,
                trace: trace.as_deref(),
                name: name.as_deref(),
                body: &body,
            };
            let text = message.encode();
            prop_assert_eq!(Message::decode(&text).unwrap(), message);
            let delivered = Delivered { id: Id { ms, seq }, epoch: Epoch::from_random(bits), message };
            let text = delivered.encode();
            prop_assert_eq!(Delivered::decode(&text).unwrap(), delivered);
        }

        #[test]
        fn a_sender_is_read_back_whatever_it_contains(sender in "\\PC{0,40}", rest in "[a-z]{0,10}") {
            let body = format!("{{\"sender\":{},\"time\":\"{rest}\"}}", json_string(&sender));
            let text = format!("c - - - - {body}");
            prop_assert_eq!(Message::decode(&text).unwrap().sender().unwrap(), sender);
        }

        #[test]
        fn unknown_flags_are_passed_over(flags in "[a-ce-z]{0,3}(d[0-9]{1,6})?[A-Z]{0,2}") {
            let text = format!("{} - - - - {{\"time\":\"t\"}}", if flags.is_empty() { "-" } else { &flags });
            let message = Message::decode(&text).unwrap();
            let letters = flags.split('d').next().unwrap();
            prop_assert_eq!((message.coalesce, message.several), (letters.contains('c'), letters.contains('m')));
            let digits: String = flags.chars().filter(char::is_ascii_digit).collect();
            prop_assert_eq!(message.delay_ms, digits.parse().unwrap_or(0));
        }

        #[test]
        fn never_panics(text: String) {
            let _ = Message::decode(&text).map(|message| message.sender());
            let _ = Delivered::decode(&text);
            let _ = decode_mark(&text);
        }
    }

    #[test]
    fn only_a_body_that_begins_with_a_sender_has_one() {
        let sender = |body: &str| {
            let text = format!("c - - - - {body}");
            Message::decode(&text).unwrap().sender()
        };
        assert_eq!(sender(r#"{"sender":"tab","time":"t"}"#).as_deref(), Some("tab"));
        assert_eq!(sender(r#"{"sender":"tab"}"#).as_deref(), Some("tab"));
        for body in [
            r#"{"time":"t","sender":"tab"}"#,
            r#"{"time":"t","data":{"sender":"tab"}}"#,
            r#"{"sender":7,"time":"t"}"#,
            r#"{"sender":"tab}"#,
        ] {
            assert_eq!(sender(body), None, "{body}");
        }
    }

    /// The publish script sends an end mark where `^%a*m` fits: `m` among the letters at the beginning.
    #[test]
    fn what_has_digits_comes_behind_the_mark_of_several_addresses() {
        let message = Message::decode("cm - - - - {\"time\":\"t\"}").unwrap();
        let text = Message { delay_ms: 500, ..message }.encode();
        assert_eq!(text, "cmd500 - - - - {\"time\":\"t\"}");
    }

    #[test]
    fn names_only_the_addresses_it_is_told() {
        let (order, alice) = ("orders/42".parse().unwrap(), "@a\"b".parse().unwrap());
        let body = r#"{"version":"7"}"#;
        assert_eq!(data(&[&order], body).unwrap(), r#"{"topic":"orders/42","version":"7"}"#);
        assert_eq!(
            data(&[&order, &alice], body).unwrap(),
            r#"{"topic":"orders/42","topics":["orders/42","@a\"b"],"version":"7"}"#
        );
        assert_eq!(data(&[], body), None);
        assert_eq!(data(&[&order], "{"), None);
    }

    #[test]
    fn marks() {
        let (id, epoch) = decode_mark("1 17-3 k3f9").unwrap();
        assert_eq!((id.to_string(), epoch.to_string()), ("17-3".into(), "k3f9".into()));
        for text in ["", "1 17-3", "2 17-3 k3f9", "1 17-3 k3f9 x", "1 x k3f9"] {
            assert!(decode_mark(text).is_err(), "{text:?}");
        }
    }
}
