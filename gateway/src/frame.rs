//! A frame: an event encoded for the wire, once, and shared by all connections that get it.

use std::sync::Arc;

use bytes::Bytes;
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Cursor, Message, Partition, Partitions, message};

/// An event encoded for the wire.
///
/// With one partition the bytes begin with the `id:` line, which is the same for all connections. With several, every
/// connection has its own cursor and puts the line before the shared bytes.
#[derive(Debug, Clone)]
pub struct Frame {
    bytes: Bytes,
    /// Where the body's fields begin, behind the address.
    fields: u32,
    /// The event's type, for connections that ask for some types only.
    pub event_type: Option<Arc<str>>,
    name: Option<Arc<str>>,
}

impl Frame {
    /// Encodes `message` as connections that follow `address` get it. `None` if its body is no JSON object.
    pub fn encode(place: Place, message: &Message<'_>, address: &Address, partitions: Partitions) -> Option<Self> {
        let data = message::data(&[address], message.body)?;
        let name = message.name.map(Arc::from);
        let event_type = message.event_type.map(Arc::from);
        Some(Self::assemble(id_line(place, partitions), name, event_type, &data, message.body.len() - 1))
    }

    /// One frame in place of several of one event: for a connection that follows all these addresses.
    pub fn merge(frames: &[(Arc<Address>, Frame)]) -> Option<Self> {
        let (_, first) = frames.first()?;
        // In one order, however the frames came together: live, from memory, or read.
        let mut addresses: Vec<&Address> = frames.iter().map(|(address, _)| &**address).collect();
        addresses.sort();
        let fields = first.fields();
        let data = message::data(&addresses, &format!("{{{fields}"))?;
        let id_line = first.id_line().to_owned();
        Some(Self::assemble(id_line, first.name.clone(), first.event_type.clone(), &data, fields.len()))
    }

    fn assemble(
        mut text: String,
        name: Option<Arc<str>>,
        event_type: Option<Arc<str>>,
        data: &str,
        fields: usize,
    ) -> Self {
        if let Some(name) = &name {
            text.push_str("event: ");
            text.push_str(name);
            text.push('\n');
        }
        text.push_str("data: ");
        text.push_str(data);
        let fields = (text.len() - fields) as u32;
        text.push_str("\n\n");
        Self { bytes: text.into(), fields, event_type, name }
    }

    /// All bytes: the `id:` line too, if there is one partition.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes without the `id:` line: they move nobody's cursor.
    pub fn without_id(&self) -> Bytes {
        self.bytes.slice(self.id_line().len()..)
    }

    fn id_line(&self) -> &str {
        let text = self.text();
        match text.find('\n') {
            Some(end) if text.starts_with("id: ") => &text[..=end],
            _ => "",
        }
    }

    fn fields(&self) -> &str {
        let text = self.text();
        text.get(self.fields as usize..text.len() - 2).unwrap_or_default()
    }

    fn text(&self) -> &str {
        // Made from a `String`, and never changed.
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }
}

fn id_line(place: Place, partitions: Partitions) -> String {
    if partitions != Partitions::ONE {
        return String::new();
    }
    let mut cursor = Cursor::new(partitions);
    partitions.all().for_each(|partition: Partition| cursor.set(partition, place));
    format!("id: {}\n", cursor.encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::to_bytes;
    use actix_web_lab::sse;
    use futures_util::FutureExt;
    use proptest::option;
    use proptest::prelude::*;
    use tidings_shared::{Epoch, Event, Id};

    fn frame(address: &str, partitions: u16) -> Frame {
        let place = Place { epoch: Epoch::from_random(7), id: Id { ms: 17, seq: 3 } };
        let message = Message::decode(r#"c order.updated - - ping {"type":"order.updated","data":"é"}"#).unwrap();
        Frame::encode(place, &message, &address.parse().unwrap(), Partitions::new(partitions).unwrap()).unwrap()
    }

    #[test]
    fn one_partition_shares_the_id_too() {
        let expected =
            "id: 1.7.17-3\nevent: ping\ndata: {\"topic\":\"a\",\"type\":\"order.updated\",\"data\":\"é\"}\n\n";
        assert_eq!(frame("a", 1).bytes(), expected);
    }

    #[test]
    fn several_partitions_leave_the_id_to_the_connection() {
        assert_eq!(
            frame("a", 2).bytes(),
            "event: ping\ndata: {\"topic\":\"a\",\"type\":\"order.updated\",\"data\":\"é\"}\n\n"
        );
    }

    #[test]
    fn merging_names_all_addresses_and_nothing_else_changes() {
        let merge = ["a", "@b"].map(|address| (Arc::new(address.parse().unwrap()), frame(address, 1)));
        let merged = Frame::merge(&merge).unwrap();
        let data = r#"{"topic":"a","topics":["a","@b"],"type":"order.updated","data":"é"}"#;
        assert_eq!(merged.bytes(), &format!("id: 1.7.17-3\nevent: ping\ndata: {data}\n\n"));
        assert_eq!(merged.event_type.as_deref(), Some("order.updated"));
    }

    /// What another author's encoder makes of the same.
    fn oracle(id: Option<String>, name: Option<&str>, data: String) -> Bytes {
        let event = sse::Data::new(data);
        let event = id.into_iter().fold(event, sse::Data::id);
        let event = name.into_iter().fold(event, |event, name| event.event(name.to_owned()));
        let stream = sse::Sse::from_infallible_stream(futures_util::stream::iter([sse::Event::Data(event)]));
        to_bytes(stream).now_or_never().unwrap().unwrap()
    }

    proptest! {
        #[test]
        fn frames_are_as_another_encoder_writes_them(
            text: String,
            event_type in option::of("[a-z][a-z.]{0,20}"),
            name in option::of("[a-s][a-z.]{0,20}"),
            partitions in 1..3_u16,
            several: bool,
        ) {
            let data = serde_json::value::to_raw_value(&text).unwrap();
            let event = event_type.into_iter().fold(Event::refresh("a").data(data), Event::event_type);
            let event = name.iter().fold(event, |event, name| event.name(name));
            let prepared = event.prepare("2026-01-01T00:00:00.000Z").unwrap();
            let message = Message::decode(&prepared.message).unwrap();
            let place = Place { epoch: Epoch::from_random(7), id: Id { ms: 17, seq: 3 } };
            let addresses = ["a", "@b"].map(|text| Arc::new(text.parse::<Address>().unwrap()));
            let partitions = Partitions::new(partitions).unwrap();
            let frames = addresses.clone().map(|a| (a.clone(), Frame::encode(place, &message, &a, partitions).unwrap()));
            let (frame, to) = if several {
                (Frame::merge(&frames).unwrap(), vec![&*addresses[0], &*addresses[1]])
            } else {
                (frames[0].1.clone(), vec![&*addresses[0]])
            };
            let data = message::data(&to, message.body).unwrap();
            let id = (partitions == Partitions::ONE).then(|| "1.7.17-3".to_owned());
            prop_assert_eq!(frame.bytes(), &oracle(id, name.as_deref(), data.clone()));
            prop_assert_eq!(frame.without_id(), oracle(None, name.as_deref(), data.clone()));
            let json: serde_json::Value = serde_json::from_str(&data).unwrap();
            prop_assert_eq!(json["data"].as_str(), Some(text.as_str()));
        }
    }
}
