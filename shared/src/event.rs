//! An event: one thing to publish.

mod json;

use core::time::Duration;
use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Address, Invalid, Message, limits, user};

/// One thing to publish. Fields are taken as they are and checked when it is published, so building one never fails.
///
/// As JSON it is the body of `POST /v1/publish`; unknown fields are refused. See
/// [`Event::from_json`].
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    to: OneOrMany,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    coalesce: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[serde(rename = "event", skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// `"to"` may be one address or a list.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Events are equal if they say the same, as text by text. Data is compared as it is written.
impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        let data = |event: &Self| event.data.as_deref().map(|data| data.get().to_owned());
        self.to() == other.to()
            && self.event_type == other.event_type
            && self.version == other.version
            && data(self) == data(other)
            && self.key == other.key
            && self.coalesce == other.coalesce
            && self.spread == other.spread
            && self.delay == other.delay
            && self.sender == other.sender
            && self.name == other.name
    }
}

/// An event that was checked and encoded: ready for the publish script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Where it goes: no address twice.
    pub addresses: Vec<Address>,
    /// The encoded [`Message`].
    pub message: String,
    /// The idempotency key, if the caller gave one;
    /// [`idempotency_scope`](crate::keys::idempotency_scope) is how the store knows it.
    pub key: Option<String>,
    /// Whether a newer event of the same addresses may take its place while it waits.
    pub coalesce: bool,
    /// The sender, if the caller named one. Events of different senders never take each other's place.
    pub sender: Option<String>,
}

impl Event {
    /// "What `address` names has changed; fetch it again."
    pub fn refresh(address: impl Into<String>) -> Self {
        Self {
            to: OneOrMany::One(address.into()),
            event_type: None,
            version: None,
            data: None,
            key: None,
            coalesce: true,
            spread: None,
            delay: None,
            sender: None,
            name: None,
        }
    }

    /// Sends it to `address` as well.
    #[must_use]
    pub fn also_to(mut self, address: impl Into<String>) -> Self {
        let mut to = match self.to {
            OneOrMany::One(first) => vec![first],
            OneOrMany::Many(all) => all,
        };
        to.push(address.into());
        self.to = OneOrMany::Many(to);
        self
    }

    /// What kind of change it is, such as `order.updated`; connections may ask for some types only.
    #[must_use]
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = Some(event_type.into());
        self
    }

    /// The version that the changed thing now has, for pages that compare.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Data for the page, at most 64 KiB of JSON.
    #[must_use]
    pub fn data(mut self, data: Box<RawValue>) -> Self {
        self.data = Some(data);
        self
    }

    /// An idempotency key: of all events published with one key to the same addresses within ten
    /// minutes, the first counts, whatever the others say. The order of the addresses does not
    /// matter.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Whether a newer event to the same addresses may take the place of this one while it waits: in the publisher, for a
    /// slow reader, or as a reader asked for few. Default: yes.
    #[must_use]
    pub fn coalesce(mut self, coalesce: bool) -> Self {
        self.coalesce = coalesce;
        self
    }

    /// Each connection gets it at a random moment of this time, at most an hour, so that not all pages fetch at once. Zero
    /// sends it at once where the gateway's configuration would spread it.
    #[must_use]
    pub fn spread(mut self, spread: Duration) -> Self {
        self.spread = Some(format!("{}ms", spread.as_millis()));
        self
    }

    /// The time before which no connection gets it, at most an hour: for caches and read replicas that lag. Each connection
    /// gets it between `delay` and `delay` plus its spread; without a spread exactly after `delay`.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(format!("{}ms", delay.as_millis()));
        self
    }

    /// The sender, at most 128 bytes of printable UTF-8, such as an id that a tab made up. Connections that ask for
    /// `not=SENDER` skip its events. The others see it in the data.
    #[must_use]
    pub fn sender(mut self, sender: impl Into<String>) -> Self {
        self.sender = Some(sender.into());
        self
    }

    /// The SSE event name. With one the event reaches `addEventListener(name, …)` and no longer `onmessage`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The addresses as given.
    pub fn to(&self) -> &[String] {
        match &self.to {
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(all) => all,
        }
    }

    /// Checks every field and encodes. `time` is the moment of publishing, in RFC 3339.
    pub fn prepare(&self, time: &str) -> Result<Prepared, Invalid> {
        let addresses = self.addresses()?;
        let data = self.data.as_deref().map(one_line).transpose()?;
        check_type("type", self.event_type.as_deref())?;
        check_name("event", self.name.as_deref())?;
        check_text("version", self.version.as_deref(), limits::VERSION_BYTES)?;
        check_text("key", self.key.as_deref(), limits::KEY_BYTES)?;
        check_sender("sender", self.sender.as_deref())?;
        let spread_ms = self.spread.as_deref().map(|text| window_ms("spread", text)).transpose()?;
        let delay_ms = self.delay.as_deref().map(|text| window_ms("delay", text)).transpose()?;
        let body = Body {
            sender: self.sender.as_deref(),
            event_type: self.event_type.as_deref(),
            version: self.version.as_deref(),
            time,
            name: self.name.as_deref(),
            data: data.as_deref(),
        };
        let body = serde_json::to_string(&body).map_err(|e| Invalid::new("event", &e.to_string(), "a JSON object"))?;
        let message = Message {
            coalesce: self.coalesce,
            several: addresses.len() > 1,
            event_type: self.event_type.as_deref(),
            spread_ms,
            delay_ms: delay_ms.unwrap_or_default(),
            trace: None,
            name: self.name.as_deref(),
            body: &body,
        };
        Ok(Prepared {
            addresses,
            message: message.encode(),
            key: self.key.clone(),
            coalesce: self.coalesce,
            sender: self.sender.clone(),
        })
    }

    fn addresses(&self) -> Result<Vec<Address>, Invalid> {
        let to = self.to();
        if to.is_empty() || to.len() > limits::EVENT_ADDRESSES {
            return Err(Invalid::new("to", &format!("{} addresses", to.len()), "1 to 100 addresses"));
        }
        let mut addresses = Vec::with_capacity(to.len());
        for (at, text) in to.iter().enumerate() {
            let address: Address = text.parse().map_err(|e: Invalid| match to.len() {
                1 => e.of("to"),
                _ => e.of(format!("to[{at}]")),
            })?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }
}

/// The body in its one order of fields, which golden files pin.
#[derive(Serialize)]
struct Body<'a> {
    /// First, so that [`Message::sender`] finds it without parsing the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    time: &'a str,
    #[serde(rename = "event", skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

/// The same JSON without line breaks, which would end an SSE field. Between tokens they mean nothing, and inside a JSON
/// string they cannot stand.
fn one_line(data: &RawValue) -> Result<Cow<'_, RawValue>, Invalid> {
    let text = data.get();
    if text.len() > limits::DATA_BYTES {
        return Err(Invalid::new("data", &format!("{} bytes", text.len()), "at most 65536 bytes of JSON"));
    }
    if !text.bytes().any(|byte| byte == b'\n' || byte == b'\r') {
        return Ok(Cow::Borrowed(data));
    }
    let joined = RawValue::from_string(text.replace(['\n', '\r'], ""));
    joined.map(Cow::Owned).map_err(|e| Invalid::new("data", &e.to_string(), "JSON"))
}

/// Checks an event type, as an event carries it and as a connection asks for it.
pub fn check_type(field: &'static str, text: Option<&str>) -> Result<(), Invalid> {
    let Some(text) = text else { return Ok(()) };
    let legal = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:~-/".contains(&b));
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if legal && starts && text.len() <= limits::TYPE_BYTES {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        text,
        "1 to 128 bytes of [A-Za-z0-9_.:~/-], the first a letter or digit, such as order.updated",
    ))
}

/// Checks an SSE event name, as an event carries it and as a connection asks for it. `open` and `error` are what
/// EventSource itself dispatches; `tidings.` names control events.
pub fn check_name(field: &'static str, name: Option<&str>) -> Result<(), Invalid> {
    check_type(field, name)?;
    match name {
        Some(text) if matches!(text, "open" | "error") || text.starts_with("tidings.") => {
            Err(Invalid::new(field, text, "a name other than open, error and tidings.*, which are reserved"))
        }
        _ => Ok(()),
    }
}

/// Reads a `spread` or a `delay`, in milliseconds.
fn window_ms(field: &'static str, text: &str) -> Result<u64, Invalid> {
    let window = humantime::parse_duration(text).ok().and_then(|window| u64::try_from(window.as_millis()).ok());
    let window = window.filter(|ms| *ms <= limits::SPREAD_MS);
    window.ok_or_else(|| Invalid::new(field, text, "a duration up to 1h, such as 5s or 500ms"))
}

/// Checks a sender, as an event carries it and as a connection asks to skip it.
pub fn check_sender(field: &'static str, text: Option<&str>) -> Result<(), Invalid> {
    check_text(field, text, limits::SENDER_BYTES)
}

fn check_text(field: &'static str, text: Option<&str>, most: usize) -> Result<(), Invalid> {
    match text {
        Some(text) if text.is_empty() || text.len() > most || !text.chars().all(user::is_printable) => {
            Err(Invalid::new(field, text, format!("1 to {most} bytes of printable UTF-8")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_json(text: &str) -> Event {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn takes_one_address_or_many_and_none_twice() {
        assert_eq!(from_json(r#"{"to":"a"}"#).prepare("t").unwrap().addresses.len(), 1);
        assert_eq!(from_json(r#"{"to":["a","b","a"]}"#).prepare("t").unwrap().addresses.len(), 2);
        assert_eq!(Event::refresh("a").also_to("@b").also_to("c").prepare("t").unwrap().addresses.len(), 3);
    }

    #[test]
    fn names_what_is_wrong() {
        let wrong = |json: &str| from_json(json).prepare("t").unwrap_err().field().to_owned();
        assert_eq!(wrong(r#"{"to":[]}"#), "to");
        assert_eq!(wrong(r#"{"to":"a b"}"#), "to");
        assert_eq!(wrong(r#"{"to":["a","b c"]}"#), "to[1]");
        assert_eq!(wrong(r#"{"to":"a","type":"a b"}"#), "type");
        assert_eq!(wrong(r#"{"to":"a","type":"-"}"#), "type");
        assert_eq!(wrong(r#"{"to":"a","version":""}"#), "version");
        assert_eq!(wrong(r#"{"to":"a","key":"a\u0000"}"#), "key");
        assert_eq!(wrong(r#"{"to":"a","event":"error"}"#), "event");
        assert_eq!(wrong(r#"{"to":"a","event":"tidings.ready"}"#), "event");
        assert_eq!(wrong(r#"{"to":"a","spread":"soon"}"#), "spread");
        assert_eq!(wrong(r#"{"to":"a","spread":"61m"}"#), "spread");
        assert_eq!(wrong(r#"{"to":"a","delay":"soon"}"#), "delay");
        assert_eq!(wrong(r#"{"to":"a","delay":"61m"}"#), "delay");
        assert_eq!(wrong(r#"{"to":"a","sender":""}"#), "sender");
        assert_eq!(wrong(r#"{"to":"a","sender":"a\nb"}"#), "sender");
        assert_eq!(wrong(&format!(r#"{{"to":"a","sender":"{}"}}"#, "x".repeat(129))), "sender");
        let big = format!(r#"{{"to":"a","data":"{}"}}"#, "x".repeat(65_535));
        assert_eq!(wrong(&big), "data");
        assert!(serde_json::from_str::<Event>(r#"{"to":"a","tpye":"x"}"#).is_err());
    }

    #[test]
    fn a_spread_is_the_same_from_rust_and_from_json() {
        let spread = |event: Event| {
            let message = event.prepare("t").unwrap().message;
            Message::decode(&message).unwrap().spread_ms
        };
        assert_eq!(spread(Event::refresh("a").spread(Duration::from_secs(5))), Some(5_000));
        assert_eq!(spread(from_json(r#"{"to":"a","spread":"5s"}"#)), Some(5_000));
        assert_eq!(spread(from_json(r#"{"to":"a","spread":"1h"}"#)), Some(limits::SPREAD_MS));
        assert_eq!(spread(from_json(r#"{"to":"a","spread":"0s"}"#)), Some(0));
        assert_eq!(spread(Event::refresh("a")), None);
        let json = serde_json::to_string(&Event::refresh("a").spread(Duration::from_millis(1_500))).unwrap();
        assert_eq!(spread(from_json(&json)), Some(1_500));
        assert!(Event::refresh("a").spread(Duration::from_secs(3_601)).prepare("t").is_err());
    }

    #[test]
    fn a_delay_and_a_sender_are_the_same_from_rust_and_from_json() {
        let read = |event: Event| {
            let text = event.prepare("t").unwrap().message;
            let message = Message::decode(&text).unwrap();
            (message.delay_ms, message.sender())
        };
        let sender = "tab 1 \"ü\\";
        let event = Event::refresh("a").delay(Duration::from_millis(1_500)).sender(sender);
        let expected = (1_500, Some(sender.to_owned()));
        assert_eq!(read(event.clone()), expected);
        assert_eq!(read(from_json(&serde_json::to_string(&event).unwrap())), expected);
        assert_eq!(read(from_json(r#"{"to":"a","delay":"1h"}"#)), (limits::SPREAD_MS, None));
        assert_eq!(read(from_json(r#"{"to":"a","delay":"0s"}"#)), (0, None));
        assert!(Event::refresh("a").delay(Duration::from_secs(3_601)).prepare("t").is_err());
    }

    #[test]
    fn null_is_data() {
        let body = |event: Event| {
            let text = event.prepare("t").unwrap().message;
            Message::decode(&text).unwrap().body.to_owned()
        };
        assert_eq!(body(from_json(r#"{"to":"a","data":null}"#)), r#"{"time":"t","data":null}"#);
        let null = Event::refresh("a").data(RawValue::from_string("null".to_owned()).unwrap());
        let json = serde_json::to_string(&null).unwrap();
        assert_eq!(body(null), body(from_json(&json)));
        assert_eq!(body(from_json(r#"{"to":"a"}"#)), r#"{"time":"t"}"#);
    }

    #[test]
    fn data_ends_up_on_one_line_and_keeps_its_numbers() {
        let prepared =
            from_json("{\"to\":\"a\",\"data\":{\n \"n\": 1.10,\r\n \"big\": 123456789012345678901234567890}}");
        let message = prepared.prepare("2026-01-01T00:00:00Z").unwrap().message;
        let body = Message::decode(&message).unwrap().body.to_owned();
        assert!(body.contains(r#""data":{ "n": 1.10, "big": 123456789012345678901234567890}"#), "{body}");
    }
}
