//! A process of clients: opens its connections, counts what they get, and says so as often as it is asked.

mod sessions;
mod stream;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufRead, Write};
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, ioctl_fionbio, read};
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType, bind, connect, socket_with};

use crate::latency;
use crate::mark::now;
use crate::options::Over;
use crate::order::{Count, Order, Sight, Task};
use stream::{Look, State, Stream};

/// Nothing got on for so long: then nothing will. Longer than a server asks clients to wait before they come back.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it rests when it has read nearly all there was. Over loopback a server pays for waking whoever sleeps on the
/// other end of its sockets, which no server pays over a network, and a slower server pays more often. So clients are
/// woken once for many writes and not once for each.
const REST: Duration = Duration::from_millis(2);
/// Sockets with something to read that are taken at once.
const READY: usize = 1_024;

/// Takes a task as the first line of its input, then an order a line, and answers each. Ends with its input.
pub fn run() -> io::Result<()> {
    let mut lines = io::stdin().lock().lines();
    let Some(task) = lines.next().transpose()? else { return Ok(()) };
    let task: Task = serde_json::from_str(&task)?;
    if task.stream.way.over != Over::Plain {
        return sessions::run(task, lines);
    }
    let mut clients = Clients::new(task)?;
    for line in lines {
        match serde_json::from_str(&line?)? {
            Order::Open => clients.open_all()?,
            Order::Drop => clients.close_all(),
            Order::Await(events) => clients.until(|clients| clients.events >= events)?,
            Order::Tell => {
                say(&clients.tell())?;
                continue;
            }
        }
        say(&clients.count())?;
    }
    Ok(())
}

fn say(answer: &impl serde::Serialize) -> io::Result<()> {
    writeln!(io::stdout(), "{}", serde_json::to_string(answer)?)
}

struct Clients {
    task: Task,
    epoll: OwnedFd,
    sockets: Vec<Option<OwnedFd>>,
    streams: Vec<Stream>,
    /// Those to be opened, by when.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Those that are open and not live yet.
    asked: u32,
    live: u32,
    lost: u32,
    events: u64,
    latency: Histogram<u64>,
    ready: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

impl Clients {
    fn new(task: Task) -> io::Result<Self> {
        let count = task.connections as usize;
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            sockets: (0..count).map(|_| None).collect(),
            streams: (0..count).map(|_| Stream::default()).collect(),
            due: BinaryHeap::new(),
            asked: 0,
            live: 0,
            lost: 0,
            events: 0,
            latency: latency::empty(),
            ready: Vec::with_capacity(READY),
            buffer: vec![0; 64 * 1024],
            task,
        })
    }

    fn open_all(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.due =
            (0..self.sockets.len()).filter(|&at| self.sockets[at].is_none()).map(|at| Reverse((now, at))).collect();
        let all = self.task.connections;
        self.until(|clients| clients.live == all)
    }

    fn close_all(&mut self) {
        self.sockets.iter_mut().for_each(|socket| *socket = None);
        self.streams.iter_mut().for_each(|stream| stream.state = State::Closed);
        self.due.clear();
        (self.asked, self.live) = (0, 0);
    }

    /// Goes on until that holds, nothing gets on any more, or a connection is lost that does not come back.
    fn until(&mut self, holds: impl Fn(&Self) -> bool) -> io::Result<()> {
        let (mut moved, mut at) = (Instant::now(), (self.live, self.events));
        while !holds(self) {
            if moved.elapsed() > PATIENCE || (self.lost > 0 && !self.task.returns) {
                return Ok(());
            }
            self.turn()?;
            if at != (self.live, self.events) {
                (moved, at) = (Instant::now(), (self.live, self.events));
            }
        }
        Ok(())
    }

    /// Opens what is due and reads what came.
    fn turn(&mut self) -> io::Result<()> {
        while self.asked < self.task.window
            && let Some(Reverse((due, at))) = self.due.peek().copied()
            && due <= Instant::now()
        {
            self.due.pop();
            self.open(at)?;
        }
        let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.ready), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if self.ready.len() < READY / 4 {
            sleep(REST);
        }
        let mut ready = std::mem::take(&mut self.ready);
        for event in ready.drain(..) {
            self.read(event.data.u64() as usize)?;
        }
        self.ready = ready;
        Ok(())
    }

    fn open(&mut self, at: usize) -> io::Result<()> {
        let Task { server, source, first, plan, .. } = self.task;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddrV4::new(source, 0))?;
        self.asked += 1;
        self.streams[at].asked();
        // A server that is about to start again refuses.
        if connect(&socket, &server).is_err() {
            self.ended(at);
            return Ok(());
        }
        let follows = plan.follows(first + at as u32);
        let request = self.task.stream.request(server, &follows, &self.streams[at].cursor);
        if rustix::io::write(&socket, request.as_bytes())? != request.len() {
            return Err(io::Error::other("a new socket does not take a request"));
        }
        ioctl_fionbio(&socket, true)?;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN)?;
        self.sockets[at] = Some(socket);
        Ok(())
    }

    fn read(&mut self, at: usize) -> io::Result<()> {
        let Some(socket) = &self.sockets[at] else { return Ok(()) };
        let count = match read(socket, &mut self.buffer[..]) {
            Ok(0) | Err(Errno::CONNRESET) => {
                self.ended(at);
                return Ok(());
            }
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let stream = &mut self.streams[at];
        let before = stream.state;
        let look = Look { ready: &self.task.stream.ready, keep: self.task.returns };
        let read_at = now();
        stream.feed(&self.buffer[..count], look, |mark| {
            self.events += 1;
            self.latency.saturating_record(read_at.saturating_sub(mark.at));
        });
        if before != State::Live && stream.state == State::Live {
            self.asked -= 1;
            self.live += 1;
        }
        Ok(())
    }

    fn ended(&mut self, at: usize) {
        self.sockets[at] = None;
        let (before, wait) = self.streams[at].ended(self.task.returns);
        match before {
            State::Live => self.live -= 1,
            _ => self.asked -= 1,
        }
        self.lost += u32::from(matches!(before, State::Live | State::Refused));
        if let Some(wait) = wait {
            self.due.push(Reverse((Instant::now() + wait, at)));
        }
    }

    fn count(&self) -> Count {
        Count { live: self.live, lost: self.lost, events: self.events }
    }

    fn tell(&mut self) -> Sight {
        let seen = self.streams.iter_mut().map(|stream| std::mem::take(&mut stream.seen)).collect();
        let latency = latency::counts(&self.latency);
        self.latency.reset();
        self.events = 0;
        Sight { seen, latency }
    }
}
