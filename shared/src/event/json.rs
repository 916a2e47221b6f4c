//! Reads an event from JSON, and says in plain words what is wrong with it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Event, OneOrMany};
use crate::{Invalid, limits};

/// The fields of an event, as an error lists them.
const FIELDS: [&str; 10] = ["to", "type", "version", "data", "key", "coalesce", "spread", "delay", "sender", "event"];

const EXPECTED_BODY: &str = r#"a JSON object such as {"to":"orders/42","type":"order.updated"}"#;
const EXPECTED_TO: &str = r#"an address in quotes, such as "orders/42", or a list of 1 to 100 of them"#;
const EXPECTED_ADDRESS: &str = r#"an address in quotes, such as "orders/42""#;
const EXPECTED_VERSION: &str = r#"a text in quotes, such as "7", or a number"#;
const EXPECTED_TEXT: &str = "a text in quotes";
const EXPECTED_DURATION: &str = r#"a duration in quotes up to 1h, such as "5s" or "500ms""#;

impl Event {
    /// The field that errors name if the whole is wrong, and not one of its fields.
    pub const BODY: &'static str = "body";

    /// Reads an event from JSON. Its types are checked, its values when it is published.
    ///
    /// An error names the field, such as `to[1]`, or [`Event::BODY`].
    pub fn from_json(json: &RawValue) -> Result<Self, Invalid> {
        let wrong_body = |_| Invalid::new(Self::BODY, json.get(), EXPECTED_BODY);
        let Object { fields } = serde_json::from_str(json.get()).map_err(wrong_body)?;
        let mut event = Self::refresh("");
        let mut seen = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let Some(field) = FIELDS.into_iter().find(|field| *field == name) else {
                let expected = format!("one of the fields {}", FIELDS.join(", "));
                return Err(Invalid::new(name, value.get(), expected));
            };
            if seen.contains(&field) {
                return Err(Invalid::new(field, value.get(), "the field only once"));
            }
            seen.push(field);
            event.set(field, value)?;
        }
        if !seen.contains(&"to") {
            return Err(Invalid::new("to", "", EXPECTED_TO));
        }
        Ok(event)
    }

    fn set(&mut self, field: &'static str, value: &RawValue) -> Result<(), Invalid> {
        match field {
            "to" => self.to = read_to(value)?,
            "type" => self.event_type = read_text(field, value, EXPECTED_TEXT)?,
            "version" if is_number(value) => self.version = Some(value.get().to_owned()),
            "version" => self.version = read_text(field, value, EXPECTED_VERSION)?,
            // Also null: that is data.
            "data" => self.data = Some(value.to_owned()),
            "key" => self.key = read_text(field, value, EXPECTED_TEXT)?,
            "coalesce" => self.coalesce = read_bool(field, value)?,
            "spread" => self.spread = read_text(field, value, EXPECTED_DURATION)?,
            "delay" => self.delay = read_text(field, value, EXPECTED_DURATION)?,
            "sender" => self.sender = read_text(field, value, EXPECTED_TEXT)?,
            _ => self.name = read_text(field, value, EXPECTED_TEXT)?,
        }
        Ok(())
    }
}

/// As [`Event::from_json`], so that whoever reads JSON gets the same words.
impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_json(&json).map_err(D::Error::custom)
    }
}

fn is_number(value: &RawValue) -> bool {
    value.get().starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn read_to(value: &RawValue) -> Result<OneOrMany, Invalid> {
    let wrong = |_| Invalid::new("to", value.get(), EXPECTED_TO);
    if !value.get().starts_with('[') {
        return serde_json::from_str(value.get()).map(OneOrMany::One).map_err(wrong);
    }
    let List { items, count } = serde_json::from_str(value.get()).map_err(wrong)?;
    if count > limits::EVENT_ADDRESSES {
        return Err(Invalid::new("to", &format!("{count} addresses"), "1 to 100 addresses"));
    }
    let address = |(at, item): (usize, &RawValue)| {
        let wrong = |_| Invalid::new(format!("to[{at}]"), item.get(), EXPECTED_ADDRESS);
        serde_json::from_str(item.get()).map_err(wrong)
    };
    items.into_iter().enumerate().map(address).collect::<Result<_, _>>().map(OneOrMany::Many)
}

/// Reads a text; `None` for null.
fn read_text(field: &'static str, value: &RawValue, expected: &'static str) -> Result<Option<String>, Invalid> {
    serde_json::from_str(value.get()).map_err(|_| Invalid::new(field, value.get(), expected))
}

fn read_bool(field: &'static str, value: &RawValue) -> Result<bool, Invalid> {
    serde_json::from_str(value.get()).map_err(|_| Invalid::new(field, value.get(), "true or false"))
}

/// The first fields of an object, in order: one more than an event has, which is then a wrong one.
#[derive(Default)]
struct Object<'a> {
    fields: Vec<(String, &'a RawValue)>,
}

/// The first items of a list, one more than an event has addresses, and how many there are.
#[derive(Default)]
struct List<'a> {
    items: Vec<&'a RawValue>,
    count: usize,
}

/// Reads an object or a list without reading what is in it.
struct Shallow<T>(PhantomData<T>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Shallow(PhantomData::<Object<'de>>))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Shallow(PhantomData::<List<'de>>))
    }
}

impl<'de> Visitor<'de> for Shallow<Object<'de>> {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut object = Object::default();
        while object.fields.len() <= FIELDS.len() {
            let Some(field) = map.next_entry()? else { return Ok(object) };
            object.fields.push(field);
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(object)
    }
}

impl<'de> Visitor<'de> for Shallow<List<'de>> {
    type Value = List<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<'de>, A::Error> {
        let mut list = List::default();
        while list.items.len() <= limits::EVENT_ADDRESSES {
            let Some(item) = seq.next_element()? else { return Ok(list) };
            list.items.push(item);
            list.count += 1;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            list.count += 1;
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Result<Event, Invalid> {
        Event::from_json(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn every_mistake_names_field_value_and_what_is_allowed() {
        for (json, field, value, expected) in [
            ("42", "body", "42", "object"),
            ("null", "body", "null", "object"),
            (r#""orders/42""#, "body", r#""orders/42""#, "object"),
            (r#"[{"to":"a"}]"#, "body", r#"[{"to":"a"}]"#, "object"),
            ("{}", "to", "", "orders/42"),
            (r#"{"type":"x"}"#, "to", "", "orders/42"),
            (r#"{"to":null}"#, "to", "null", "a list of 1 to 100"),
            (r#"{"to":7}"#, "to", "7", "in quotes"),
            (r#"{"to":{"a":1}}"#, "to", r#"{"a":1}"#, "in quotes"),
            (r#"{"to":["a",7]}"#, "to[1]", "7", "in quotes"),
            (r#"{"to":["a",["b"]]}"#, "to[1]", r#"["b"]"#, "in quotes"),
            (r#"{"to":"a","type":7}"#, "type", "7", "a text in quotes"),
            (r#"{"to":"a","version":true}"#, "version", "true", "or a number"),
            (r#"{"to":"a","version":[7]}"#, "version", "[7]", "or a number"),
            (r#"{"to":"a","key":7}"#, "key", "7", "a text in quotes"),
            (r#"{"to":"a","coalesce":"no"}"#, "coalesce", r#""no""#, "true or false"),
            (r#"{"to":"a","coalesce":0}"#, "coalesce", "0", "true or false"),
            (r#"{"to":"a","coalesce":null}"#, "coalesce", "null", "true or false"),
            (r#"{"to":"a","spread":5}"#, "spread", "5", "5s"),
            (r#"{"to":"a","delay":5}"#, "delay", "5", "500ms"),
            (r#"{"to":"a","sender":7}"#, "sender", "7", "a text in quotes"),
            (r#"{"to":"a","event":{}}"#, "event", "{}", "a text in quotes"),
            (r#"{"to":"a","event":"\ud800"}"#, "event", r#""\ud800""#, "a text in quotes"),
            (r#"{"to":"a","tpye":"x"}"#, "tpye", r#""x""#, "one of the fields to, type, version"),
            (r#"{"to":"a","to":"b"}"#, "to", r#""b""#, "only once"),
        ] {
            let error = read(json).unwrap_err();
            assert_eq!((error.field(), error.value()), (field, value), "{json}: {error}");
            assert!(error.expected().contains(expected), "{json}: {error}");
            for word in ["invalid type", "untagged", "variant", "deserialize", "sequence"] {
                assert!(!error.to_string().contains(word), "{json}: {error}");
            }
        }
    }

    #[test]
    fn a_number_is_a_version_as_it_is_written() {
        for number in ["7", "-1", "7.50", "1e3", "123456789012345678901234567890"] {
            let event = read(&format!(r#"{{"to":"a","version":{number}}}"#)).unwrap();
            assert_eq!(event, Event::refresh("a").version(number));
        }
    }

    #[test]
    fn null_is_data_and_else_as_if_it_were_not_there() {
        let json = r#"{"to":["a"],"type":null,"version":null,"data":null,"key":null,"spread":null}"#;
        let event = Event::refresh("a").data(RawValue::from_string("null".to_owned()).unwrap());
        assert_eq!(read(json).unwrap(), event);
    }

    #[test]
    fn many_addresses_are_counted_and_not_kept() {
        let json = format!(r#"{{"to":[{}]}}"#, vec!["\"a\""; 5_000].join(","));
        assert_eq!(read(&json).unwrap_err().value(), "5000 addresses");
        let fields: Vec<String> = (0..5_000).map(|n| format!(r#""f{n}":1"#)).collect();
        assert_eq!(read(&format!("{{{}}}", fields.join(","))).unwrap_err().field(), "f0");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            to in proptest::collection::vec(".{0,8}", 1..4),
            texts in proptest::array::uniform6(proptest::option::of(".{0,8}")),
            coalesce: bool,
        ) {
            let mut event = Event::refresh("");
            event.to = OneOrMany::Many(to);
            let [event_type, version, key, spread, sender, name] = texts;
            (event.event_type, event.version, event.key) = (event_type, version, key);
            (event.spread, event.sender, event.name, event.coalesce) = (spread, sender, name, coalesce);
            let json = serde_json::to_string(&event).unwrap();
            prop_assert_eq!(read(&json).unwrap(), event);
        }

        #[test]
        fn never_panics(text: String) {
            let _ = serde_json::from_str::<Event>(&text);
        }
    }
}
