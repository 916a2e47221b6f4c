//! What the command takes, and the help that teaches it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};
use tidings_publisher::store::TlsFiles;
use tidings_publisher::{Namespace, Partitions};

const EXITS: &str = "\
Exit codes:
  0    all done
  1    some events were not published (--ndjson); stderr says which
  64   wrong use, or an event that is not valid
  69   the store or gateway is away, or refused
  70   something unexpected
  130  interrupted";

const PUBLISH_EXAMPLES: &str = "\
Examples:
  Tell every page that shows order 42 to fetch it again:
    tidings publish orders/42
  With a type and a version, to a topic and to a user:
    tidings publish orders/42 @alice --type order.updated --version 7
  With data, from an argument, a file, or stdin:
    tidings publish news --data '{\"title\":\"Hello\"}'
    jq .order dump.json | tidings publish orders/42 --data -
  Many events, one JSON object a line, each as POST /v1/publish takes it:
    printf '%s\\n' '{\"to\":\"orders/42\"}' '{\"to\":[\"news\",\"@alice\"],\"type\":\"hello\"}' | tidings publish --ndjson -

Each published event prints its receipt, one line of JSON, to stdout; all else goes to stderr.";

const TAIL_EXAMPLES: &str = "\
Examples:
  tidings tail orders/42 @alice
  tidings tail news --count 1 | jq .data
  tidings tail news --verbose            control events and cursors, on stderr
  tidings tail news --cursor 1.k3f9.1763683201877-0

Each line is what a page would get. A line with \"resync\":true says that events may have been missed: fetch what it
names again. When the connection breaks, tail comes back by itself and catches up; stderr says so.";

/// Publishes Tidings refresh events, and follows addresses, from a terminal.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, after_help = EXITS)]
pub struct Args {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Where the events go.
#[derive(Debug, ClapArgs)]
pub struct StoreArgs {
    /// redis://[[user]:password@]host[:port][/database], or http://host[:port] of a gateway; also redis+sentinel://… and
    /// redis+cluster://…, and rediss… for TLS. Better in the environment variable TIDINGS_STORE if it holds a password.
    /// Default: http://127.0.0.1:8080
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,
    /// The name that all keys of the installation share, for Redis
    #[arg(long, global = true, default_value_t)]
    pub namespace: Namespace,
    /// How many partitions the namespace has, for Redis, until gateways have set it there. Default: 16 on a cluster, else 1
    #[arg(long, global = true, value_name = "COUNT", value_parser = partitions)]
    pub partitions: Option<Partitions>,
    /// The authorities to trust, in PEM form, instead of the system's, for rediss://
    #[arg(long, global = true, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The client certificate, in PEM form, for rediss:// servers that ask for one
    #[arg(long, global = true, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The key of the client certificate, in PEM form
    #[arg(long, global = true, value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl StoreArgs {
    /// The files of TLS to the store.
    pub fn tls(&self) -> TlsFiles {
        TlsFiles { ca: self.tls_ca.clone(), cert: self.tls_cert.clone(), key: self.tls_key.clone() }
    }

    /// The URL of the store.
    pub fn url(&self) -> String {
        let environment = || std::env::var("TIDINGS_STORE").ok().filter(|url| !url.is_empty());
        self.store.clone().or_else(environment).unwrap_or_else(|| "http://127.0.0.1:8080".to_owned())
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publish one event, or many
    #[command(after_help = PUBLISH_EXAMPLES)]
    Publish(PublishArgs),
    /// Follow addresses and print what pages get
    #[command(after_help = TAIL_EXAMPLES)]
    Tail(TailArgs),
}

/// One event by arguments, or many by a file.
#[derive(Debug, ClapArgs)]
pub struct PublishArgs {
    /// Where it goes: topics (orders/42), users (@alice), topics of users (@alice/inbox)
    #[arg(value_name = "ADDRESS", required_unless_present = "ndjson")]
    pub addresses: Vec<String>,
    /// What kind of change it is, such as order.updated
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    /// The version that the changed thing now has
    #[arg(long)]
    pub version: Option<String>,
    /// Data for the page, as JSON; - reads it from stdin
    #[arg(long, value_name = "JSON", conflicts_with = "data_file", allow_hyphen_values = true)]
    pub data: Option<String>,
    /// Data for the page, as JSON, from a file
    #[arg(long, value_name = "FILE")]
    pub data_file: Option<PathBuf>,
    /// Idempotency key: of all events with one key and the same addresses within ten minutes, the
    /// first counts
    #[arg(long)]
    pub key: Option<String>,
    /// SSE event name: reaches addEventListener(NAME) instead of onmessage
    #[arg(long, value_name = "NAME")]
    pub event: Option<String>,
    /// Deliver it even where a newer event of the same addresses follows at once
    #[arg(long)]
    pub no_coalesce: bool,
    /// Let each page get it at a random moment of this time, at most 1h, so that not all fetch at once
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub spread: Option<Duration>,
    /// Let no page get it before this time is over, at most 1h: for caches and read replicas that lag
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub delay: Option<Duration>,
    /// Name the sender; pages that ask for not=SENDER skip its events
    #[arg(long, value_name = "SENDER")]
    pub sender: Option<String>,
    /// Publish many events, one JSON object a line; - reads stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = SINGLE)]
    pub ndjson: Option<PathBuf>,
    /// With --ndjson: stop at the first line that is not valid, instead of going on after it
    #[arg(long, requires = "ndjson", conflicts_with_all = SINGLE)]
    pub strict: bool,
}

/// The arguments that describe one event.
const SINGLE: [&str; 11] = [
    "addresses",
    "event_type",
    "version",
    "data",
    "data_file",
    "key",
    "event",
    "no_coalesce",
    "spread",
    "delay",
    "sender",
];

/// What to follow.
#[derive(Debug, ClapArgs)]
pub struct TailArgs {
    /// Topics (orders/42), users (@alice), topics of users (@alice/inbox)
    #[arg(value_name = "ADDRESS", required = true)]
    pub addresses: Vec<String>,
    /// Go on after this place, which --verbose shows and every event stream carries as its id
    #[arg(long)]
    pub cursor: Option<String>,
    /// Stop after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Show control events and cursors on stderr
    #[arg(long)]
    pub verbose: bool,
}

fn partitions(text: &str) -> Result<Partitions, String> {
    let count = text.parse().map_err(|_| "expected 1 to 32".to_owned())?;
    Partitions::new(count).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn one_event_and_many_exclude_each_other() {
        let parse = |words: &str| Args::try_parse_from(words.split(' '));
        assert!(parse("tidings publish a --type t --store redis://h").is_ok());
        assert!(parse("tidings publish --ndjson - --strict").is_ok());
        for wrong in [
            "publish",
            "publish a --ndjson -",
            "publish --ndjson - --type t",
            "publish --ndjson - --spread 5s",
            "publish --ndjson - --delay 5s",
            "publish --ndjson - --sender s",
            "publish a --spread soon",
            "publish a --delay soon",
            "publish a --strict",
            "tail",
            "tail a --count 0",
        ] {
            assert!(parse(&format!("tidings {wrong}")).is_err(), "{wrong}");
        }
    }
}
