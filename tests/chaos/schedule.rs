//! What befalls what: a function of the seed, and of the catalogue, alone.

use fastrand::Rng;
use tidings_tests::Server;
use tidings_tests::faults::{Fault, Kind, catalogue};

/// Rounds of a season: starting a cluster takes longer than most faults last.
const ROUNDS: usize = 8;
/// One round in so many has two faults at once, where two can be.
const TWICE_IN: u32 = 3;

/// One topology, and what befalls it.
#[derive(Debug, Clone)]
pub struct Season {
    pub number: u32,
    pub kind: Kind,
    pub server: Server,
    pub gateways: usize,
    pub rounds: Vec<Round>,
}

/// Faults that begin together.
#[derive(Debug, Clone)]
pub struct Round {
    pub faults: Vec<&'static Fault>,
    /// Which of several servers and gateways they strike.
    pub aim: usize,
}

impl Season {
    /// That season of a seed. As many in a row as there are pairs of `kinds` and `servers` have each pair once.
    pub fn draw(seed: u64, number: u32, kinds: &[Kind], servers: &[Server]) -> Self {
        let mut pairs: Vec<(Kind, Server)> =
            kinds.iter().flat_map(|kind| servers.iter().map(|server| (*kind, *server))).collect();
        let (lap, place) = (number as usize / pairs.len(), number as usize % pairs.len());
        rng(seed, lap as u64, 0).shuffle(&mut pairs);
        let (kind, server) = pairs[place];
        let mut draw = rng(seed, number.into(), 1);
        let mut fitting: Vec<&Fault> = catalogue::all().filter(|fault| fault.befalls(kind)).collect();
        draw.shuffle(&mut fitting);
        let rounds = (0..ROUNDS).map(|at| Round::draw(at, &fitting, &mut draw)).collect();
        Self { number, kind, server, gateways: draw.usize(2..=3), rounds }
    }

    /// All that befalls it.
    pub fn faults(&self) -> impl Iterator<Item = &'static Fault> {
        self.rounds.iter().flat_map(|round| round.faults.iter().copied())
    }
}

impl Round {
    /// The next of these, and now and then another one that can be under way meanwhile.
    fn draw(at: usize, fitting: &[&'static Fault], draw: &mut Rng) -> Self {
        let first = fitting[at % fitting.len()];
        let others: Vec<&Fault> = fitting.iter().copied().filter(|other| first.mingles_with(other)).collect();
        let twice = draw.u32(..TWICE_IN) == 0;
        let second = draw.choice(others).filter(|_| twice);
        Self { faults: [first].into_iter().chain(second).collect(), aim: draw.usize(..1_000) }
    }
}

/// Dice of their own for each purpose.
fn rng(seed: u64, number: u64, purpose: u64) -> Rng {
    let mut dice = Rng::with_seed(seed);
    let seed = dice.u64(..) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ purpose;
    Rng::with_seed(seed)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn draw(seed: u64, number: u32) -> Season {
        Season::draw(seed, number, &Kind::ALL, &Server::ALL)
    }

    fn told(seed: u64) -> String {
        (0..20).map(|number| format!("{:?}\n", draw(seed, number))).collect()
    }

    #[test]
    fn it_follows_from_the_seed() {
        assert_eq!(told(1), told(1));
        assert_ne!(told(1), told(2));
    }

    #[test]
    fn each_lap_has_each_topology_on_each_server() {
        for lap in 0..5 {
            let places: HashSet<_> = (9 * lap..9 * lap + 9).map(|n| draw(7, n)).map(|s| (s.kind, s.server)).collect();
            assert_eq!(places.len(), 9);
        }
    }

    #[test]
    fn faults_fit_and_all_come() {
        let seasons: Vec<Season> = (0..200).map(|number| draw(3, number)).collect();
        let mut met = HashSet::new();
        let mut doubles = 0;
        for season in &seasons {
            for round in &season.rounds {
                doubles += usize::from(round.faults.len() == 2);
                assert!(round.faults.iter().all(|fault| fault.befalls(season.kind)));
                assert!(round.faults.iter().skip(1).all(|fault| fault.mingles_with(round.faults[0])));
                met.extend(round.faults.iter().map(|fault| fault.name));
            }
        }
        assert_eq!(met.len(), catalogue::all().count());
        let mingling = catalogue::all().any(|fault| catalogue::all().any(|other| fault.mingles_with(other)));
        assert_eq!(doubles > 0, mingling);
    }
}
