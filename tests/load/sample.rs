//! What a gateway writes to one connection, byte for byte: the raw writer writes the very same.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::options::Options;
use crate::plan::topic;
use crate::server::{GatewayKind, Server};

/// What a gateway writes to one connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// The response head and all up to `tidings.ready`.
    pub opening: String,
    /// One event as it is on the wire.
    event: String,
    /// What in it are the address and the data.
    address: String,
    data: String,
}

impl Sample {
    /// Takes one from a gateway that is started for it.
    pub async fn take(options: &Options) -> Self {
        let mut gateway = Server::gateway(options, GatewayKind::plain(1)).await;
        let address = topic(0);
        let request = gateway.spec.stream.request(gateway.spec.address, std::slice::from_ref(&address), "");
        let mut reading = Reading::open(TcpStream::connect(gateway.spec.address).expect("it accepts"), &request);
        let head = reading.until("HTTP/1.1 200", "\r\n\r\n");
        let end = if head.to_ascii_lowercase().contains("chunked") { "\n\n\r\n" } else { "\n\n" };
        let opening = head + &reading.until("tidings.ready", end);
        gateway.send(vec![(address.clone(), 0)], false).await.expect("it publishes");
        let event = reading.until("~\",\"filling\"", end);
        // A heartbeat may have come first, as a chunk of its own.
        let body = event.rfind("id: ").expect("an event begins with its id");
        let before = event[..body].strip_suffix("\r\n").map(|before| before.rfind('\n').map_or(0, |end| end + 1));
        let event = event[before.unwrap_or(body)..].to_owned();
        let data = event.rfind("{\"n\":").map(|at| &event[at..]).expect("an event holds its data");
        let data = data[..=data.find('}').expect("data that ends")].to_owned();
        Self { opening, event, address, data }
    }

    /// An event on the wire with another address and other data of the same size.
    pub fn frame(&self, address: &str, data: &str) -> String {
        self.event.replace(&self.data, data).replace(&self.address, address)
    }

    /// Bytes of an event on the wire.
    pub fn bytes(&self) -> usize {
        self.event.len()
    }
}

struct Reading {
    socket: TcpStream,
    read: String,
}

impl Reading {
    fn open(mut socket: TcpStream, request: &str) -> Self {
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        socket.write_all(request.as_bytes()).expect("the gateway reads");
        Self { socket, read: String::new() }
    }

    /// What comes up to the first `end` behind `what`.
    fn until(&mut self, what: &str, end: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_differs_in_address_and_data_alone() {
        let sample = Sample {
            opening: String::new(),
            event: "1b\r\nid: 5\ndata: {\"topic\":\"t/00000\",\"data\":{\"n\":0}}\n\n\r\n".to_owned(),
            address: "t/00000".to_owned(),
            data: "{\"n\":0}".to_owned(),
        };
        let frame = sample.frame("@u00042", "{\"n\":7}");
        assert_eq!(frame, "1b\r\nid: 5\ndata: {\"topic\":\"@u00042\",\"data\":{\"n\":7}}\n\n\r\n");
        assert_eq!(frame.len(), sample.bytes());
    }
}
