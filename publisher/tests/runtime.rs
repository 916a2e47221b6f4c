//! The library outside of a Tokio runtime, and without a store: nothing panics.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed wish is a failed test")]

mod server;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use server::Server;
use tidings_publisher::{ErrorKind, Event, Id, Publisher};

const LONG: Duration = Duration::from_secs(60);

/// What a future gives that waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn notify_sends_outside_of_a_runtime() {
    let server = Server::start();
    let publisher = Publisher::lazy(server.url()).unwrap();
    for _ in 0..3 {
        publisher.notify(Event::refresh("a").coalesce(false));
    }
    eventually("they are published", || publisher.stats().published == 3);
    // Where there is a runtime, it can be waited for.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(publisher.shutdown(LONG)).unwrap();
}

#[test]
fn what_needs_a_runtime_says_so_and_does_not_panic() {
    let publisher = Publisher::lazy("redis://127.0.0.1:1").unwrap();
    let errors = [
        at_once(publisher.publish(Event::refresh("a"))).unwrap_err(),
        at_once(publisher.publish_all(vec![Event::refresh("a")])).remove(0).unwrap_err(),
        at_once(Publisher::connect("redis://127.0.0.1:1")).unwrap_err(),
        at_once(Publisher::connect("http://127.0.0.1:1")).unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::NoRuntime, false), "{error}");
    }
    at_once(publisher.shutdown(LONG)).expect("nothing waits");
    assert_eq!(at_once(publisher.publish(Event::refresh("a"))).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn one_that_is_disabled_takes_everything_anywhere() {
    let publisher = Publisher::disabled();
    publisher.notify(Event::refresh("orders/3"));
    let receipt = at_once(publisher.publish(Event::refresh("orders/3").also_to("@alice"))).unwrap();
    assert_eq!((receipt.ids["orders/3"], receipt.id("@alice"), receipt.id("b")), (Id::ZERO, Some(Id::ZERO), None));
    let wrong = at_once(publisher.publish(Event::refresh("a b"))).unwrap_err();
    assert_eq!(wrong.invalid().unwrap().field(), "to");
    assert_eq!(publisher.recorded(), []);
    assert_eq!((publisher.stats().published, publisher.stats().failed), (2, 1));
    at_once(publisher.shutdown(LONG)).unwrap();
    assert_eq!(at_once(publisher.publish(Event::refresh("a"))).unwrap_err().kind(), ErrorKind::Closed);
    publisher.notify(Event::refresh("a"));
    assert_eq!(publisher.stats().dropped, 1);
}

#[test]
fn one_that_records_shows_what_a_store_would_have_taken() {
    let publisher = Publisher::recording();
    let event = || Event::refresh("orders/3").event_type("order.updated").version("7").key("order-3-v7");
    let first = at_once(publisher.publish(event())).unwrap();
    let again = at_once(publisher.publish(event().version("8"))).unwrap();
    assert_eq!((first.duplicate, again.duplicate, &again.ids), (false, true, &first.ids));
    publisher.clone().notify(Event::refresh("@alice/orders"));
    publisher.notify(Event::refresh("not an address"));
    let results = at_once(publisher.publish_all(vec![Event::refresh("a b"), Event::refresh("a")]));
    assert!(results[0].is_err() && results[1].as_ref().unwrap().id("a") > first.id("orders/3"));
    let expected = [event(), Event::refresh("@alice/orders"), Event::refresh("a")];
    assert_eq!(publisher.recorded(), expected);
    assert_ne!(publisher.recorded()[0], event().coalesce(false));
}

#[tokio::test]
async fn a_service_starts_while_the_store_is_away_and_publishes_once_it_is_back() {
    let mut server = Server::start();
    server.kill();
    let publisher = Publisher::builder(server.url()).retries(1).lazy().unwrap();
    publisher.notify(Event::refresh("a"));
    assert!(publisher.publish(Event::refresh("b")).await.unwrap_err().is_retryable());
    server.restart();
    let start = Instant::now();
    while publisher.stats().published == 0 {
        assert!(start.elapsed() < LONG, "what waited is sent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let receipt = publisher.publish(Event::refresh("b")).await.unwrap();
    assert!(receipt.id("b").is_some());
}
