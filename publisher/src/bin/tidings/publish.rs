//! `tidings publish`: one event from the arguments.

use std::io::Read;

use serde_json::value::RawValue;
use tidings_publisher::{Error, Event, Publisher};

use crate::args::{PublishArgs, StoreArgs};
use crate::exit::Exit;
use crate::{many, out};

/// Publishes what the arguments say.
pub async fn run(store: &StoreArgs, args: PublishArgs) -> Exit {
    if let Some(file) = &args.ndjson {
        return match publisher(store) {
            Ok(publisher) => many::run(&publisher, file, args.strict).await,
            Err(error) => out::fail(Exit::from(&error), &error),
        };
    }
    let event = match event(args) {
        Ok(event) => event,
        Err(why) => return out::fail(Exit::Usage, &why),
    };
    let published = async { publisher(store)?.publish(event).await };
    let result = tokio::select! {
        result = published => result,
        _ = tokio::signal::ctrl_c() => return out::fail(Exit::Interrupted, &"interrupted; the event may be published"),
    };
    match result {
        Ok(receipt) => print(&receipt).err().unwrap_or(Exit::Ok),
        Err(error) => out::fail(Exit::from(&error), &error),
    }
}

/// Prints a receipt as a line of JSON.
pub fn print(receipt: &tidings_publisher::Receipt) -> Result<(), Exit> {
    let json = serde_json::to_string(receipt).map_err(|error| out::fail(Exit::Internal, &error))?;
    out::line(&json)
}

fn publisher(store: &StoreArgs) -> Result<Publisher, Error> {
    let builder = Publisher::builder(store.url()).namespace(store.namespace.clone()).tls(store.tls());
    match store.partitions {
        Some(partitions) => builder.partitions(partitions).lazy(),
        None => builder.lazy(),
    }
}

fn event(args: PublishArgs) -> Result<Event, String> {
    let data = data(&args)?;
    let mut addresses = args.addresses.into_iter();
    let first = addresses.next().ok_or("an address is missing")?;
    let mut event = addresses.fold(Event::refresh(first), Event::also_to).coalesce(!args.no_coalesce);
    if let Some(event_type) = args.event_type {
        event = event.event_type(event_type);
    }
    if let Some(version) = args.version {
        event = event.version(version);
    }
    if let Some(data) = data {
        event = event.data(data);
    }
    if let Some(key) = args.key {
        event = event.key(key);
    }
    if let Some(spread) = args.spread {
        event = event.spread(spread);
    }
    if let Some(delay) = args.delay {
        event = event.delay(delay);
    }
    if let Some(sender) = args.sender {
        event = event.sender(sender);
    }
    if let Some(name) = args.event {
        event = event.name(name);
    }
    Ok(event)
}

fn data(args: &PublishArgs) -> Result<Option<Box<RawValue>>, String> {
    let text = match (&args.data, &args.data_file) {
        (Some(data), _) if data == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| format!("stdin: {error}"))?;
            text
        }
        (Some(data), _) => data.clone(),
        (None, Some(file)) => std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?,
        (None, None) => return Ok(None),
    };
    let parsed = RawValue::from_string(text.trim().to_owned());
    parsed.map(Some).map_err(|error| format!("data is not JSON: {error}; a plain text needs quotes: '\"text\"'"))
}
