//! Faults without end: topologies, servers and what befalls them are drawn from a seed, one after the other and now and
//! then two at once, while events are published all the time. Each round is judged by the oracle.

mod options;
mod schedule;
mod season;
mod tally;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::FutureExt;

use crate::options::Options;
use crate::schedule::Season;
use crate::tally::Tally;

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(run(&options))
}

async fn run(options: &Options) -> ExitCode {
    println!("chaos: seed {}", options.seed);
    let (begun, mut tally) = (Instant::now(), Tally::default());
    for number in options.seasons() {
        let is_over = |tally: &Tally| {
            begun.elapsed() >= Duration::from_secs(60 * options.minutes)
                || options.events.is_some_and(|events| tally.events >= events)
        };
        if is_over(&tally) {
            break;
        }
        let season = Season::draw(options.seed, number, &options.kinds, &options.servers);
        // Whatever gives up in there has said why, and the stage has shown its logs.
        let played = AssertUnwindSafe(season::play(&season, begun, &mut tally, is_over)).catch_unwind().await;
        if played.is_err() {
            println!("{tally}");
            println!("FAILED in season {number}. To play it again: {}", options.replay(number));
            return ExitCode::FAILURE;
        }
    }
    println!("{tally}");
    println!(
        "| {} | {} | {:.1} min | {} |",
        options.seed,
        options.reach(),
        begun.elapsed().as_secs_f64() / 60.0,
        tally.row()
    );
    ExitCode::SUCCESS
}
