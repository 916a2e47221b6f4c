//! The scenarios: what is done with a server, and what is measured then.

mod churn;
mod fanout;
mod hostile;
mod rollout;
mod slow;
mod storm;

use crate::bench::{Bench, Entrant};
use crate::options::{Over, Scenario};
use crate::row::{Row, compare};
use crate::server::Server;

/// Runs one once. Servers that are not installed are passed over.
pub async fn run(bench: &mut Bench, scenario: Scenario) -> Vec<Row> {
    let mut rows = Vec::new();
    for entrant in entrants(bench, scenario) {
        bench.progress.say(&format!("{}: {entrant}", scenario.name()));
        rows.extend(match scenario {
            Scenario::Storm => storm::run(bench, &entrant).await,
            Scenario::Slow => slow::run(bench, &entrant).await,
            Scenario::Rollout => rollout::run(bench).await,
            Scenario::Churn => churn::run(bench, &entrant).await,
            Scenario::Hostile => hostile::run(bench, &entrant).await,
            // How fast connections came shows in their memory, so they come as they do to anybody.
            Scenario::Idle => fan_out(bench, scenario, bench.start(&entrant).await).await,
            Scenario::All | Scenario::Broadcast | Scenario::Keyed | Scenario::Mixed => {
                fan_out(bench, scenario, bench.start_open(&entrant).await).await
            }
        });
        bench.progress.step();
    }
    compare(&mut rows);
    rows
}

async fn fan_out(bench: &mut Bench, scenario: Scenario, server: Option<Server>) -> Vec<Row> {
    match server {
        Some(server) => fanout::run(bench, scenario, server).await,
        None => Vec::new(),
    }
}

/// Who takes part in it. What a raw writer, which keeps nothing, could not do, and what only our oracle can judge, is
/// done by those alone who can; what takes minutes, by the first of the gateways. Their clients come by plain HTTP/1.1.
pub fn entrants(bench: &Bench, scenario: Scenario) -> Vec<Entrant> {
    let fanout = matches!(scenario, Scenario::Idle | Scenario::Broadcast | Scenario::Keyed | Scenario::Mixed);
    let all = bench.entrants(if fanout { &bench.options.over } else { &[Over::Plain] }).into_iter();
    let gateways = all.clone().filter(|entrant| matches!(entrant, Entrant::Gateway(_)));
    match scenario {
        Scenario::Storm => all.filter(|entrant| !matches!(entrant, Entrant::Raw)).collect(),
        Scenario::Slow | Scenario::Hostile => gateways.collect(),
        Scenario::Rollout | Scenario::Churn => gateways.take(1).collect(),
        Scenario::All | Scenario::Idle | Scenario::Broadcast | Scenario::Keyed | Scenario::Mixed => all.collect(),
    }
}
