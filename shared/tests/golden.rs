//! Golden files: every byte that another language would rely on, one JSON object a line, so that its tests can read them too.
//!
//! They change only on purpose: `UPDATE_GOLDEN=1 cargo test -p tidings-shared --test golden` writes them anew, and the
//! difference is then a change of the protocol, to be judged in review.
#![allow(clippy::unwrap_used)] // helpers of tests, which clippy does not see as tests

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use tidings_shared::cursor::Place;
use tidings_shared::keys::{Namespace, idempotency_scope};
use tidings_shared::message::{Delivered, data};
use tidings_shared::script::{self, Beacon, Call, Claim, Mark, MarkLeft, Publish, Span, Step};
use tidings_shared::{Address, Cursor, Epoch, Event, Id, Message, Partitions, Retention, entry};

const TIME: &str = "2025-11-21T00:00:01.877Z";

/// Topics and users that show every rule of spelling: nothing is escaped, folded or normalised in a key.
const ADDRESSES: &[&str] = &[
    "news",
    "orders/42",
    "Orders/42",
    "a/b/c/d/e/f/g/h",
    "tenant:7/list.all/_x~y-z",
    "t:odd/u:even",
    "@alice",
    "@Alice",
    "@alice/inbox",
    "@alice/orders/42",
    "@alice@example.com",
    "@a b",
    "@a%20b",
    "@{tidings:0}",
    "@auth0|5f7c8ec7c33c6c004bbafe82",
    "@\"quoted\\\"",
    "@zoë",
    "@zoe\u{308}",
    "@名前",
    "@名前/inbox",
    "@🦀",
];

/// Compares with the file, or writes it if asked to.
fn check(file: &str, lines: &[Value]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    let mut now = String::new();
    for line in lines {
        writeln!(now, "{line}").unwrap();
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&path, now).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for (at, (kept, now)) in kept.lines().zip(now.lines()).enumerate() {
        assert_eq!(now, kept, "{file}, line {}", at + 1);
    }
    assert_eq!(now, kept, "{file}: another number of lines, or other line ends");
}

fn addresses() -> impl Iterator<Item = Address> {
    ADDRESSES.iter().filter_map(|text| text.parse().ok())
}

fn namespaces() -> [Namespace; 2] {
    [Namespace::default(), "shop.eu_1".parse().unwrap()]
}

fn epoch() -> Epoch {
    "k3f9".parse().unwrap()
}

fn id(text: &str) -> Id {
    text.parse().unwrap()
}

#[test]
fn addresses_are_taken_or_refused() {
    let wrong = ["", "/", "a//b", "a/b/c/d/e/f/g/h/i", "a b", "ä", "@", "@/x", "@a/ä", "@a\u{2028}b", "@a\nb"];
    let lines: Vec<Value> = ADDRESSES
        .iter()
        .chain(&wrong)
        .map(|text| match text.parse::<Address>() {
            Ok(address) => {
                assert_eq!(address.to_string(), *text);
                let kind = match address {
                    Address::Topic(_) => "topic",
                    Address::User(_) => "user",
                    Address::UserTopic(..) => "user's topic",
                };
                json!({"address": text, "is": kind})
            }
            Err(_) => json!({"address": text, "is": null}),
        })
        .collect();
    check("addresses.jsonl", &lines);
}

#[test]
fn keys_and_channels() {
    let mut lines = Vec::new();
    for namespace in namespaces() {
        for partition in Partitions::new(32).unwrap().all().filter(|p| [0, 7, 31].contains(&p.number())) {
            let keys = namespace.keys(partition);
            lines.push(json!({
                "namespace": namespace.to_string(),
                "partition": partition.number(),
                "journal": keys.journal(),
                "epoch": keys.epoch(),
                "idempotency of 'order 42: paid'": keys.idempotency("order 42: paid"),
                "beacon of gateway 'gw-7f'": keys.beacon("gw-7f"),
            }));
        }
        let keys = namespace.keys(Partitions::ONE.get(0).unwrap());
        for address in addresses() {
            lines.push(json!({
                "namespace": namespace.to_string(),
                "partition": 0,
                "address": address.to_string(),
                "stream and channel": keys.stream(&address),
            }));
        }
    }
    let scopes: [(&str, &[&str]); 4] = [
        ("order 42: paid", &["orders/42"]),
        ("order 42: paid", &["orders/42", "@alice/orders"]),
        ("order 42: paid", &["@alice/orders", "orders/42", "@alice/orders"]),
        ("rev 9 – ß", &["@zoë/inbox", "Orders/42"]),
    ];
    for (key, texts) in scopes {
        let addresses: Vec<Address> = texts.iter().map(|text| text.parse().unwrap()).collect();
        lines.push(json!({"key": key, "addresses": texts, "scope": idempotency_scope(key, &addresses)}));
    }
    check("keys.jsonl", &lines);
}

#[test]
fn partition_of_an_address() {
    let more = (0..20).map(|n| format!("orders/{n}").parse::<Address>().unwrap());
    let lines: Vec<Value> = addresses()
        .chain(more)
        .map(|address| {
            let of = |count| Partitions::new(count).unwrap().of(&address).number();
            json!({"address": address.to_string(), "of 1": of(1), "of 2": of(2), "of 16": of(16), "of 32": of(32)})
        })
        .collect();
    check("partitions.jsonl", &lines);
}

/// Events with a sender or a delay.
const SENT_OR_DELAYED: [&str; 4] = [
    r#"{"to":"news","sender":"tab \"7\\ – ß 🦀","type":"order.updated"}"#,
    r#"{"to":"news","delay":"500ms"}"#,
    r#"{"to":["news","@alice"],"delay":"1h","spread":"5s","sender":"tab"}"#,
    r#"{"to":"news","delay":"0s","coalesce":false,"data":null}"#,
];

#[test]
fn events_as_json_become_messages() {
    let events = [
        json!({"to": "orders/42"}),
        json!({"to": "orders/42", "type": "order.updated", "version": "7"}),
        json!({"to": ["orders/42", "@alice", "orders/42"], "type": "order.updated", "coalesce": false}),
        json!({"to": "news", "event": "headline", "data": "plain \"text\" with \u{2028} and ünïcode 🦀"}),
        json!({"to": "news", "data": null}),
        json!({"to": "news", "data": [1, 2.5, true, {"deep": {"er": []}}]}),
        json!({"to": "@zoë/inbox", "version": "rev 9 – ß", "key": "payment 17", "coalesce": true}),
    ];
    let spaced =
        "{\"to\": \"a\", \"data\": {\n  \"n\": 1.10,\r\n  \"big\": 123456789012345678901234567890,\t\"e\": 1E5 }}";
    let lines: Vec<Value> = events
        .iter()
        .map(ToString::to_string)
        .chain([spaced.to_owned()])
        .chain([r#"{"to":"news","spread":"1m 30s"}"#, r#"{"to":"news","spread":"0s"}"#].map(str::to_owned))
        .chain(SENT_OR_DELAYED.map(str::to_owned))
        .map(|text| {
            let prepared = serde_json::from_str::<Event>(&text).unwrap().prepare(TIME).unwrap();
            json!({
                "event": text,
                "time": TIME,
                "addresses": prepared.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "key": prepared.key,
                "message": prepared.message,
            })
        })
        .collect();
    check("events.jsonl", &lines);
}

#[test]
fn messages_delivered() {
    let plain = Message {
        coalesce: false,
        several: false,
        event_type: None,
        spread_ms: None,
        delay_ms: 0,
        trace: None,
        name: None,
        body: r#"{"time":"t"}"#,
    };
    let full = Message {
        coalesce: true,
        several: true,
        event_type: Some("order.updated"),
        spread_ms: Some(5000),
        delay_ms: 0,
        trace: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        name: Some("order"),
        body: r#"{"type":"order.updated","version":"7","time":"t","event":"order","data":{"a b": [1, 2]}}"#,
    };
    let delayed = Message { delay_ms: 500, body: r#"{"sender":"tab \"7","time":"t"}"#, ..plain };
    let full_delayed = Message { delay_ms: 3_600_000, ..full };
    let lines: Vec<Value> = [
        (plain, "0-1"),
        (plain, "1763683201877-0"),
        (full, "1763683201877-12"),
        (full, "18446744073709551615-18446744073709551615"),
        (delayed, "1763683201877-0"),
        (full_delayed, "1763683201877-12"),
    ]
    .iter()
    .map(|(message, place)| {
        let text = Delivered { id: id(place), epoch: epoch(), message: *message }.encode();
        let read = Delivered::decode(&text).unwrap();
        assert_eq!((read.message, read.id, read.epoch), (*message, id(place), epoch()));
        let mut line = json!({
            "id": place, "epoch": epoch().to_string(),
            "coalesce": message.coalesce, "several": message.several, "type": message.event_type, "spread_ms": message.spread_ms,
            "trace": message.trace, "name": message.name, "body": message.body,
            "stored": message.encode(), "delivered": text,
        });
        if message.delay_ms > 0 {
            line["delay_ms"] = json!(message.delay_ms);
        }
        if let Some(sender) = message.sender() {
            line["sender"] = json!(sender);
        }
        line
    })
    .collect();
    check("messages.jsonl", &lines);
}

#[test]
fn data_for_a_connection() {
    let bodies = [r#"{"time":"t"}"#, r#"{"type":"a","version":"7","time":"t","event":"e","data":{"x": "}{"}}"#];
    let follows: [&[&str]; 4] =
        [&["orders/42"], &["orders/42", "@alice"], &["@\"quoted\\\""], &["@zoë", "@🦀", "news"]];
    let mut lines = Vec::new();
    for body in bodies {
        for follow in follows {
            let addresses: Vec<Address> = follow.iter().map(|text| text.parse().unwrap()).collect();
            let followed: Vec<&Address> = addresses.iter().collect();
            lines.push(json!({"body": body, "followed": follow, "data": data(&followed, body)}));
        }
    }
    check("data.jsonl", &lines);
}

#[test]
fn stream_entries() {
    let of: Vec<Address> = addresses().collect();
    let message = Event::refresh("orders/42").prepare(TIME).unwrap().message;
    let lines = [
        json!({"journal entry of": ["orders/42"], "fields": entry::journal_fields(&["orders/42".parse().unwrap()])}),
        json!({"journal entry of": ADDRESSES.iter().filter(|a| a.parse::<Address>().is_ok()).collect::<Vec<_>>(),
               "fields": entry::journal_fields(&of)}),
        json!({"stream entry of": message, "fields": [[entry::MESSAGE, message]]}),
    ];
    check("entries.jsonl", &lines);
}

#[test]
fn cursors() {
    type Places = &'static [(u16, &'static str, &'static str)];
    let cases: [(u16, Places); 8] = [
        (1, &[]),
        (1, &[(0, "0", "0-0")]),
        (1, &[(0, "k3f9", "1763683201877-0")]),
        (1, &[(0, "9zldr", "18446744073709551615-18446744073709551615")]),
        (4, &[]),
        (4, &[(2, "k3f9", "1763683201877-0")]),
        (4, &[(0, "k3f9", "1763683201877-0"), (1, "0", "1763683200000-300"), (3, "9zldr", "1763683209999-1")]),
        (32, &[(0, "a", "127-127"), (15, "b", "128-128"), (31, "c", "16384-65536")]),
    ];
    let lines: Vec<Value> = cases
        .iter()
        .map(|(count, places)| {
            let partitions = Partitions::new(*count).unwrap();
            let mut cursor = Cursor::new(partitions);
            for (number, epoch, place) in *places {
                let place = Place { epoch: epoch.parse().unwrap(), id: id(place) };
                cursor.set(partitions.get(*number).unwrap(), place);
            }
            let text = cursor.encode();
            if !places.is_empty() {
                assert_eq!(Cursor::decode(&text, partitions).unwrap(), cursor);
            }
            json!({"partitions": count, "places": places, "cursor": text})
        })
        .collect();
    check("cursors.jsonl", &lines);
}

#[test]
fn what_scripts_are_called_with() {
    let keys = Namespace::default().keys(Partitions::new(16).unwrap().get(7).unwrap());
    let addresses: Vec<Address> = ["orders/42", "@alice", "@a b/inbox"].iter().map(|a| a.parse().unwrap()).collect();
    let retention = Retention { events: 500, age_ms: 60_000, journal: 9_000 };
    let publish = |addresses, key| {
        script::publish(
            &keys,
            Publish {
                addresses,
                message: r#"c - - - - {"time":"t"}"#,
                partitions: Partitions::CLUSTER,
                key,
                epoch: epoch(),
                retention,
            },
        )
    };
    let (partitions, lease_ms) = (Partitions::CLUSTER, 15_000);
    let any_beacon = |attaching, partitions, mark, hold_ms| {
        let run = "0123456789abcdef0123456789abcdef01234567";
        script::beacon(
            &keys,
            Beacon {
                gateway: "gw-7f",
                seen: id("1763683201877-3"),
                epoch: epoch(),
                run,
                attaching,
                retention,
                partitions,
                lease_ms,
                mark,
                hold_ms,
            },
        )
    };
    let marked_beacon = |attaching, partitions, mark| any_beacon(attaching, partitions, mark, None);
    let beacon = |attaching, partitions| marked_beacon(attaching, partitions, None);
    let mark = |last, left| Some(Mark { number: 42, keep_ms: 3_600_000, last, left });
    let last = MarkLeft { epoch: epoch(), number: 41, until_ms: 1_763_686_801_877 };
    let left = ["9zldr".parse().unwrap(), "0".parse().unwrap()];
    let claim = |step| script::claim(&keys, Claim { step, partitions, epoch: epoch(), lease_ms });
    let (from, to) = (id("1763683201877-3"), id("1763683209999-0"));
    let calls = [
        ("publish.lua, one address, no key", publish(&addresses[..1], None)),
        ("publish.lua, three addresses, a key", publish(&addresses, Some(("payment 17", 600_000)))),
        ("beacon.lua, attaching", beacon(true, Some(partitions))),
        ("beacon.lua", beacon(false, Some(partitions))),
        ("beacon.lua, whichever count there is", beacon(false, None)),
        ("claim.lua, take", claim(Step::Take)),
        ("claim.lua, give", claim(Step::Give)),
        ("history.lua, after", script::history(&keys, &addresses, Span::After(from), 1_048_576)),
        (
            "history.lua, after an id each",
            script::history(&keys, &addresses[..2], Span::After(from), 1_048_576).after_each(&[to, from]),
        ),
        ("history.lua, between", script::history(&keys, &addresses, Span::Between(from, to), 1_048_576)),
        ("history.lua, latest", script::history(&keys, &addresses[..1], Span::Latest, 1_048_576)),
        ("missed.lua, first page", script::missed(&keys, from, None, 1_000)),
        ("missed.lua, next page", script::missed(&keys, from, Some(to), 1_000)),
        ("beacon.lua, the first mark", marked_beacon(true, Some(partitions), mark(None, &[]))),
        ("beacon.lua, a later mark", marked_beacon(false, Some(partitions), mark(Some(last), &left))),
        ("beacon.lua, a hold", any_beacon(true, Some(partitions), mark(None, &[]), Some(3_600_000))),
        ("beacon.lua, a hold without a mark", any_beacon(false, Some(partitions), None, Some(60_000))),
    ];
    let lines: Vec<Value> =
        calls.iter().map(|(what, Call { keys, args, .. })| json!({"call": what, "KEYS": keys, "ARGV": args})).collect();
    check("calls.jsonl", &lines);
}
