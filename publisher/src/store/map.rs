//! Which server serves which slot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use redis::{Value, from_redis_value_ref};
use tidings_shared::store_url::Server;

use crate::{Error, ErrorKind};

/// The primaries, by slot. Pure: it is what a server answered at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Map {
    ranges: Vec<(RangeInclusive<u16>, Server)>,
    /// Slots that were moved since.
    moved: BTreeMap<u16, Server>,
}

impl Map {
    /// One server for all slots.
    pub fn one(server: Server) -> Self {
        Self { ranges: vec![(0..=u16::MAX, server)], moved: BTreeMap::new() }
    }

    /// The primary of a slot; none if the cluster has lost it, or never gave it to anyone.
    pub fn of(&self, slot: u16) -> Option<&Server> {
        let in_range = || self.ranges.iter().find(|(slots, _)| slots.contains(&slot)).map(|(_, server)| server);
        self.moved.get(&slot).or_else(in_range)
    }

    /// The primary of a slot, or a retryable error.
    pub(crate) fn served(&self, slot: u16) -> Result<&Server, Error> {
        let unserved = || Error::told(ErrorKind::Unavailable, format!("no server of the cluster serves slot {slot}"));
        self.of(slot).ok_or_else(unserved)
    }

    /// All primaries that serve a slot, each once.
    pub fn servers(&self) -> BTreeSet<&Server> {
        self.ranges.iter().map(|(_, server)| server).chain(self.moved.values()).collect()
    }

    /// The slot has moved there.
    pub fn moved(&mut self, slot: u16, to: Server) {
        self.moved.insert(slot, to);
    }

    /// Reads the answer to `CLUSTER SHARDS` of the server `asked`; none if it is not one.
    pub fn of_shards(answer: &Value, asked: &Server, tls: bool) -> Option<Self> {
        let mut ranges = Vec::new();
        for shard in list(answer)? {
            let shard = fields(shard)?;
            let slots: Vec<u16> = from_redis_value_ref(shard.get("slots")?).ok()?;
            let nodes: Vec<_> = list(shard.get("nodes")?)?.iter().map(fields).collect::<Option<_>>()?;
            let is = |node: &HashMap<String, &Value>, field, wanted| {
                node.get(field).and_then(|value| text(value)).is_some_and(|value| value == wanted)
            };
            // Of two that call themselves primary, right after a failover, the one that answers.
            let mut primaries: Vec<_> = nodes.iter().filter(|node| is(node, "role", "master")).collect();
            primaries.sort_by_key(|node| !is(node, "health", "online"));
            let Some(primary) = primaries.first() else { continue };
            let port = primary.get(if tls { "tls-port" } else { "port" }).and_then(|value| number(value))?;
            let host = match primary.get("endpoint") {
                // It is reached where it was asked: its own address leads nowhere from here.
                Some(endpoint) if is_untold(endpoint) => None,
                told => told.and_then(|told| known_host(told)).or_else(|| known_host(primary.get("ip")?)),
            };
            let server = Server::new(host.unwrap_or_else(|| asked.host.clone()), port);
            for pair in slots.chunks_exact(2) {
                ranges.push((pair[0]..=pair[1], server.clone()));
            }
        }
        Some(Self { ranges, moved: BTreeMap::new() })
    }

    /// Reads the answer to `CLUSTER SLOTS` of the server `asked`; none if it is not one.
    pub fn of_slots(answer: &Value, asked: &Server) -> Option<Self> {
        let mut ranges = Vec::new();
        for range in list(answer)? {
            let [first, last, primary, ..] = list(range)? else { return None };
            let [host, port, ..] = list(primary)? else { return None };
            let host = known_host(host).unwrap_or_else(|| asked.host.clone());
            ranges.push((number(first)?..=number(last)?, Server::new(host, number(port)?)));
        }
        Some(Self { ranges, moved: BTreeMap::new() })
    }
}

fn list(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// A map: a type of its own in RESP3, names and values in turn in RESP2.
fn fields(value: &Value) -> Option<HashMap<String, &Value>> {
    let pairs: Vec<(&Value, &Value)> = match value {
        Value::Map(pairs) => pairs.iter().map(|(name, value)| (name, value)).collect(),
        Value::Array(flat) => flat.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
        _ => return None,
    };
    pairs.into_iter().map(|(name, value)| Some((text(name)?, value))).collect()
}

fn text(value: &Value) -> Option<String> {
    from_redis_value_ref(value).ok()
}

fn number(value: &Value) -> Option<u16> {
    from_redis_value_ref(value).ok()
}

/// Nothing at all, unlike the `?` of a server that prefers a hostname and has none.
fn is_untold(endpoint: &Value) -> bool {
    text(endpoint).is_none_or(|host| host.is_empty())
}

/// A host that is told; a server that does not know its own tells nothing, or `?`.
fn known_host(value: &Value) -> Option<String> {
    text(value).filter(|host| !host.is_empty() && host != "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Server {
        Server::new("asked", 6379)
    }

    fn word(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn numbers(numbers: &[i64]) -> Value {
        Value::Array(numbers.iter().map(|number| Value::Int(*number)).collect())
    }

    fn node(host: Value, port: i64, role: &str, health: &str) -> Vec<(Value, Value)> {
        vec![
            (word("port"), Value::Int(port)),
            (word("tls-port"), Value::Int(port + 1000)),
            (word("endpoint"), host),
            (word("role"), word(role)),
            (word("health"), word(health)),
        ]
    }

    fn shards(resp3: bool) -> Value {
        let map = |pairs: Vec<(Value, Value)>| match resp3 {
            true => Value::Map(pairs),
            false => Value::Array(pairs.into_iter().flat_map(|(name, value)| [name, value]).collect()),
        };
        let shard = |slots: &[i64], nodes: Vec<Vec<(Value, Value)>>| {
            let nodes = Value::Array(nodes.into_iter().map(map).collect());
            map(vec![(word("slots"), numbers(slots)), (word("nodes"), nodes)])
        };
        Value::Array(vec![
            shard(
                &[0, 99, 200, 299],
                vec![
                    node(word("dead"), 1, "master", "fail"),
                    node(word("a"), 1, "master", "online"),
                    node(word("r"), 1, "replica", "online"),
                ],
            ),
            shard(&[100, 199], vec![node(Value::Nil, 2, "master", "online")]),
            shard(&[], vec![node(word("?"), 3, "master", "fail")]),
        ])
    }

    #[test]
    fn shards_are_read_in_both_protocols() {
        for resp3 in [false, true] {
            let map = Map::of_shards(&shards(resp3), &asked(), false).unwrap();
            let of = |slot| map.of(slot).map(ToString::to_string);
            assert_eq!([of(0), of(99), of(250)], ["a:1", "a:1", "a:1"].map(|text| Some(text.to_owned())));
            assert_eq!(of(100).as_deref(), Some("asked:2"), "a server that does not know its own name");
            assert_eq!(of(300), None);
            assert_eq!(map.servers().len(), 2);
            let tls = Map::of_shards(&shards(resp3), &asked(), true).unwrap();
            assert_eq!(tls.of(0), Some(&Server::new("a", 1001)));
        }
        assert_eq!(Map::of_shards(&numbers(&[1, 2]), &asked(), false), None);
    }

    #[test]
    fn a_server_that_tells_no_endpoint_is_reached_where_it_was_asked() {
        let host = |told: &[(&str, Value)]| {
            let mut primary = node(Value::Nil, 1, "master", "online");
            primary.retain(|(name, _)| *name != word("endpoint"));
            primary.extend(told.iter().map(|(name, value)| (word(name), value.clone())));
            let nodes = Value::Array(vec![Value::Map(primary)]);
            let shard = Value::Map(vec![(word("slots"), numbers(&[0, 9])), (word("nodes"), nodes)]);
            Map::of_shards(&Value::Array(vec![shard]), &asked(), false).unwrap().of(0).unwrap().host.clone()
        };
        let inner = || ("ip", word("192.0.2.1"));
        assert_eq!(host(&[inner(), ("endpoint", word(""))]), "asked", "Redis with unknown-endpoint");
        assert_eq!(host(&[inner(), ("endpoint", Value::Nil)]), "asked");
        assert_eq!(host(&[inner(), ("endpoint", word("?"))]), "192.0.2.1", "it has no hostname to prefer");
        assert_eq!(host(&[inner()]), "192.0.2.1");
        assert_eq!(host(&[inner(), ("endpoint", word("outer"))]), "outer");
        assert_eq!(host(&[("ip", word(""))]), "asked");
    }

    #[test]
    fn slots_are_read() {
        let primary = |host, port| Value::Array(vec![host, Value::Int(port), word("id"), Value::Array(vec![])]);
        let range = |first, last, node: Value| {
            Value::Array(vec![Value::Int(first), Value::Int(last), node, primary(word("replica"), 9)])
        };
        let answer = Value::Array(vec![range(0, 5, primary(word("a"), 1)), range(6, 16383, primary(Value::Nil, 2))]);
        let map = Map::of_slots(&answer, &asked()).unwrap();
        assert_eq!(map.of(5), Some(&Server::new("a", 1)));
        assert_eq!(map.of(16383), Some(&Server::new("asked", 2)));
        assert_eq!(Map::of_slots(&Value::Array(vec![numbers(&[1])]), &asked()), None);
    }

    #[test]
    fn a_slot_that_moved_is_found_there() {
        let mut map = Map::one(Server::new("a", 1));
        map.moved(7, Server::new("b", 2));
        assert_eq!((map.of(7), map.of(8)), (Some(&Server::new("b", 2)), Some(&Server::new("a", 1))));
        assert_eq!(map.servers().len(), 2);
    }
}
