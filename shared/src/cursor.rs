//! The cursor: a resumable place, the SSE `id:`.
//!
//! With one partition it reads `1.<epoch>.<id>`. With several it is `2.` and the base64url of: count of partitions,
//! lowest milliseconds, then for each partition that is followed its number, its epoch (3 bytes, big endian), its
//! milliseconds above the lowest, and its sequence; numbers are LEB128. Clients must treat both as opaque.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::{Epoch, Id, Invalid, Partition, Partitions, limits};

/// A place in one partition's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The history meant.
    pub epoch: Epoch,
    /// The last id that was seen of it.
    pub id: Id,
}

/// A place in each partition that a connection follows. A cursor always carries its epochs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    partitions: Partitions,
    places: Vec<Option<Place>>,
}

const EXPECTED: &str = "a cursor that a gateway of this namespace gave, unchanged";

impl Cursor {
    /// A cursor without any place yet.
    pub fn new(partitions: Partitions) -> Self {
        Self { partitions, places: vec![None; usize::from(partitions.count())] }
    }

    /// The place in `partition`, if the cursor knows one.
    pub fn place(&self, partition: Partition) -> Option<Place> {
        self.places.get(partition.index()).copied().flatten()
    }

    /// Sets the place in `partition`.
    pub fn set(&mut self, partition: Partition, place: Place) {
        if let Some(slot) = self.places.get_mut(partition.index()) {
            *slot = Some(place);
        }
    }

    /// The cursor as clients see it: printable ASCII, no spaces, at most 512 bytes.
    ///
    /// Should the places of many partitions not fit (ids years apart could do that), those longest ago are left out.
    /// A resume from a cursor without a place resyncs that partition, so nothing is lost in silence.
    pub fn encode(&self) -> String {
        let places: Vec<(Partition, Place)> = self.partitions.all().filter_map(|p| Some((p, self.place(p)?))).collect();
        let mut text = Vec::new();
        write(&mut text, self.partitions, &places);
        String::from_utf8(text).unwrap_or_default()
    }

    /// Reads what [`Cursor::encode`] wrote for a namespace of `partitions`.
    pub fn decode(text: &str, partitions: Partitions) -> Result<Self, Invalid> {
        let places = if text.len() > limits::CURSOR_BYTES {
            None
        } else if partitions == Partitions::ONE {
            read_one(text)
        } else {
            text.strip_prefix("2.").and_then(|packed| read_several(packed, partitions))
        };
        places.map(|places| Self { partitions, places }).ok_or_else(|| Invalid::new("cursor", text, EXPECTED))
    }
}

/// Appends what [`Cursor::encode`] gives for these places, which are in the order of their partitions. Allocates nothing
/// but room in `out`.
pub fn write(out: &mut Vec<u8>, partitions: Partitions, places: &[(Partition, Place)]) {
    if partitions == Partitions::ONE {
        out.extend_from_slice(b"1");
        if let Some((_, place)) = places.first() {
            // To memory, which does not fail.
            let _written = write!(Text(out), ".{}.{}", place.epoch, place.id);
        }
        return;
    }
    let begin = out.len();
    out.extend_from_slice(b"2.");
    put_packed(out, partitions, places);
    if out.len() - begin > limits::CURSOR_BYTES {
        out.truncate(begin);
        let oldest = places.iter().map(|(_, place)| place.id.ms).min();
        let oldest = places.iter().position(|(_, place)| Some(place.id.ms) == oldest);
        let fewer = places.iter().enumerate().filter(|(at, _)| Some(*at) != oldest).map(|(_, place)| *place);
        write(out, partitions, &fewer.collect::<Vec<_>>());
    }
}

/// Bytes to which text is appended.
struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn put_packed(out: &mut Vec<u8>, partitions: Partitions, places: &[(Partition, Place)]) {
    let base = places.iter().map(|(_, place)| place.id.ms).min().unwrap_or(0);
    let mut packed = Packed { bytes: [0; MOST], length: 0 };
    packed.put_number(u64::from(partitions.count()));
    packed.put_number(base);
    for (partition, Place { epoch, id }) in places {
        packed.put_number(u64::from(partition.number()));
        epoch.bits().to_be_bytes()[1..].iter().for_each(|byte| packed.put(*byte));
        packed.put_number(id.ms - base);
        packed.put_number(id.seq);
    }
    let packed = &packed.bytes[..packed.length];
    let begin = out.len();
    out.resize(begin + packed.len().div_ceil(3) * 4, 0);
    // There is room for padding too, which is not written.
    let length = BASE64.encode_slice(packed, &mut out[begin..]).unwrap_or(0);
    out.truncate(begin + length);
}

/// The most that is packed: two numbers, and for each partition its number, epoch, and two numbers.
const MOST: usize = 20 + 32 * (3 + 3 + 20);

/// Bytes that are put together without an allocation.
struct Packed {
    bytes: [u8; MOST],
    length: usize,
}

impl Packed {
    fn put(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = byte;
            self.length += 1;
        }
    }

    fn put_number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.put((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.put(number as u8);
    }
}

fn read_one(text: &str) -> Option<Vec<Option<Place>>> {
    let (epoch, id) = text.strip_prefix("1.")?.split_once('.')?;
    Some(vec![Some(Place { epoch: epoch.parse().ok()?, id: id.parse().ok()? })])
}

fn read_several(packed: &str, partitions: Partitions) -> Option<Vec<Option<Place>>> {
    let packed = BASE64.decode(packed).ok()?;
    let mut rest = packed.as_slice();
    if take_number(&mut rest)? != u64::from(partitions.count()) {
        return None;
    }
    let base = take_number(&mut rest)?;
    let mut places = vec![None; usize::from(partitions.count())];
    let mut above = 0;
    while !rest.is_empty() {
        let number = usize::try_from(take_number(&mut rest)?).ok()?;
        let (epoch, after) = rest.split_first_chunk::<3>()?;
        rest = after;
        let epoch = Epoch::from_random(u32::from_be_bytes([0, epoch[0], epoch[1], epoch[2]]));
        let id = Id { ms: base.checked_add(take_number(&mut rest)?)?, seq: take_number(&mut rest)? };
        // Ascending, so that one cursor has one spelling and no partition comes twice.
        if number < above {
            return None;
        }
        above = number + 1;
        *places.get_mut(number)? = Some(Place { epoch, id });
    }
    Some(places)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn cursor(count: u16, places: &[(u16, u32, u64, u64)]) -> Cursor {
        let partitions = Partitions::new(count).unwrap();
        let mut cursor = Cursor::new(partitions);
        for (number, bits, ms, seq) in places {
            if let Some(partition) = partitions.get(*number) {
                let place = Place { epoch: Epoch::from_random(*bits), id: Id { ms: *ms, seq: *seq } };
                cursor.set(partition, place);
            }
        }
        cursor
    }

    #[test]
    fn thirty_two_partitions_fit_even_with_places_a_year_apart() {
        let year = 365 * 24 * 3600 * 1000;
        let places: Vec<_> =
            (0..32).map(|n| (n, u32::MAX, 1_763_683_200_000 + u64::from(n) * year / 31, 9_999)).collect();
        let cursor = cursor(32, &places);
        let text = cursor.encode();
        assert!(text.len() <= limits::CURSOR_BYTES, "{}", text.len());
        assert_eq!(Cursor::decode(&text, Partitions::new(32).unwrap()).unwrap(), cursor);
    }

    #[test]
    fn what_does_not_fit_is_left_out_oldest_first() {
        let places: Vec<_> = (0..32).map(|n| (n, 7, u64::MAX - u64::from(n), u64::MAX)).chain([(0, 7, 1, 1)]).collect();
        let text = cursor(32, &places).encode();
        assert!(text.len() <= limits::CURSOR_BYTES);
        let read = Cursor::decode(&text, Partitions::new(32).unwrap()).unwrap();
        assert_eq!(read.place(Partitions::new(32).unwrap().get(0).unwrap()), None);
        assert!(read.place(Partitions::new(32).unwrap().get(1).unwrap()).is_some());
    }

    #[test]
    fn another_count_of_partitions_is_refused() {
        let text = cursor(4, &[(0, 1, 2, 3)]).encode();
        assert!(Cursor::decode(&text, Partitions::new(8).unwrap()).is_err());
        assert!(Cursor::decode(&text, Partitions::ONE).is_err());
        assert!(Cursor::decode("1.k3f9.1-0", Partitions::new(8).unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn one_partition_round_trips(bits: u32, ms: u64, seq: u64) {
            let cursor = cursor(1, &[(0, bits, ms, seq)]);
            prop_assert_eq!(Cursor::decode(&cursor.encode(), Partitions::ONE).unwrap(), cursor);
        }

        #[test]
        fn several_partitions_round_trip(
            count in 2..=32_u16,
            places in vec((0..32_u16, any::<u32>(), 1_763_000_000_000..1_863_000_000_000_u64, 0..100_000_u64), 0..32),
        ) {
            let cursor = cursor(count, &places);
            let text = cursor.encode();
            prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(Cursor::decode(&text, Partitions::new(count).unwrap()).unwrap(), cursor);
        }

        #[test]
        fn never_panics(text: String, bytes in vec(any::<u8>(), 0..64), count in 1..=32_u16) {
            let partitions = Partitions::new(count).unwrap();
            let _ = Cursor::decode(&text, partitions);
            if let Ok(cursor) = Cursor::decode(&format!("2.{}", BASE64.encode(bytes)), partitions) {
                prop_assert_eq!(Cursor::decode(&cursor.encode(), partitions).unwrap(), cursor);
            }
        }
    }
}
