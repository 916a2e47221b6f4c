//! Playing a season.

use std::time::{Duration, Instant};

use tidings_tests::Layout;
use tidings_tests::faults::cast::Pace;
use tidings_tests::faults::{Ground, Outcome, Setting, Stage};
use tokio::time::timeout;

use crate::schedule::{Round, Season};
use crate::tally::Tally;

/// How long clients may take to have everything once a fault is over.
const CONVERGED: Duration = Duration::from_secs(20);
/// A round that takes longer hangs.
const ROUND: Duration = Duration::from_secs(180);
/// Up to 1,500 events in a second; fewer on a busy machine, and while a server is away.
const PACE: Pace = Pace { writers: 40, pause: Duration::from_millis(25) };
/// Events before and after each fault.
const CALM: usize = 2_000;

/// Plays its rounds until it `is_over`. Panics if a promise was broken, or if the stage did not hold.
pub async fn play(season: &Season, begun: Instant, tally: &mut Tally, is_over: impl Fn(&Tally) -> bool) {
    let mut stage = raise(season).await;
    for (at, round) in season.rounds.iter().enumerate() {
        if is_over(tally) {
            return;
        }
        let outcome = timeout(ROUND, play_round(&mut stage, round, at > 0)).await;
        let outcome = outcome.unwrap_or_else(|_| panic!("{} hangs", names(round)));
        let Season { number, kind, server, gateways, .. } = season;
        println!(
            "{:>7.1} s  {number}.{at}  {} {}, {gateways} gateways: {} (aim {}): {}",
            begun.elapsed().as_secs_f64(),
            kind.name(),
            server.name(),
            names(round),
            round.aim,
            tally.add(round.faults.len(), &outcome),
        );
        assert!(outcome.verdict.is_kept(), "promise 1 was not kept\n{outcome}");
    }
}

/// The topology with all that its faults need.
async fn raise(season: &Season) -> Stage {
    let layout = season.faults().fold(Layout::of(season.server), |layout, fault| (fault.layout)(layout));
    let setting = Setting::default().gateways(season.gateways).pace(PACE).calm(CALM).healing();
    let settings = season.faults().flat_map(|fault| fault.settings);
    let setting = settings.fold(setting, |setting, (key, value)| setting.with(key, value));
    setting.raise(Ground::start(season.kind, layout).await).await
}

async fn play_round(stage: &mut Stage, round: &Round, again: bool) -> Outcome {
    if again {
        stage.recast().await;
    }
    stage.aim = round.aim;
    stage.play(&round.faults, CONVERGED).await
}

fn names(round: &Round) -> String {
    round.faults.iter().map(|fault| fault.name).collect::<Vec<_>>().join(" + ")
}
