//! A TCP port of 127.0.0.1 that belongs to one server of one test until it is dropped.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

/// A port that stays this server's own while the server is down, so that it can come back on it.
///
/// It lies below the range that the kernel gives to outgoing connections, and a UDP socket on the same number keeps
/// other tests, of this process or another, from taking it.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: UdpSocket,
    _hold: OwnedFd,
}

impl Port {
    /// A free one.
    pub fn free() -> Self {
        for _ in 0..1_000 {
            let number = fastrand::u16(10_000..32_000);
            let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else { continue };
            if let Some(hold) = hold(number) {
                return Self { number, _claim: claim, _hold: hold };
            }
        }
        panic!("no free port from 10000 to 32000");
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// A TCP socket on the port, if nobody listens there.
///
/// It never listens itself, not even to try: whatever this process starts at that moment has a copy of each of its
/// sockets until it becomes another program, and the server whose port it is would find it taken. A socket that does
/// not listen is in the way of no server that may reuse addresses, as all do.
fn hold(number: u16) -> Option<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).ok()?;
    set_socket_reuseaddr(&socket, true).ok()?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, number)).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Between its fork and its exec a child holds copies of all that this process has open, listeners too.
    #[test]
    fn a_server_gets_its_port_whatever_is_started_beside_it() {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        Command::new("true").status().unwrap();
                    }
                });
            }
            let taken: Vec<_> = (0..5_000)
                .filter_map(|_| {
                    let port = Port::free();
                    TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).err()
                })
                .collect();
            done.store(true, Ordering::Relaxed);
            assert!(taken.is_empty(), "{} of 5,000, such as {}", taken.len(), taken[0]);
        });
    }

    #[test]
    fn where_somebody_listens_is_not_free() {
        let port = Port::free();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).unwrap();
        assert!(hold(port.number()).is_none());
        drop(listener);
    }
}
