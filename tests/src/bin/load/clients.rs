//! A process of clients: opens its connections, then counts what they get, as often as it is asked.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, ioctl_fionbio, read};
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType, bind, connect, socket_with};
use serde::{Deserialize, Serialize};

use crate::options::Clients;
use crate::tally::Tally;

/// What a process of clients has come to. Sums over its connections, unless it says otherwise.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Count {
    /// Connections that went live.
    pub ready: u32,
    /// Connections that the server ended.
    pub lost: u32,
    /// Events that came.
    pub events: u64,
    /// The fewest of one connection.
    pub least: u32,
    /// The most of one connection.
    pub most: u32,
}

/// Connections that are opened before their streams are waited for: fewer than a listener's backlog.
const WINDOW: u32 = 200;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a browser would ask for.
pub fn request(server: std::net::SocketAddrV4) -> String {
    format!(
        "GET /v1/events?topic=load HTTP/1.1\r\nHost: {server}\r\nAccept: text/event-stream\r\n\
         Cache-Control: no-cache\r\nUser-Agent: load\r\nAccept-Encoding: gzip, deflate, br\r\n\r\n"
    )
}

/// Opens the connections and says so; then, for each line with a number, waits until every connection has that many
/// events, and says what came. Ends with its input.
pub fn run(options: &Clients) -> io::Result<()> {
    let mut streams = Streams::new()?;
    let mut live = true;
    while live && streams.connections.len() < options.connections as usize {
        let left = options.connections - streams.connections.len() as u32;
        for _ in 0..left.min(WINDOW) {
            streams.open(options)?;
        }
        live = streams.read_until(|tally| tally.ready)?;
    }
    streams.say()?;
    for line in io::stdin().lines() {
        let events: u32 = line?.parse().map_err(io::Error::other)?;
        streams.read_until(|tally| tally.events >= events)?;
        streams.say()?;
    }
    Ok(())
}

struct Streams {
    epoll: OwnedFd,
    connections: Vec<(OwnedFd, Tally)>,
    lost: u32,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

impl Streams {
    fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            lost: 0,
            events: Vec::with_capacity(1_024),
            buffer: vec![0; 64 * 1024],
        })
    }

    fn open(&mut self, options: &Clients) -> io::Result<()> {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddrV4::new(options.source, 0))?;
        connect(&socket, &options.server)?;
        let request = request(options.server);
        if rustix::io::write(&socket, request.as_bytes())? != request.len() {
            return Err(io::Error::other("a new socket does not take a request"));
        }
        ioctl_fionbio(&socket, true)?;
        let at = epoll::EventData::new_u64(self.connections.len() as u64);
        epoll::add(&self.epoll, &socket, at, epoll::EventFlags::IN)?;
        self.connections.push((socket, Tally::default()));
        Ok(())
    }

    /// Reads until `enough` holds for every connection. False if one was lost or patience ended before.
    fn read_until(&mut self, enough: impl Fn(&Tally) -> bool) -> io::Result<bool> {
        let begun = Instant::now();
        while !self.connections.iter().all(|(_, tally)| enough(tally)) {
            if self.lost > 0 || begun.elapsed() > PATIENCE {
                return Ok(false);
            }
            self.turn()?;
        }
        Ok(true)
    }

    fn turn(&mut self) -> io::Result<()> {
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&second)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in self.events.drain(..) {
            let (socket, tally) = &mut self.connections[event.data.u64() as usize];
            match read(&*socket, &mut self.buffer[..]) {
                Ok(0) | Err(Errno::CONNRESET) => {
                    epoll::delete(&self.epoll, &*socket)?;
                    self.lost += 1;
                }
                Ok(count) => tally.feed(&self.buffer[..count]),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn say(&self) -> io::Result<()> {
        let events = || self.connections.iter().map(|(_, tally)| tally.events);
        let count = Count {
            ready: self.connections.iter().filter(|(_, tally)| tally.ready).count() as u32,
            lost: self.lost,
            events: events().map(u64::from).sum(),
            least: events().min().unwrap_or_default(),
            most: events().max().unwrap_or_default(),
        };
        writeln!(io::stdout(), "{}", serde_json::to_string(&count)?)
    }
}
