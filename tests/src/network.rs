//! A network of its own beside that of the machine, as if there were another host: one that can vanish.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Another host, on a cable to this one. It is gone when this is dropped.
#[derive(Debug)]
pub struct Host {
    name: String,
    subnet: u8,
}

impl Host {
    /// Sets one up. That takes root and `ip`; the error says what was missing.
    pub fn new() -> io::Result<Self> {
        // Of 254 networks of which nobody else on the machine is likely to have any.
        let (name, subnet) = (format!("tidings-{:06x}", fastrand::u32(..1 << 24)), fastrand::u8(1..255));
        let (near, far) = (format!("td{}", &name[8..]), "far");
        ip(&format!("netns add {name}"))?;
        let host = Self { name, subnet };
        let name = &host.name;
        ip(&format!("link add {near} type veth peer name {far} netns {name}"))?;
        ip(&format!("addr add {}/24 dev {near}", host.near()))?;
        ip(&format!("link set {near} up"))?;
        ip(&format!("-n {name} addr add {}/24 dev {far}", host.far()))?;
        ip(&format!("-n {name} link set {far} up"))?;
        Ok(host)
    }

    /// Where it reaches this machine.
    pub fn near(&self) -> Ipv4Addr {
        [10, 213, self.subnet, 1].into()
    }

    fn far(&self) -> Ipv4Addr {
        [10, 213, self.subnet, 2].into()
    }

    /// A connection from there.
    pub fn connect(&self, to: SocketAddr) -> io::Result<tokio::net::TcpStream> {
        let space = File::open(format!("/run/netns/{}", self.name))?;
        let connect = move || {
            // Only of this thread, which ends; the socket stays where it was made.
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
            TcpStream::connect(to)
        };
        let thread = std::thread::spawn(connect);
        let socket = thread.join().map_err(|_| io::Error::other("connecting panicked"))??;
        socket.set_nonblocking(true)?;
        tokio::net::TcpStream::from_std(socket)
    }

    /// From now on it neither answers nor says anything, not even that it is gone.
    pub fn vanish(&self) {
        ip(&format!("-n {} addr del {}/24 dev far", self.name, self.far())).expect("it was there");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The cable goes with it.
        let _ = ip(&format!("netns del {}", self.name));
    }
}

/// How many connections to this listener, on this machine, the kernel still takes for alive.
pub fn connected(listener: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table of sockets");
    let SocketAddr::V4(listener) = listener else { return 0 };
    // Addresses are in the order of the machine's bytes, and 01 means that it is established.
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(listener.ip().octets()), listener.port());
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(1) == Some(&local.as_str()) && row.get(3) == Some(&"01")).count()
}

fn ip(args: &str) -> io::Result<()> {
    let output = Command::new("ip").args(args.split(' ')).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("ip {args}: {}", String::from_utf8_lossy(&output.stderr).trim()))),
    }
}
