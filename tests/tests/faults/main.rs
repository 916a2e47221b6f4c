//! Each fault of the catalogue is a named test on each topology and server, `family::fault::topology::server`, and one
//! more is its twin.

use libtest_mimic::{Arguments, Trial};
use tidings_tests::Server;
use tidings_tests::faults::{Fault, catalogue};
use tokio::runtime;

fn main() {
    let trials = catalogue::all().flat_map(trials).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// All tests of one fault.
fn trials(fault: &'static Fault) -> Vec<Trial> {
    let places = fault.kinds.iter().flat_map(|kind| Server::ALL.map(|server| (*kind, server)));
    let mut trials: Vec<Trial> = places
        .map(|(kind, server)| {
            let name = format!("{}::{}::{}", fault.name, kind.name(), server.name().replace('-', "_"));
            trial(name, async move || {
                fault.play(kind, server).await;
            })
        })
        .collect();
    let twin = async || {
        fault.play_twin().await;
    };
    trials.push(trial(format!("{}::twin", fault.name), twin));
    trials
}

/// A test; it fails by a panic.
fn trial(name: String, play: impl AsyncFnOnce() + Send + 'static) -> Trial {
    Trial::test(name, || {
        runtime::Builder::new_current_thread().enable_all().build()?.block_on(play());
        Ok(())
    })
}
