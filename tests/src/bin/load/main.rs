//! First load figures: what a delivery costs in server CPU, and an idle connection in memory, beside a raw epoll writer
//! that does nothing but write the same bytes.
//!
//! CPU time counts, not the clock: figures hold on a machine that does other things too, and ratios within one run hold
//! on another machine. Every delivery is counted by the clients, and a run in which one is missing fails.

mod child;
mod clients;
mod machine;
mod measure;
mod options;
mod report;
mod sample;
mod shape;
mod swarm;
mod tally;
mod target;
mod writer;

use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, getrlimit};

use crate::options::{Options, Role};
use crate::report::Report;
use crate::sample::Sample;
use crate::target::Target;

fn main() -> ExitCode {
    let options = Options::parse();
    match &options.role {
        None => load(&options),
        Some(Role::Clients(clients)) => ended("clients", clients::run(clients)),
        Some(Role::Writer) => ended("writer", writer::run()),
    }
}

fn ended(role: &str, result: std::io::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("load: {role}: {error}");
    ExitCode::FAILURE
}

/// Files that a server has open besides its connections.
const SPARE: u64 = 200;

#[tokio::main]
async fn load(options: &Options) -> ExitCode {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if u64::from(options.connections) + SPARE > files {
        eprintln!("load: a process may have {files} open files here, so at most {} connections", files - SPARE);
        return ExitCode::FAILURE;
    }
    let mut report = Report::new(options);
    let sample = Sample::take(options).await;
    report.event_bytes = sample.event.len();
    report.servers.push(measure::measure(Target::writer(&sample), options, 1).await);
    for (run, workers) in (2..).zip(&options.workers) {
        report.servers.push(measure::measure(Target::gateway(options, *workers).await, options, run).await);
    }
    println!("{report}");
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&report).expect("figures are JSON");
        std::fs::write(path, json).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    }
    if report.complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
