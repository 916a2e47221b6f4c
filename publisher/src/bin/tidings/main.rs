//! The `tidings` command: publishes events and follows addresses from a terminal.

mod args;
mod exit;
mod lines;
mod many;
mod out;
mod publish;
mod tail;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use exit::Exit;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return out::fail(Exit::Internal, &error).into(),
    };
    let exit = runtime.block_on(run(args));
    // A read of a terminal that nobody answers any more must not hold up the end.
    runtime.shutdown_background();
    exit.into()
}

async fn run(args: Args) -> Exit {
    match args.command {
        Command::Publish(publish) => publish::run(&args.store, publish).await,
        Command::Tail(tail) => tail::run(&args.store, tail).await,
    }
}
