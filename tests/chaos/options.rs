//! What the program is asked to do.

use std::ops::RangeInclusive;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tidings_tests::Server;
use tidings_tests::faults::Kind;

/// Lets faults befall topologies while events are published, as drawn from a seed, and ends with an error as soon as an
/// event was neither delivered nor resynced, or came twice or out of order.
///
/// What befalls what, and in which order, follows from the seed alone; when exactly, does not. Needs a build of
/// tidings-gateway in its own folder, or TIDINGS_GATEWAY, and what tests/servers installs.
#[derive(Debug, Clone, Parser)]
#[command(name = "chaos")]
pub struct Options {
    /// What all is drawn from.
    #[arg(long, default_value_t = fastrand::u64(..1_000_000))]
    pub seed: u64,
    /// No round begins later than this.
    #[arg(long, default_value_t = 10)]
    pub minutes: u64,
    /// No round begins once so many events are published.
    #[arg(long)]
    pub events: Option<usize>,
    /// Topologies to draw from.
    #[arg(long, value_delimiter = ',', default_value = "standalone,sentinel,cluster", value_parser = kind())]
    pub kinds: Vec<Kind>,
    /// Servers to draw from.
    #[arg(long, value_delimiter = ',', default_value = "redis-7,valkey-8,redis-8", value_parser = server())]
    pub servers: Vec<Server>,
    /// Plays this season of the schedule alone.
    #[arg(long)]
    pub season: Option<u32>,
}

impl Options {
    /// The seasons to play.
    pub fn seasons(&self) -> RangeInclusive<u32> {
        self.season.map_or(0..=u32::MAX, |season| season..=season)
    }

    /// How that season is played again.
    pub fn replay(&self, season: u32) -> String {
        let Self { seed, minutes, .. } = self;
        let (kinds, servers) = self.names();
        format!(
            "tests/run chaos --seed {seed} --season {season} --minutes {minutes} --kinds {kinds} --servers {servers}"
        )
    }

    /// What was drawn from.
    pub fn reach(&self) -> String {
        let (kinds, servers) = self.names();
        format!("{kinds} × {servers}")
    }

    fn names(&self) -> (String, String) {
        let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
        let servers: Vec<&str> = self.servers.iter().map(|server| server.name()).collect();
        (kinds.join(","), servers.join(","))
    }
}

fn kind() -> impl TypedValueParser<Value = Kind> {
    let named = |name: String| Kind::ALL.into_iter().find(|kind| kind.name() == name);
    PossibleValuesParser::new(Kind::ALL.map(Kind::name)).map(move |name| named(name).expect("a possible value"))
}

fn server() -> impl TypedValueParser<Value = Server> {
    let named = |name: String| Server::ALL.into_iter().find(|server| server.name() == name);
    PossibleValuesParser::new(Server::ALL.map(Server::name)).map(move |name| named(name).expect("a possible value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_is_understood() {
        let args = ["chaos", "--seed", "7", "--minutes", "3", "--kinds", "cluster,sentinel", "--servers", "valkey-8"];
        let options = Options::try_parse_from(args).unwrap();
        let replay = options.replay(4);
        let again = Options::try_parse_from(replay.split(' ').skip(1)).unwrap();
        assert_eq!((again.seed, again.minutes, again.seasons()), (7, 3, 4..=4));
        assert_eq!((again.kinds, again.servers), (vec![Kind::Cluster, Kind::Sentinel], vec![Server::Valkey8]));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let told = Options::try_parse_from(["chaos", "--kinds", "moon"]).unwrap_err().to_string();
        assert!(told.contains("'moon'") && told.contains("standalone, sentinel, cluster"), "{told}");
    }
}
