//! A parcel: an event that was checked, keyed and encoded, ready for a transport.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use tidings_shared::event::Prepared;
use tidings_shared::keys::idempotency_scope;
use tidings_shared::{Address, Event, Message};

use crate::Error;

/// An event ready to be sent, as often as it takes.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    /// Where it goes: no address twice.
    pub addresses: Vec<Address>,
    /// What the transport sends: the encoded message for Redis, the event's JSON for a gateway.
    pub body: String,
    /// What makes a second sending harmless.
    pub key: Option<Key>,
    /// Events of the same slot may take each other's place while they wait; `None` if this one may not be replaced.
    pub slot: Option<String>,
    /// What the slot is beside the addresses: type, name and sender.
    slot_end: Option<Arc<str>>,
}

/// An idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// The caller's own; in the form of [`Form::Message`] its scope.
    Given(String),
    /// Made up for the retries of one call.
    MadeUp(String),
}

impl Key {
    /// The key itself.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Given(text) | Self::MadeUp(text) => text,
        }
    }
}

/// In what form a parcel's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The message of the Redis contract.
    Message,
    /// The JSON of `POST /v1/publish`.
    Json,
}

/// What a parcel costs beyond its texts, in bytes: a generous guess at its place in maps and lists.
const OVERHEAD: usize = 256;

impl Parcel {
    /// Checks and encodes `event`. With `keyed`, an event without a key gets one, as its first attempt must carry it
    /// already: that may be the one that arrives although no answer to it does.
    pub(crate) fn new(event: Event, form: Form, keyed: bool) -> Result<Self, Error> {
        let prepared = event.prepare(&humantime::format_rfc3339_millis(SystemTime::now()).to_string())?;
        let key = match &prepared.key {
            Some(key) => Some(Key::Given(key.clone())),
            None => keyed.then(|| Key::MadeUp(format!("{:032x}", fastrand::u128(..)))),
        };
        let slot_end = slot_end(&prepared)?;
        let slot = slot_end.as_deref().map(|end| slot(&prepared.addresses, end));
        let body = match (form, &key) {
            (Form::Message, _) => prepared.message,
            (Form::Json, Some(Key::MadeUp(key))) => json(&event.key(key))?,
            (Form::Json, _) => json(&event)?,
        };
        // A gateway gets the key as it was given, and finds the scope itself.
        let key = match (form, key) {
            (Form::Message, Some(Key::Given(key))) => Some(Key::Given(idempotency_scope(&key, &prepared.addresses))),
            (_, key) => key,
        };
        Ok(Self { addresses: prepared.addresses, body, key, slot, slot_end })
    }

    /// One parcel for each partition that it has addresses in, with the number that `partition`
    /// gives. Only for the form of [`Form::Message`], whose body names no addresses.
    pub(crate) fn split(self, partition: impl Fn(&Address) -> usize) -> Vec<(usize, Self)> {
        let mut parts: BTreeMap<usize, Vec<Address>> = BTreeMap::new();
        for address in &self.addresses {
            parts.entry(partition(address)).or_default().push(address.clone());
        }
        if parts.len() == 1 {
            return parts.into_keys().map(|partition| (partition, self.clone())).collect();
        }
        let part = |(partition, addresses): (usize, Vec<Address>)| {
            let slot = self.slot_end.as_deref().map(|end| slot(&addresses, end));
            (partition, Self { addresses, slot, ..self.clone() })
        };
        parts.into_iter().map(part).collect()
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let addresses: usize = self.addresses.iter().map(|address| address.to_string().len()).sum();
        OVERHEAD + self.body.len() + 2 * addresses + self.slot.as_ref().map_or(0, String::len)
    }
}

/// Same addresses, same type, same name, same sender: one refresh says as much as two. Connections may skip the events of
/// one sender; what another one changed must not go with them.
fn slot(addresses: &[Address], end: &str) -> String {
    let mut parts: Vec<String> = addresses.iter().map(Address::to_string).collect();
    parts.sort();
    parts.push(end.to_owned());
    parts.join("\n")
}

/// The end of the slot, after its addresses; `None` if the event may not be replaced.
fn slot_end(prepared: &Prepared) -> Result<Option<Arc<str>>, Error> {
    if !prepared.coalesce {
        return Ok(None);
    }
    let message = Message::decode(&prepared.message)?;
    let (event_type, name) = (message.event_type.unwrap_or("-"), message.name.unwrap_or("-"));
    // Last, and with a mark of its own: it may be any text of one line.
    let sender = prepared.sender.as_ref().map(|sender| format!("\n={sender}"));
    Ok(Some(format!("{event_type}\n{name}{}", sender.unwrap_or_default()).into()))
}

fn json(event: &Event) -> Result<String, Error> {
    serde_json::to_string(event).map_err(|error| Error::new(crate::ErrorKind::InvalidEvent, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(event: Event) -> Parcel {
        Parcel::new(event, Form::Json, true).unwrap()
    }

    #[test]
    fn a_key_is_made_up_only_where_none_was_given() {
        let (one, other) = (parcel(Event::refresh("a")), parcel(Event::refresh("a")));
        assert_ne!(one.key, other.key);
        let Some(Key::MadeUp(key)) = &one.key else { panic!("{one:?}") };
        assert!(one.body.contains(key) && key.len() == 32, "{one:?}");
        assert_eq!(parcel(Event::refresh("a").key("k")).key, Some(Key::Given("k".into())));
        assert_eq!(Parcel::new(Event::refresh("a"), Form::Message, false).unwrap().key, None);
    }

    #[test]
    fn a_slot_is_addresses_type_name_and_sender() {
        let slot = |event: Event| parcel(event).slot;
        assert_eq!(slot(Event::refresh("a").also_to("b")), slot(Event::refresh("b").also_to("a").version("2")));
        assert_ne!(slot(Event::refresh("a")), slot(Event::refresh("a").event_type("x")));
        assert_ne!(slot(Event::refresh("a")), slot(Event::refresh("a").name("x")));
        assert_ne!(slot(Event::refresh("a").event_type("x")), slot(Event::refresh("a").name("x")));
        assert_ne!(slot(Event::refresh("a").sender("s")), slot(Event::refresh("a").sender("t")));
        assert_ne!(slot(Event::refresh("a").sender("s")), slot(Event::refresh("a")));
        assert_eq!(slot(Event::refresh("a").sender("s")), slot(Event::refresh("a").sender("s").version("2")));
        assert_eq!(slot(Event::refresh("a").coalesce(false)), None);
    }
}
