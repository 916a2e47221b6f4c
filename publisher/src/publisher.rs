//! The handle of a publisher.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidings_shared::Event;

use crate::local::LocalSink;
use crate::notify::Notifier;
use crate::parcel::Parcel;
use crate::sender::{Sender, may_succeed_later};
use crate::{Builder, Error, ErrorKind, Receipt, Stats};

/// Publishes events. Cheap to clone; all clones share one connection, one queue and their counts.
///
/// When the last clone is dropped, a task goes on to send what [`Publisher::notify`] had taken. It
/// runs in the Tokio runtime in which the publisher was made, or else in that of the first
/// `notify`, or else in a thread of its own, and can send only while that lives: call
/// [`Publisher::shutdown`] before a program ends. What is lost otherwise is logged as a warning.
#[derive(Clone)]
pub struct Publisher {
    inner: Arc<Inner>,
}

enum Inner {
    /// Sends events.
    Store(Notifier),
    /// Sends none.
    Local(LocalSink),
}

impl Publisher {
    /// A publisher that connects with its first event, and again whenever the connection is lost,
    /// with the defaults of [`Publisher::builder`]. So a service starts while the store is away.
    /// Fails only for a URL that is not valid. The URL is one of
    ///
    /// - `redis://[[user]:password@]host[:port][/database]`: one server
    /// - `redis+sentinel://[[user]:password@]host[:port],…/primary[/database]`: the primary that these sentinels tell;
    ///   their own login as `?sentinel_user=…&sentinel_password=…`
    /// - `redis+cluster://[[user]:password@]host[:port],…`: the cluster of which these are some nodes
    /// - `rediss…` in place of `redis`: the same over TLS
    /// - `http://host[:port]`: a gateway's admin listener
    pub fn lazy(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).lazy()
    }

    /// Connects to a store at one of the URLs of [`Publisher::lazy`], for programs that must not
    /// start without it: fails while Redis is away.
    pub async fn connect(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }

    /// A publisher with other settings.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url)
    }

    /// A publisher that takes every event and sends none, for services that run without Tidings.
    /// The ids of its receipts are zero.
    pub fn disabled() -> Self {
        Self { inner: Arc::new(Inner::Local(LocalSink::disabled())) }
    }

    /// A publisher for tests, which keeps every valid event for [`Publisher::recorded`] and sends
    /// none. Its receipts are those of a store that is always there: ids that rise, and a duplicate
    /// under a key that is known.
    ///
    /// ```
    /// use tidings_publisher::{Event, Publisher};
    ///
    /// let publisher = Publisher::recording();
    /// publisher.notify(Event::refresh("orders/42").version("7"));
    /// assert_eq!(publisher.recorded(), [Event::refresh("orders/42").version("7")]);
    /// ```
    pub fn recording() -> Self {
        Self { inner: Arc::new(Inner::Local(LocalSink::recording())) }
    }

    pub(crate) fn new(sender: Sender, notify_bytes: usize) -> Self {
        Self { inner: Arc::new(Inner::Store(Notifier::new(Arc::new(sender), notify_bytes))) }
    }

    /// Opens the connection, with the retries of a publish.
    pub(crate) async fn reach(&self) -> Result<(), Error> {
        match &*self.inner {
            Inner::Store(notifier) => notifier.sender().reach().await,
            Inner::Local(_) => Ok(()),
        }
    }

    /// The events that a [`Publisher::recording`] has taken, in order, but no duplicates under a
    /// key. Of other publishers: none.
    pub fn recorded(&self) -> Vec<Event> {
        match &*self.inner {
            Inner::Store(_) => Vec::new(),
            Inner::Local(sink) => sink.recorded(),
        }
    }

    /// Publishes an event and waits until the store has it: one round trip, and more only to try again.
    /// Outside of a Tokio runtime it fails with [`ErrorKind::NoRuntime`].
    ///
    /// On `Ok` the event is in the history of each of its addresses and was sent to every gateway. On an error that is
    /// [retryable](Error::is_retryable) it may have been published all the same, or, if it has addresses in several
    /// partitions, in some of them; only a retry with the same [`Event::key`] tells, and completes it without doubling.
    /// Within one call that is taken care of. Events of concurrent calls share pipelines and have no order.
    pub async fn publish(&self, event: Event) -> Result<Receipt, Error> {
        let sender = match &*self.inner {
            Inner::Store(notifier) => notifier.open_sender()?,
            Inner::Local(sink) => return sink.publish(event),
        };
        let parcel = sender.parcel(event)?;
        let mut results = sender.send(std::slice::from_ref(&parcel)).await;
        let result = results.pop().unwrap_or_else(|| Err(Error::told(ErrorKind::Protocol, "no answer for the event")));
        sender.count_failed(usize::from(result.is_err()));
        result
    }

    /// Publishes many events, pipelined, and tells the result of each, in their order. An event that fails does not
    /// keep the others back.
    ///
    /// Events to the same address keep their order, over retries too: a window of events is settled before the next is
    /// sent. The one exception is a store that refuses some events of a pipeline for a passing reason and takes later
    /// ones: those that are tried again come after them. If a whole window fails because the store stays away, the rest
    /// is not tried and gets the same error.
    pub async fn publish_all(&self, events: Vec<Event>) -> Vec<Result<Receipt, Error>> {
        let notifier = match &*self.inner {
            Inner::Store(notifier) => notifier,
            Inner::Local(sink) => return events.into_iter().map(|event| sink.publish(event)).collect(),
        };
        let sender = notifier.sender();
        let mut results = Vec::with_capacity(events.len());
        let mut parcels = Vec::with_capacity(events.len());
        for event in events {
            // A place is kept for every event; that of a valid one is filled when its window comes back.
            match notifier.open_sender().and_then(|sender| sender.parcel(event)) {
                Ok(parcel) => {
                    parcels.push((results.len(), parcel));
                    results.push(Err(Error::told(ErrorKind::Unavailable, "not tried")));
                }
                Err(error) => results.push(Err(error)),
            }
        }
        let (places, parcels): (Vec<usize>, Vec<Parcel>) = parcels.into_iter().unzip();
        let mut done = 0;
        while done < parcels.len() {
            let count = sender.window(&parcels[done..]);
            let answers = sender.send(&parcels[done..done + count]).await;
            let away = answers.iter().all(may_succeed_later).then(|| answers.last().cloned()).flatten();
            for (at, answer) in places[done..].iter().zip(answers) {
                results[*at] = answer;
            }
            done += count;
            if let Some(away) = away {
                places[done..].iter().for_each(|at| results[*at] = away.clone());
                break;
            }
        }
        sender.count_failed(places.iter().filter(|at| results[**at].is_err()).count());
        results
    }

    /// Publishes an event some time soon: never waits, never fails the caller, also outside of a
    /// Tokio runtime.
    ///
    /// The event waits in a queue that is bounded in bytes and is sent in the background, and again
    /// until the store takes it. Meanwhile a newer event of the same addresses, type, name and
    /// sender takes its place if it [may](Event::coalesce).
    ///
    /// Events of one partition keep their order; a partition that is away holds back no other. Over
    /// Redis, an event with addresses in several partitions is split into one part for each, and
    /// each part waits only for its own partition. Over HTTP, where only the gateway knows the
    /// partitions, an event that fails holds back the later events that share an address with it,
    /// and no others; so services whose events name addresses of several partitions of a cluster
    /// publish to Redis itself. [`Stats::backlogs`] shows what waits where. The one exception to
    /// the order is a store that refuses some events of a pipeline for a passing reason and takes
    /// later ones: those that are tried again come after them.
    ///
    /// When the queue is full, the partition with the largest backlog makes room: its oldest event
    /// that may be replaced is dropped, or else its oldest; but no event that may not be replaced
    /// is dropped for one of the same partition, then this one is dropped. Drops, refusals and
    /// events that are not valid are counted in [`Publisher::stats`] and logged, at most one line
    /// for each reason in ten seconds.
    ///
    /// After an outage longer than [`Builder::retry_age`], events that were on their way when it began may be published
    /// twice: a refresh told twice costs a fetch, one lost leaves a page stale.
    pub fn notify(&self, event: Event) {
        match &*self.inner {
            Inner::Store(notifier) => notifier.push(event),
            Inner::Local(sink) => sink.notify(event),
        }
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        match &*self.inner {
            Inner::Store(notifier) => notifier.stats(),
            Inner::Local(sink) => sink.stats(),
        }
    }

    /// Sends what `notify` has taken and closes the publisher, for all its clones: later events get
    /// [`ErrorKind::Closed`], or count as dropped if they come by `notify`. If not all is sent when `deadline` has
    /// passed, the rest is dropped, and the error tells how many events that were.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), Error> {
        match &*self.inner {
            Inner::Store(notifier) => notifier.shutdown(deadline).await,
            Inner::Local(sink) => {
                sink.close();
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
