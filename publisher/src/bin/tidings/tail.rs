//! `tidings tail`: prints what pages get.

use tidings_publisher::Error;
use tidings_publisher::tail::{Follow, Line, Tail};

use crate::args::{StoreArgs, TailArgs};
use crate::exit::Exit;
use crate::out;

/// Follows until interrupted, or until `--count` events have come.
pub async fn run(store: &StoreArgs, args: TailArgs) -> Exit {
    let addresses = args.addresses.iter().map(|address| address.parse()).collect();
    let addresses = match addresses {
        Ok(addresses) => addresses,
        Err(error) => {
            let error: tidings_publisher::Invalid = error;
            return out::fail(Exit::Usage, &error);
        }
    };
    let follow = Follow {
        addresses,
        cursor: args.cursor.clone(),
        namespace: store.namespace.clone(),
        partitions: store.partitions,
        tls: store.tls(),
    };
    let url = store.url();
    tokio::select! {
        end = print(&url, follow, &args) => end,
        _ = tokio::signal::ctrl_c() => Exit::Interrupted,
    }
}

async fn print(url: &str, follow: Follow, args: &TailArgs) -> Exit {
    let mut tail = match Tail::start(url, follow).await {
        Ok(tail) => tail,
        Err(error) => return fail(&error),
    };
    let mut left = args.count;
    while left != Some(0) {
        match tail.next().await {
            Ok(Line::Data { json, cursor }) => {
                if let Err(exit) = out::line(&json) {
                    return exit;
                }
                if args.verbose {
                    out::note(format!("id {}", cursor.as_deref().unwrap_or("-")));
                }
                left = left.map(|left| left - 1);
            }
            Ok(Line::Control { name, data, cursor }) if args.verbose => {
                out::note(format!("{name} id {} {data}", cursor.as_deref().unwrap_or("-")));
            }
            Ok(Line::Control { .. }) => {}
            Ok(Line::Notice(text)) => out::note(text),
            Err(error) => return fail(&error),
        }
    }
    Exit::Ok
}

fn fail(error: &Error) -> Exit {
    out::fail(Exit::from(error), error)
}
