//! A TCP port of 127.0.0.1 that belongs to one server of one test until it is dropped.

use std::net::{TcpListener, UdpSocket};

/// A port that stays this server's own while the server is down, so that it can come back on it.
///
/// It lies below the range that the kernel gives to outgoing connections, and a UDP socket on the same number keeps
/// other tests, of this process or another, from taking it.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// A free one.
    pub fn free() -> Self {
        for _ in 0..1_000 {
            let number = fastrand::u16(10_000..32_000);
            let Ok(claim) = UdpSocket::bind(("127.0.0.1", number)) else { continue };
            if TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _claim: claim };
            }
        }
        panic!("no free port from 10000 to 32000");
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}
