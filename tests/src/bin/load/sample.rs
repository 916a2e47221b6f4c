//! What a gateway writes to one connection, byte for byte: the raw writer writes the very same.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clients::request;
use crate::options::Options;
use crate::shape::Shape;
use crate::tally::MARK;
use crate::target::Target;

/// What a gateway writes to one connection.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sample {
    /// The response head and all up to `tidings.ready`.
    pub opening: String,
    /// One event, as a chunk of the body.
    pub event: String,
}

impl Sample {
    /// Takes one from a gateway that is started for it.
    pub async fn take(options: &Options) -> Self {
        let mut gateway = Target::gateway(options, 1).await;
        let mut stream = Stream::open(gateway.address());
        let opening = stream.read_until("tidings.ready", "\n\n\r\n");
        gateway.send(Shape::Single).await;
        let event = stream.read_until(MARK, "\n\n\r\n");
        // A heartbeat may have come first, as a chunk of its own.
        let body = event.rfind("\r\nid: ").expect("an event begins with its id");
        let chunk = event[..body].rfind('\n').map_or(0, |end| end + 1);
        Self { opening, event: event[chunk..].to_owned() }
    }
}

struct Stream {
    socket: TcpStream,
    read: String,
}

impl Stream {
    fn open(server: SocketAddrV4) -> Self {
        let mut socket = TcpStream::connect(server).expect("the gateway accepts");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        socket.write_all(request(server).as_bytes()).expect("the gateway reads");
        Self { socket, read: String::new() }
    }

    /// What comes up to the first `end` behind `what`.
    fn read_until(&mut self, what: &str, end: &str) -> String {
        let mut buffer = [0; 4_096];
        loop {
            let at = self.read.find(what).and_then(|at| Some(at + self.read[at..].find(end)? + end.len()));
            if let Some(at) = at {
                return self.read.drain(..at).collect();
            }
            let count = self.socket.read(&mut buffer).unwrap_or_else(|e| panic!("no {what}: {e}"));
            assert_ne!(count, 0, "the stream ended without {what}: {}", self.read);
            self.read.push_str(std::str::from_utf8(&buffer[..count]).expect("ASCII, as all of it is ours"));
        }
    }
}
