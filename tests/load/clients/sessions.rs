//! Clients whose streams come over TLS or HTTP/2: a task for each stream, all on one thread.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustls::pki_types::CertificateDer;
use tidings_tests::http::{Part, Response, Session, Transport, trust};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

use super::stream::{Look, State, Stream};
use super::{PATIENCE, say};
use crate::latency;
use crate::mark::now;
use crate::options::Over;
use crate::order::{Count, Order, Sight, Task};

/// Obeys as the clients over plain HTTP/1.1 do.
pub fn run(task: Task, lines: impl Iterator<Item = io::Result<String>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (local, sessions) = (LocalSet::new(), Rc::new(Sessions::new(task)));
    for line in lines {
        match serde_json::from_str(&line?)? {
            Order::Open => local.block_on(&runtime, sessions.open()),
            Order::Drop => local.block_on(&runtime, sessions.close()),
            Order::Await(events) => local.block_on(&runtime, sessions.until(|count| count.events >= events)),
            Order::Tell => {
                say(&sessions.tally.borrow_mut().tell())?;
                continue;
            }
        }
        say(&sessions.tally.borrow().count)?;
    }
    Ok(())
}

struct Sessions {
    task: Task,
    transport: Transport,
    /// The connections of HTTP/2, each for so many streams.
    shared: Vec<Mutex<Option<Session>>>,
    /// Places for streams that were asked for and are not live yet.
    window: Semaphore,
    tally: RefCell<Tally>,
    /// The tally changed.
    moved: Notify,
    tasks: RefCell<JoinSet<()>>,
}

/// What came of all.
struct Tally {
    streams: Vec<Stream>,
    count: Count,
    latency: Histogram<u64>,
}

impl Sessions {
    fn new(task: Task) -> Self {
        let way = &task.stream.way;
        let certificate = CertificateDer::from(way.certificate.clone());
        let transport = match way.over {
            Over::Plain => Transport::Lean,
            Over::H2c => Transport::Http2,
            Over::Tls => trust(&certificate, &["http/1.1"]),
            Over::H2 => trust(&certificate, &["h2"]),
        };
        let streams = (0..task.connections).map(|_| Stream::default()).collect();
        Self {
            transport,
            shared: (0..task.connections.div_ceil(way.streams)).map(|_| Mutex::default()).collect(),
            window: Semaphore::new(task.window as usize),
            tally: RefCell::new(Tally { streams, count: Count::default(), latency: latency::empty() }),
            moved: Notify::new(),
            tasks: RefCell::default(),
            task,
        }
    }

    /// Opens what is not open, and waits until all are live.
    async fn open(self: &Rc<Self>) {
        for at in 0..self.task.connections as usize {
            if self.tally.borrow().streams[at].state == State::Closed {
                self.tasks.borrow_mut().spawn_local(self.clone().keep(at));
            }
        }
        self.until(|count| count.live == self.task.connections).await;
    }

    async fn close(&self) {
        let mut tasks = self.tasks.take();
        tasks.shutdown().await;
        for shared in &self.shared {
            *shared.lock().await = None;
        }
        let mut tally = self.tally.borrow_mut();
        tally.streams.iter_mut().for_each(|stream| stream.state = State::Closed);
        tally.count.live = 0;
    }

    /// Waits until that holds, nothing gets on any more, or a stream is lost that does not come back.
    async fn until(&self, holds: impl Fn(&Count) -> bool) {
        loop {
            let count = self.tally.borrow().count;
            let lost = count.lost > 0 && !self.task.returns;
            if holds(&count) || lost || timeout(PATIENCE, self.moved.notified()).await.is_err() {
                return;
            }
        }
    }

    /// Follows one stream for as long as it is to be there.
    async fn keep(self: Rc<Self>, at: usize) {
        loop {
            // However it ended, what counts is how far it had come.
            let _ended = self.follow(at).await;
            let again = self.tally.borrow_mut().ended(at, self.task.returns);
            self.moved.notify_one();
            match again {
                Some(wait) => sleep(wait).await,
                None => return,
            }
        }
    }

    /// Asks for a stream, and reads it to its end.
    async fn follow(&self, at: usize) -> io::Result<()> {
        let mut place = Some(self.window.acquire().await.map_err(io::Error::other)?);
        self.tally.borrow_mut().streams[at].asked();
        let Response { status, mut body, .. } = self.ask(at).await?;
        let look = Look { ready: &self.task.stream.ready, keep: self.task.returns };
        self.tally.borrow_mut().feed(at, |stream, _| stream.answered(status, look));
        loop {
            if self.tally.borrow().streams[at].state == State::Live {
                drop(place.take());
            }
            self.moved.notify_one();
            let Part::Bytes(bytes) = body.next().await? else { return Ok(()) };
            let (read_at, mut events) = (now(), 0);
            self.tally.borrow_mut().feed(at, |stream, latency| {
                stream.feed(&bytes, look, |mark| {
                    events += 1;
                    latency.saturating_record(read_at.saturating_sub(mark.at));
                });
            });
            self.tally.borrow_mut().count.events += events;
        }
    }

    async fn ask(&self, at: usize) -> io::Result<Response> {
        let Task { stream, plan, first, .. } = &self.task;
        let (target, cursor) =
            (stream.target(&plan.follows(first + at as u32)), self.tally.borrow().streams[at].cursor.clone());
        let headers = stream.headers(&cursor);
        if !stream.way.over.is_shared() {
            return self.transport.over(self.connect().await?, None, &target, &headers).await;
        }
        self.session(at / stream.way.streams as usize).await?.get(&target, &headers).await
    }

    /// The connection that some streams share, opened by the first of them.
    async fn session(&self, at: usize) -> io::Result<Session> {
        let mut shared = self.shared[at].lock().await;
        if let Some(session) = shared.as_ref().filter(|session| !session.is_closed()) {
            return Ok(session.clone());
        }
        let session = self.transport.session(self.connect().await?).await?;
        *shared = Some(session.clone());
        Ok(session)
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(self.task.source), 0))?;
        let socket = socket.connect(SocketAddr::V4(self.task.server)).await?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }
}

impl Tally {
    /// Changes a stream, and counts it when that makes it live.
    fn feed(&mut self, at: usize, change: impl FnOnce(&mut Stream, &mut Histogram<u64>)) {
        let stream = &mut self.streams[at];
        let before = stream.state;
        change(stream, &mut self.latency);
        self.count.live += u32::from(before != State::Live && stream.state == State::Live);
    }

    /// A stream has ended; after which time it comes back, if it does.
    fn ended(&mut self, at: usize, returns: bool) -> Option<Duration> {
        let (before, wait) = self.streams[at].ended(returns);
        self.count.live -= u32::from(before == State::Live);
        self.count.lost += u32::from(matches!(before, State::Live | State::Refused));
        wait
    }

    fn tell(&mut self) -> Sight {
        let seen = self.streams.iter_mut().map(|stream| std::mem::take(&mut stream.seen)).collect();
        let latency = latency::counts(&self.latency);
        self.latency.reset();
        self.count.events = 0;
        Sight { seen, latency }
    }
}
