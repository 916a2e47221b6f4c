//! What the program is asked to do.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::mark::Mark;

/// Puts gateways under load, and beside them, in the same run, a raw writer of the same bytes (the limit), nchan if it
/// is installed, and any peer that is described in a file.
///
/// Needs a build of tidings-gateway in its own folder, or TIDINGS_GATEWAY. Ends with an error if a gateway lost
/// anything; what peers lose is told.
#[derive(Debug, Clone, Parser)]
#[command(name = "load", args_override_self = true)]
pub struct Options {
    /// What to run.
    #[arg(value_enum, default_value = "all")]
    pub scenarios: Vec<Scenario>,
    /// Open streams; each takes a file descriptor of the server.
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(8..=90_000))]
    pub connections: u32,
    /// Whole runs; figures are their medians. `churn` is run once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// As little of everything as shows that it works. The figures are worth nothing.
    #[arg(long)]
    pub quick: bool,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 200, value_parser = data)]
    pub data: usize,
    /// Worker threads of the gateway, one measurement for each.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub workers: Vec<u16>,
    /// How clients come to the gateway, one measurement for each; the other servers are spoken to as before. For
    /// idle, broadcast, keyed and mixed.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "plain")]
    pub over: Vec<Over>,
    /// Streams on each connection of HTTP/2, one measurement for each. All clients together have as many streams as
    /// `--connections` says.
    #[arg(long, value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub streams: Vec<u32>,
    /// Where gateways keep history, unless a scenario needs Redis. Redis is started for the run.
    #[arg(long, value_enum, default_value_t = Store::Memory)]
    pub store: Store,
    /// How gateways are given events, where a scenario leaves that open. With `redis` that is where they keep history.
    #[arg(long, value_enum, default_value_t = Publishing::Http)]
    pub publish: Publishing,
    /// Setting of all gateways, such as `stream.queue=64KiB`. Repeat it for more.
    #[arg(long, value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Connections of `churn`.
    #[arg(long, default_value_t = 2_000_000)]
    pub connects: u32,
    /// Servers to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "raw,gateway,nchan,peers")]
    pub servers: Vec<Which>,
    /// TOML file that describes a server that runs already; tests/load/README.md says how. Repeat it for more.
    #[arg(long)]
    pub peer: Vec<PathBuf>,
    /// File for the figures as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// File for the figures as Markdown.
    #[arg(long)]
    pub markdown: Option<PathBuf>,
    /// Folder for plots.
    #[arg(long)]
    pub svg: Option<PathBuf>,
    /// What this process is, if it is a child of another.
    #[arg(long, value_enum, hide = true)]
    pub child: Option<Role>,
}

/// What can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// All of these.
    All,
    /// Memory of connections that get nothing.
    Idle,
    /// All follow one topic: one event at a time, then several at once.
    Broadcast,
    /// Each follows a user of its own; events go to users by chance.
    Keyed,
    /// Each follows a user and up to three of 100 topics; one event in five goes to a topic.
    Mixed,
    /// All connections are lost, miss events, and come back at once.
    Storm,
    /// Some connections do not read.
    Slow,
    /// Three gateways are replaced one by one while events are published.
    Rollout,
    /// Millions of short streams.
    Churn,
    /// A client without rights does all that it can; not part of all.
    Hostile,
}

/// Servers of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// The raw writer.
    Raw,
    /// The gateway.
    Gateway,
    /// nchan.
    Nchan,
    /// Those of `--peer`.
    Peers,
}

/// Where a gateway keeps history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// In its own process.
    Memory,
    /// In a Redis of this run.
    Redis,
}

/// How gateways are given events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Publishing {
    /// By requests to the gateway.
    Http,
    /// By the publisher library, to Redis.
    Redis,
}

/// How streams come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// HTTP/1.1.
    #[default]
    Plain,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 over TLS.
    H2,
    /// HTTP/2, by prior knowledge.
    H2c,
}

impl Over {
    /// Whether it needs a certificate.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::H2)
    }

    /// Whether a connection may have many streams.
    pub fn is_shared(self) -> bool {
        matches!(self, Self::H2 | Self::H2c)
    }
}

/// A child of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Clients of one server.
    Clients,
    /// The raw writer.
    Writer,
    /// Clients that come and go.
    Visitors,
    /// Clients that mean harm.
    Attackers,
}

impl Options {
    /// What is to be run, in order.
    pub fn scenarios(&self) -> Vec<Scenario> {
        let single = Scenario::value_variants().iter().copied().filter(|scenario| *scenario != Scenario::All);
        let all = self.scenarios.contains(&Scenario::All);
        let asked = |scenario: &Scenario| self.scenarios.contains(scenario) || (all && *scenario != Scenario::Hostile);
        single.filter(asked).collect()
    }

    /// How much of something: `all`, or `few` if it is to be quick.
    pub fn amount(&self, all: u32, few: u32) -> u32 {
        if self.quick { few } else { all }
    }
}

impl Scenario {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it does, in a line.
    pub fn about(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| Some(value.get_help()?.to_string())).unwrap_or_default()
    }
}

fn data(text: &str) -> Result<usize, String> {
    let allowed = Mark::LEAST..=60_000;
    let bytes = text.parse().ok().filter(|bytes| allowed.contains(bytes));
    bytes.ok_or_else(|| format!("a number from {} to {}", allowed.start(), allowed.end()))
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_twice_adds_up_or_the_last_counts() {
        let args = ["load", "storm", "idle", "--json", "a", "--set", "a.b=1", "--json", "b", "--set", "c.d=x=y"];
        let options = Options::try_parse_from(args).unwrap();
        assert_eq!(options.json, Some("b".into()));
        assert_eq!(options.scenarios(), [Scenario::Idle, Scenario::Storm]);
        assert_eq!(options.set, [("a.b".to_owned(), "1".to_owned()), ("c.d".to_owned(), "x=y".to_owned())]);
    }

    #[test]
    fn all_is_everything_but_itself_and_hostile() {
        let options = Options::try_parse_from(["load"]).unwrap();
        assert_eq!(options.scenarios().len(), Scenario::value_variants().len() - 2);
        assert!(!options.scenarios().contains(&Scenario::All));
        assert!(!options.scenarios().contains(&Scenario::Hostile));
        let options = Options::try_parse_from(["load", "hostile"]).unwrap();
        assert_eq!(options.scenarios(), [Scenario::Hostile]);
    }
}
