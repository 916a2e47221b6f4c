//! Each fault of the catalogue is a named test on each topology and server, `family::fault::topology::server`, and one
//! more is its twin. What came of them is left in `target/test-logs/faults`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Trial};
use tidings_tests::Server;
use tidings_tests::faults::table::{Book, Row};
use tidings_tests::faults::{Fault, catalogue};
use tokio::runtime;

/// Shared by all tests, and taken away at the end.
type Shared = Arc<Mutex<Option<Book>>>;

fn main() {
    let arguments = Arguments::from_args();
    let book = (!arguments.list).then(|| Book::open(&logs()).expect("a folder for the logs"));
    let book: Shared = Arc::new(Mutex::new(book));
    let trials = catalogue::all().flat_map(|fault| trials(fault, &book)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(book) = book.lock().unwrap_or_else(PoisonError::into_inner).take() {
        println!("the table is in {}", book.close().expect("a table").display());
    }
    conclusion.exit();
}

/// All tests of one fault.
fn trials(fault: &'static Fault, book: &Shared) -> Vec<Trial> {
    let places = fault.kinds.iter().flat_map(|kind| Server::ALL.map(|server| (*kind, server)));
    let mut trials: Vec<Trial> = places
        .map(|(kind, server)| {
            let name = format!("{}::{}::{}", fault.name, kind.name(), server.name().replace('-', "_"));
            let book = book.clone();
            trial(name, async move || {
                let outcome = fault.play(kind, server).await;
                if let Some(book) = &mut *book.lock().unwrap_or_else(PoisonError::into_inner) {
                    book.add(Row::of(fault, kind, server, &outcome)).expect("a line");
                }
            })
        })
        .collect();
    let twin = async || {
        fault.play_twin().await;
    };
    trials.push(trial(format!("{}::twin", fault.name), twin));
    trials
}

/// A test; it fails by a panic. Proxies and clients have threads of their own: judging must not hold them up.
fn trial(name: String, play: impl AsyncFnOnce() + Send + 'static) -> Trial {
    Trial::test(name, || {
        runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(play());
        Ok(())
    })
}

/// `target/test-logs/faults`: tests lie in `target/<profile>/deps`.
fn logs() -> PathBuf {
    let program = std::env::current_exe().expect("a path");
    program.ancestors().nth(3).expect("the target folder").join("test-logs/faults")
}
