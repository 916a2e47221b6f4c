//! A process of clients that come and go: each asks for a stream, waits until it is live, and leaves.

use std::io::{self, BufRead, Write};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, ioctl_fionbio, read};
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType, bind, connect, socket_with};
use serde::{Deserialize, Serialize};

use crate::plan::topic;
use crate::server::Stream;

/// The first line to a process of visitors.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// Whom they visit.
    pub server: SocketAddrV4,
    /// How a stream is asked for.
    pub stream: Stream,
    /// How many are there at a time.
    pub at_once: u32,
    /// How many addresses there are to follow.
    pub addresses: u32,
    /// Seed of what is left to chance, and third byte of the source addresses.
    pub seed: u8,
}

/// What became of the visits of one order.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Visits {
    /// Streams that were live.
    pub live: u32,
    /// Those that were left before they were.
    pub abandoned: u32,
    /// Those that the server refused or ended.
    pub failed: u32,
}

/// One in so many leaves before its stream is live.
const IMPATIENT: u32 = 10;
/// Source addresses: each has ports for 28,000 connections that the kernel has not forgotten.
const SOURCES: u32 = 250;
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes a task, then for each line with a number makes so many visits, and says what became of them.
pub fn run() -> io::Result<()> {
    let mut lines = io::stdin().lock().lines();
    let Some(task) = lines.next().transpose()? else { return Ok(()) };
    let task: Task = serde_json::from_str(&task)?;
    let mut visitors = Visitors::new(task)?;
    for line in lines {
        let visits = visitors.visit(serde_json::from_str(&line?)?)?;
        writeln!(io::stdout(), "{}", serde_json::to_string(&visits)?)?;
    }
    Ok(())
}

struct Visitors {
    task: Task,
    epoll: OwnedFd,
    /// By slot: the socket, and the end of what was read.
    inside: Vec<Option<(OwnedFd, Vec<u8>)>>,
    draw: Rng,
    ready: Vec<epoll::Event>,
}

impl Visitors {
    fn new(task: Task) -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            inside: (0..task.at_once).map(|_| None).collect(),
            draw: Rng::with_seed(u64::from(task.seed)),
            ready: Vec::with_capacity(1_024),
            task,
        })
    }

    fn visit(&mut self, count: u32) -> io::Result<Visits> {
        let (mut visits, mut begun, mut moved) = (Visits::default(), 0, Instant::now());
        while visits.live + visits.abandoned + visits.failed < count {
            for slot in 0..self.inside.len() {
                if begun < count && self.inside[slot].is_none() {
                    begun += 1;
                    self.enter(slot, &mut visits)?;
                }
            }
            if self.turn(&mut visits)? {
                moved = Instant::now();
            } else if moved.elapsed() > PATIENCE {
                visits.failed = count - visits.live - visits.abandoned;
                self.inside.iter_mut().for_each(|inside| *inside = None);
            }
        }
        Ok(visits)
    }

    fn enter(&mut self, slot: usize, visits: &mut Visits) -> io::Result<()> {
        let Task { server, seed, addresses, .. } = self.task;
        let source = Ipv4Addr::new(127, 250, seed, self.draw.u32(1..=SOURCES) as u8);
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Half leave by FIN, half by RST.
        if self.draw.bool() {
            set_socket_linger(&socket, Some(Duration::ZERO))?;
        }
        bind(&socket, &SocketAddrV4::new(source, 0))?;
        connect(&socket, &server)?;
        let follows: Vec<_> = (0..3).map(|_| topic(self.draw.u32(..addresses))).collect();
        let request = self.task.stream.request(server, &follows, "");
        if rustix::io::write(&socket, request.as_bytes())? != request.len() {
            return Err(io::Error::other("a new socket does not take a request"));
        }
        if self.draw.u32(..IMPATIENT) == 0 {
            visits.abandoned += 1;
            return Ok(());
        }
        ioctl_fionbio(&socket, true)?;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(slot as u64), epoll::EventFlags::IN)?;
        self.inside[slot] = Some((socket, Vec::new()));
        Ok(())
    }

    fn turn(&mut self, visits: &mut Visits) -> io::Result<bool> {
        let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        // With nobody inside nothing is waited for: all of them were impatient.
        if self.inside.iter().all(Option::is_none) {
            return Ok(true);
        }
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.ready), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let moved = !self.ready.is_empty();
        let mut buffer = [0; 4_096];
        for event in self.ready.drain(..) {
            let inside = &mut self.inside[event.data.u64() as usize];
            let Some((socket, seen)) = inside else { continue };
            match read(socket, &mut buffer) {
                Ok(0) | Err(Errno::CONNRESET) => {
                    visits.failed += 1;
                    *inside = None;
                }
                Ok(count) => {
                    seen.extend_from_slice(&buffer[..count]);
                    if memchr::memmem::find(seen, self.task.stream.ready.as_bytes()).is_some() {
                        visits.live += 1;
                        *inside = None;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(moved)
    }
}
