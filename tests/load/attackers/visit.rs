//! One connection of an attack.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::SharedTally;

/// How long a connect may take: a full backlog lets one wait for ever.
const CONNECT: Duration = Duration::from_secs(5);
/// Receive buffer of a client that does not read.
const BUFFER: u32 = 4 * 1024;

/// A connection to be made.
pub struct Visit {
    /// The listener.
    pub to: SocketAddr,
    /// Its source address.
    pub source: Ipv4Addr,
    /// The bytes that it sends.
    pub bytes: Vec<u8>,
    /// How long it stays, if it is not ended.
    pub hold: Duration,
    /// Whether it reads.
    pub reads: bool,
    /// The counts that it adds to.
    pub tally: SharedTally,
}

/// Connects, sends, stays and leaves.
pub async fn visit(visit: Visit) {
    visit.tally.begin();
    let mut is_answered = false;
    let ended = timeout(CONNECT, connect(&visit)).await;
    let Ok(Ok(mut socket)) = ended else {
        visit.tally.add("no connection");
        return;
    };
    // A refusal may come before all is sent. Then the write fails, and the refusal can be read.
    let stay = async {
        let _refused = socket.write_all(&visit.bytes).await;
        if visit.reads {
            read_all(&mut socket, &visit.tally, &mut is_answered).await;
        } else {
            sleep(visit.hold).await;
        }
    };
    let stayed = timeout(visit.hold, stay).await.is_err();
    if visit.reads && !is_answered {
        visit.tally.add(if stayed { "no answer" } else { "closed" });
    }
}

async fn connect(visit: &Visit) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((visit.source, 0)))?;
    if !visit.reads {
        socket.set_recv_buffer_size(BUFFER)?;
    }
    socket.connect(visit.to).await
}

/// Reads to the end, and counts the status of the answer.
async fn read_all(socket: &mut TcpStream, tally: &SharedTally, is_answered: &mut bool) {
    let (mut buffer, mut head) = ([0; 4_096], Vec::new());
    while let Ok(count) = socket.read(&mut buffer).await
        && count > 0
    {
        if *is_answered {
            continue;
        }
        head.extend_from_slice(&buffer[..count]);
        let status = head.get("HTTP/1.1 ".len()..).and_then(|rest| rest.get(..3));
        if let Some(status) = status {
            tally.add(&String::from_utf8_lossy(status));
            *is_answered = true;
        }
    }
}
