//! Gateways under load: what deliveries and connections cost, and that nothing is lost meanwhile. tests/load/README.md
//! says how to read it.
//!
//! Server CPU is measured rather than throughput: it holds on a machine that does other things too, and ratios within
//! one run hold on another machine. Every delivery is counted by the clients.

mod attackers;
mod bench;
mod child;
mod clients;
mod cores;
mod crowd;
mod figure;
mod kernel;
mod latency;
mod ledger;
mod machine;
mod mark;
mod options;
mod order;
mod plan;
mod progress;
mod redis_stats;
mod report;
mod resumes;
mod row;
mod sample;
mod scenario;
mod server;
mod swarm;
mod usage;
mod verdict;
mod visitors;
mod writer;

use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, getrlimit};

use crate::bench::Bench;
use crate::options::{Options, Role, Scenario};
use crate::progress::Progress;
use crate::report::Report;
use crate::sample::Sample;
use crate::server::Spec;

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.child {
        None => load(options),
        Some(Role::Clients) => clients::run().map_err(|e| format!("clients: {e}")),
        Some(Role::Writer) => writer::run().map_err(|e| format!("writer: {e}")),
        Some(Role::Attackers) => attackers::run().map_err(|e| format!("attackers: {e}")),
        Some(Role::Visitors) => visitors::run().map_err(|e| format!("visitors: {e}")),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("load: {error}");
    ExitCode::FAILURE
}

/// Files that a server has open besides its connections.
const SPARE: u64 = 200;

#[tokio::main]
async fn load(options: Options) -> Result<(), String> {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if u64::from(options.connections) + SPARE > files {
        return Err(format!("a process may have {files} open files here: --connections {} at most", files - SPARE));
    }
    let peers = options.peer.iter().map(|path| Spec::read(path)).collect::<Result<Vec<_>, _>>()?;
    let mut report = Report::new(&options);
    let sample = Sample::take(&options).await;
    report.event_bytes = sample.bytes();
    let mut bench = Bench::new(options, sample, peers, Progress::new(0));
    let steps = |runs: u32, scenario| runs_of(runs, scenario) as usize * scenario::entrants(&bench, scenario).len();
    let (runs, scenarios) = (bench.options.runs, bench.options.scenarios());
    bench.progress = Progress::new(scenarios.iter().map(|scenario| steps(runs, *scenario)).sum());
    let mut rows = Vec::new();
    for run in 0..runs {
        for scenario in scenarios.iter().filter(|scenario| run < runs_of(runs, **scenario)) {
            rows.extend(scenario::run(&mut bench, *scenario).await);
        }
    }
    bench.progress.end();
    report.finish(&rows);
    print!("{}", report.text());
    report.write(&bench.options)?;
    if report.is_kept() { Ok(()) } else { Err("something was lost: see what is marked NOT KEPT".to_owned()) }
}

/// How often a scenario is run: the one that takes minutes only once.
fn runs_of(runs: u32, scenario: Scenario) -> u32 {
    if scenario == Scenario::Churn { 1 } else { runs }
}
