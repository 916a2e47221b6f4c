//! The raw writer: the least that a server can do. One thread, non-blocking sockets, one write per event and
//! connection, and no state for a connection but its socket.

use std::collections::HashMap;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use rustix::event::{PollFd, PollFlags, epoll, poll};

use crate::sample::Sample;

const ORDERS: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;
/// Connections that wait to be accepted, as many as of the gateway.
const BACKLOG: i32 = 4_096;

/// Takes a sample as the first line and says where it listens; then, for each line `TIMES COPIES`, writes the sample's
/// event so many times to every connection, so many copies in a write, and says so. Ends with its input.
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
                    writer.obey(&line)?;
                    writeln!(io::stdout(), "null")?;
                }
                joining => writer.join(joining)?,
            }
        }
    }
}

struct Writer {
    listener: TcpListener,
    epoll: std::os::fd::OwnedFd,
    sample: Sample,
    /// Connections whose requests are not whole yet.
    joining: HashMap<u64, (TcpStream, Vec<u8>)>,
    accepted: u64,
    streams: Vec<TcpStream>,
}

impl Writer {
    fn new(sample: Sample) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        rustix::net::listen(&listener, BACKLOG)?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        Ok(Self { listener, epoll, sample, joining: HashMap::new(), accepted: 0, streams: Vec::new() })
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
        if whole || count == 0 {
            epoll::delete(&self.epoll, &*stream)?;
            if let Some((stream, _)) = self.joining.remove(&at).filter(|_| whole) {
                write_all(&stream, self.sample.opening.as_bytes())?;
                self.streams.push(stream);
            }
        }
        Ok(())
    }

    fn obey(&self, line: &str) -> io::Result<()> {
        let numbers: Result<Vec<usize>, _> = line.split_whitespace().map(str::parse).collect();
        let [times, copies] = numbers.map_err(io::Error::other)?[..] else {
            return Err(io::Error::other(format!("not TIMES COPIES: {line:?}")));
        };
        let bytes = self.sample.event.repeat(copies);
        for _ in 0..times {
            for stream in &self.streams {
                write_all(stream, bytes.as_bytes())?;
            }
        }
        Ok(())
    }
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
