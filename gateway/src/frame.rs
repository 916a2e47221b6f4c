//! A frame: an event encoded for the wire, once, and shared by all connections that get it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use tidings_shared::cursor::Place;
use tidings_shared::{Address, Cursor, Message, Partition, Partitions, limits, message};

use crate::spread::Spreads;

/// An event encoded for the wire. A clone is the same frame, and as cheap as a number.
///
/// With one partition the bytes begin with the `id:` line, which is the same for all connections. With several, every
/// connection has its own cursor and puts the line before the shared bytes.
#[derive(Debug, Clone)]
pub struct Frame(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: Bytes,
    /// Where the `id:` line ends. Zero without one.
    id_end: u32,
    /// Where the publisher's event name ends, and `data:` begins.
    data_start: u32,
    /// Where the body's fields begin, behind the address.
    fields: u32,
    partition: Partition,
    place: Place,
    addresses: SmallVec<[Arc<Address>; 1]>,
    event_type: Option<Box<str>>,
    name: Option<Arc<str>>,
    sender: Option<Box<str>>,
    coalesce: bool,
    delay: Duration,
    spread: Duration,
}

/// The `event:` line with which a connection begins all its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameLine(Box<str>);

impl NameLine {
    /// The line of a name that was checked.
    pub fn new(name: &str) -> Self {
        Self(name_line(name).into())
    }

    /// The line, with its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The line of an SSE event name, with its end.
pub fn name_line(name: &str) -> String {
    format!("event: {name}\n")
}

/// Encodes frames as connections of this gateway get them.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// How many partitions there are.
    pub partitions: Partitions,
    /// The spread of events that have none of their own.
    pub spreads: Spreads,
}

/// What a frame takes besides its texts: itself and its count of references, those of its bytes, and about what an
/// allocator adds.
const HEADER: usize = size_of::<Inner>() + 64;

const DATA: &str = "data: ";
const END: &str = "\n\n";

/// The longest spread and the longest delay that are kept to, whatever a foreign publisher asks for.
const LONGEST: Duration = Duration::from_millis(limits::SPREAD_MS);

impl Encoder {
    /// One that spreads nothing by itself.
    pub fn of(partitions: Partitions) -> Self {
        Self { partitions, spreads: Spreads::default() }
    }

    /// Encodes `message` as connections that follow `address` get it. `None` if its body is no JSON object.
    pub fn encode(&self, place: Place, message: &Message<'_>, address: &Arc<Address>) -> Option<Frame> {
        let data = message::data(&[address], message.body)?;
        let own = message.spread_ms.map(Duration::from_millis);
        let inner = Inner {
            bytes: Bytes::new(),
            id_end: 0,
            data_start: 0,
            fields: 0,
            partition: self.partitions.of(address),
            place,
            addresses: SmallVec::from_iter([Arc::clone(address)]),
            event_type: message.event_type.map(Box::from),
            name: message.name.map(Arc::from),
            sender: message.sender().map(Box::from),
            coalesce: message.coalesce,
            delay: Duration::from_millis(message.delay_ms).min(LONGEST),
            spread: own.unwrap_or_else(|| self.spreads.of(address)).min(LONGEST),
        };
        Some(inner.write(id_line(place, self.partitions), &data, message.body.len() - 1))
    }
}

impl Frame {
    /// One frame in place of several of one event: for a connection that follows all these addresses.
    pub fn merge(frames: &[(Arc<Address>, Frame)]) -> Option<Self> {
        let (_, first) = frames.first()?;
        // In one order, however the frames came together: live, from memory, or read.
        let mut addresses: SmallVec<[Arc<Address>; 1]> =
            frames.iter().map(|(address, _)| Arc::clone(address)).collect();
        addresses.sort();
        let fields = first.fields();
        let named: Vec<&Address> = addresses.iter().map(|address| &**address).collect();
        let data = message::data(&named, &format!("{{{fields}"))?;
        let inner = Inner {
            bytes: Bytes::new(),
            fields: 0,
            addresses,
            event_type: first.0.event_type.clone(),
            name: first.0.name.clone(),
            sender: first.0.sender.clone(),
            // They differ only by what the configuration says of their addresses.
            spread: frames.iter().map(|(_, frame)| frame.spread()).max().unwrap_or_default(),
            ..*first.0
        };
        Some(inner.write(first.id_line().to_owned(), &data, fields.len()))
    }

    /// All bytes: the `id:` line too, if there is one partition.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// About how many bytes of memory it takes, with all that belongs to it alone.
    pub fn held_bytes(&self) -> usize {
        let Inner { bytes, event_type, name, sender, .. } = &*self.0;
        let texts = [event_type.as_deref(), name.as_deref(), sender.as_deref()];
        HEADER + bytes.len() + texts.into_iter().flatten().map(str::len).sum::<usize>()
    }

    /// The bytes without the `id:` line: they move nobody's cursor.
    pub fn without_id(&self) -> Bytes {
        self.0.bytes.slice(self.0.id_end as usize..)
    }

    /// The same under the SSE event name of a connection, in place of the publisher's.
    pub fn named_without_id(&self, name: &NameLine) -> Bytes {
        [name.as_bytes(), self.behind_id(Some(name))].concat().into()
    }

    /// Appends the bytes under the SSE event name of a connection, in place of the publisher's. The bytes themselves stay
    /// shared.
    pub fn write_named(&self, out: &mut Vec<u8>, name: &NameLine) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&self.0.bytes[..self.0.id_end as usize]);
        out.extend_from_slice(self.behind_id(Some(name)));
    }

    /// Appends the bytes under another cursor than that of the event alone, which `cursor` appends, and under the SSE
    /// event name of the connection if it has one.
    pub fn write_under(&self, out: &mut Vec<u8>, name: Option<&NameLine>, cursor: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(name.map_or(b"", NameLine::as_bytes));
        out.extend_from_slice(b"id: ");
        cursor(out);
        out.push(b'\n');
        out.extend_from_slice(self.behind_id(name));
    }

    /// What stands behind the `id:` line. Of two event names the last one counts, so the publisher's is left out where
    /// the connection has a name.
    fn behind_id(&self, name: Option<&NameLine>) -> &[u8] {
        let start = if name.is_some() { self.0.data_start } else { self.0.id_end };
        &self.0.bytes[start as usize..]
    }

    /// Where its place counts.
    pub fn partition(&self) -> Partition {
        self.0.partition
    }

    /// Its place in the history.
    pub fn place(&self) -> Place {
        self.0.place
    }

    /// The addresses that it names.
    pub fn addresses(&self) -> &[Arc<Address>] {
        &self.0.addresses
    }

    /// The event's type, for connections that ask for some types only.
    pub fn event_type(&self) -> Option<&str> {
        self.0.event_type.as_deref()
    }

    /// The SSE event name that the publisher gave it.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.0.name.as_ref()
    }

    /// The sender, for connections that skip the events of some.
    pub fn sender(&self) -> Option<&str> {
        self.0.sender.as_deref()
    }

    /// Whether a newer event may take its place while it waits.
    pub fn is_coalescable(&self) -> bool {
        self.0.coalesce
    }

    /// No connection gets it before this time is over.
    pub fn delay(&self) -> Duration {
        self.0.delay
    }

    /// Each connection gets it at a random moment of this time, which begins when its delay is over.
    pub fn spread(&self) -> Duration {
        self.0.spread
    }

    /// Whether connections get it as it comes: it has neither a delay nor a spread.
    pub fn is_immediate(&self) -> bool {
        self.0.delay.is_zero() && self.0.spread.is_zero()
    }

    /// Whether it takes the place of an `older` event that waits: it names all addresses of that, and reaches the same
    /// listeners. With `any_name` the connection hears all events under a name of its own. Type and sender do not matter:
    /// what a connection does not want never waits for it, and never takes a place.
    pub fn covers(&self, older: &Frame, any_name: bool) -> bool {
        older.0.coalesce
            && (any_name || older.0.name == self.0.name)
            && older.0.addresses.iter().all(|address| self.0.addresses.contains(address))
    }

    /// Whether both name some address.
    pub fn shares_address(&self, other: &Frame) -> bool {
        self.0.addresses.iter().any(|address| other.0.addresses.contains(address))
    }

    fn id_line(&self) -> &str {
        self.text().get(..self.0.id_end as usize).unwrap_or_default()
    }

    fn fields(&self) -> &str {
        let text = self.text();
        text.get(self.0.fields as usize..text.len() - 2).unwrap_or_default()
    }

    fn text(&self) -> &str {
        // Made from a `String`, and never changed.
        std::str::from_utf8(&self.0.bytes).unwrap_or_default()
    }
}

impl Inner {
    /// Writes `text`, the `id:` line if it is shared, and what comes after it. The last `fields` bytes of `data` are
    /// behind the address.
    fn write(mut self, mut text: String, data: &str, fields: usize) -> Frame {
        self.id_end = text.len() as u32;
        let name = self.name.as_deref().map(name_line).unwrap_or_default();
        // All at once, or up to twice as much would be held for as long as the frame lives.
        text.reserve_exact(name.len() + DATA.len() + data.len() + END.len());
        text.push_str(&name);
        self.data_start = text.len() as u32;
        text.push_str(DATA);
        text.push_str(data);
        self.fields = (text.len() - fields) as u32;
        text.push_str(END);
        self.bytes = text.into();
        Frame(Arc::new(self))
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
        Encoder::of(Partitions::new(partitions).unwrap())
            .encode(place, &message, &Arc::new(address.parse().unwrap()))
            .unwrap()
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
    fn a_name_of_the_connection_stands_in_for_that_of_the_publisher() {
        let name = NameLine::new("mine");
        let data = "data: {\"topic\":\"a\",\"type\":\"order.updated\",\"data\":\"é\"}\n\n";
        let mut out = Vec::new();
        frame("a", 1).write_named(&mut out, &name);
        assert_eq!(std::str::from_utf8(&out).unwrap(), format!("event: mine\nid: 1.7.17-3\n{data}"));
        for partitions in [1, 2] {
            let mut out = Vec::new();
            let cursor = |out: &mut Vec<u8>| out.extend_from_slice(b"c");
            frame("a", partitions).write_under(&mut out, Some(&name), cursor);
            assert_eq!(std::str::from_utf8(&out).unwrap(), format!("event: mine\nid: c\n{data}"));
        }
    }

    #[test]
    fn merging_names_all_addresses_and_nothing_else_changes() {
        let merge = ["a", "@b"].map(|address| (Arc::new(address.parse().unwrap()), frame(address, 1)));
        let merged = Frame::merge(&merge).unwrap();
        let data = r#"{"topic":"a","topics":["a","@b"],"type":"order.updated","data":"é"}"#;
        assert_eq!(merged.bytes(), &format!("id: 1.7.17-3\nevent: ping\ndata: {data}\n\n"));
        assert_eq!(merged.event_type(), Some("order.updated"));
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
            let frames = addresses.clone().map(|a| (a.clone(), Encoder::of(partitions).encode(place, &message, &a).unwrap()));
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
