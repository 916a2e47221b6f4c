//! The raw writer: the least that a server can do. One thread, non-blocking sockets, one write per event and
//! connection, and no state for a connection but its socket.

use std::collections::HashMap;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, epoll, poll};
use serde::{Deserialize, Serialize};

use crate::sample::Sample;
use crate::server::{Stream, Way};

const ORDERS: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;
/// Connections that wait to be accepted, as many as of the gateway.
const BACKLOG: i32 = 4_096;
const PATH: &str = "/follow/";

/// What it is to write.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// In one write for each connection; otherwise one for each event.
    pub joined: bool,
    /// Addresses, and the data for each.
    pub events: Vec<(String, String)>,
}

/// How a stream of it is asked for.
pub fn stream() -> Stream {
    Stream {
        path: format!("{PATH}{{addresses}}"),
        address: "{address}".to_owned(),
        join: ",".to_owned(),
        ready: "tidings.ready".to_owned(),
        headers: Vec::new(),
        way: Way::default(),
    }
}

/// Takes a sample as the first line and says where it listens; then writes for each order what it says, and says so.
/// Ends with its input.
pub fn run() -> io::Result<()> {
    let mut orders = io::stdin().lock();
    let mut line = String::new();
    orders.read_line(&mut line)?;
    let mut writer = Writer::new(serde_json::from_str(&line)?)?;
    let address = writer.listener.local_addr()?;
    writeln!(io::stdout(), "{}", serde_json::to_string(&address)?)?;
    epoll::add(&writer.epoll, io::stdin(), epoll::EventData::new_u64(ORDERS), epoll::EventFlags::IN)?;
    let mut events = Vec::with_capacity(1_024);
    loop {
        epoll::wait(&writer.epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            match event.data.u64() {
                LISTENER => writer.accept()?,
                ORDERS => {
                    line.clear();
                    if orders.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                    writer.obey(&serde_json::from_str(&line)?)?;
                    writeln!(io::stdout(), "null")?;
                }
                joining => writer.join(joining)?,
            }
        }
    }
}

struct Writer {
    listener: TcpListener,
    epoll: OwnedFd,
    sample: Sample,
    /// Connections whose requests are not whole yet.
    joining: HashMap<u64, (TcpStream, Vec<u8>)>,
    accepted: u64,
    streams: Vec<TcpStream>,
    /// By address, the streams that follow it.
    followers: HashMap<String, Vec<u32>>,
}

impl Writer {
    fn new(sample: Sample) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        rustix::net::listen(&listener, BACKLOG)?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let (joining, followers) = (HashMap::new(), HashMap::new());
        Ok(Self { listener, epoll, sample, joining, accepted: 0, streams: Vec::new(), followers })
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let at = epoll::EventData::new_u64(self.accepted);
            epoll::add(&self.epoll, &stream, at, epoll::EventFlags::IN)?;
            self.joining.insert(self.accepted, (stream, Vec::new()));
            self.accepted += 1;
        }
    }

    /// Reads a request's head. A connection that is being written to is not read from any more.
    fn join(&mut self, at: u64) -> io::Result<()> {
        let Some((stream, head)) = self.joining.get_mut(&at) else { return Ok(()) };
        let mut buffer = [0; 4_096];
        let count = stream.read(&mut buffer)?;
        head.extend_from_slice(&buffer[..count]);
        let whole = head.ends_with(b"\r\n\r\n");
        if !whole && count > 0 {
            return Ok(());
        }
        epoll::delete(&self.epoll, &*stream)?;
        if let Some((stream, head)) = self.joining.remove(&at).filter(|_| whole) {
            write_all(&stream, self.sample.opening.as_bytes())?;
            for address in followed(&head) {
                self.followers.entry(address).or_default().push(self.streams.len() as u32);
            }
            self.streams.push(stream);
        }
        Ok(())
    }

    fn obey(&self, order: &Order) -> io::Result<()> {
        let frames = order.events.iter().map(|(address, data)| (address, self.sample.frame(address, data)));
        if !order.joined {
            return frames.into_iter().try_for_each(|(address, frame)| self.write(address, &frame));
        }
        let mut joined: Vec<(&String, String)> = Vec::new();
        for (address, frame) in frames {
            match joined.iter_mut().find(|(other, _)| *other == address) {
                Some((_, frames)) => frames.push_str(&frame),
                None => joined.push((address, frame)),
            }
        }
        joined.into_iter().try_for_each(|(address, frames)| self.write(address, &frames))
    }

    fn write(&self, address: &str, bytes: &str) -> io::Result<()> {
        let followers = self.followers.get(address).into_iter().flatten();
        followers.into_iter().try_for_each(|at| write_all(&self.streams[*at as usize], bytes.as_bytes()))
    }
}

/// The addresses in a request's head.
fn followed(head: &[u8]) -> Vec<String> {
    let head = String::from_utf8_lossy(head);
    let path = head.split(' ').nth(1).and_then(|path| path.strip_prefix(PATH)).unwrap_or_default();
    path.split(',').map(str::to_owned).collect()
}

/// One write, unless the socket is full: then this waits, as the clients always read.
fn write_all(mut stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(&stream, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_ours_names_what_it_follows() {
        let follows = ["@u00001".to_owned(), "t/00002".to_owned()];
        let request = stream().request("127.0.0.1:80".parse().unwrap(), &follows, "");
        assert_eq!(followed(request.as_bytes()), follows);
    }
}
