//! A TCP link that a test can cut, freeze, slow down and refuse.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::port::Port;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From those who connected to the server behind.
    Up,
    /// From the server behind.
    Down,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// With a reset.
    Reset,
    /// With an orderly end.
    Fin,
}

/// What one way of all connections is like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Lane {
    frozen: bool,
    /// How often all connections that were open went dead.
    deaths: u32,
    delay: Duration,
    bytes_per_second: Option<u32>,
    cut_after: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Settings {
    up: Lane,
    down: Lane,
    refuse: bool,
    cuts: u32,
    fin: bool,
}

impl Settings {
    fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

/// A running proxy. All changes hold at once for the connections that are open and for those to come.
#[derive(Debug)]
pub struct Proxy {
    port: Arc<Port>,
    settings: watch::Sender<Settings>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts one in front of `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let port = Arc::new(Port::free());
        let (settings, told) = watch::channel(Settings::default());
        let listener = TcpListener::bind(("127.0.0.1", port.number())).await.expect("its port is free");
        let task = tokio::spawn(accept(listener, port.clone(), target, told));
        Self { port, settings, task }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number()).into()
    }

    /// Passes nothing more that way and keeps the connections: a black hole.
    pub fn freeze(&self, way: Way) {
        self.settings.send_modify(|settings| settings.lane(way).frozen = true);
    }

    /// Ends a freeze; what waited goes on.
    pub fn thaw(&self) {
        self.settings.send_modify(|settings| {
            settings.up.frozen = false;
            settings.down.frozen = false;
        });
    }

    /// All connections that are open now are dead that way for good: what is sent vanishes, and neither end is told. New
    /// ones are well. So it is when a firewall forgets them, or an address moves to another machine.
    pub fn deaden(&self, way: Way) {
        self.settings.send_modify(|settings| settings.lane(way).deaths += 1);
    }

    /// Lets all bytes of that way arrive later.
    pub fn delay(&self, way: Way, delay: Duration) {
        self.settings.send_modify(|settings| settings.lane(way).delay = delay);
    }

    /// Bounds the rate of that way, for each connection; `None` for none.
    pub fn rate(&self, way: Way, bytes_per_second: Option<u32>) {
        self.settings.send_modify(|settings| settings.lane(way).bytes_per_second = bytes_per_second);
    }

    /// Resets each connection once so many bytes have passed that way; `None` ends that.
    pub fn cut_after(&self, way: Way, bytes: Option<u64>) {
        self.settings.send_modify(|settings| settings.lane(way).cut_after = bytes);
    }

    /// Ends all connections now. New ones are taken.
    pub fn cut(&self, how: Cut) {
        self.settings.send_modify(|settings| {
            settings.cuts += 1;
            settings.fin = how == Cut::Fin;
        });
    }

    /// Takes no new connections: the port is closed.
    pub fn refuse(&self) {
        self.settings.send_modify(|settings| settings.refuse = true);
    }

    /// Takes new connections again.
    pub fn accept(&self) {
        self.settings.send_modify(|settings| settings.refuse = false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, port: Arc<Port>, target: SocketAddr, mut told: watch::Receiver<Settings>) {
    let mut links = JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let refuse = told.borrow_and_update().refuse;
        if refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Some(listen_again(&port).await);
        }
        let arrival = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            arrived = arrival => if let Ok((near, _)) = arrived {
                links.spawn(link(near, target, told.clone()));
            },
            changed = told.changed() => if changed.is_err() { return },
            Some(_) = links.join_next() => {}
        }
    }
}

/// Whatever this process was starting when it stopped to listen has a copy of that listener, for a moment.
async fn listen_again(port: &Port) -> TcpListener {
    loop {
        match TcpListener::bind(("127.0.0.1", port.number())).await {
            Ok(listener) => return listener,
            Err(_taken) => sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn link(mut near: TcpStream, target: SocketAddr, mut told: watch::Receiver<Settings>) {
    let begun = *told.borrow();
    let Ok(mut far) = connect(target).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let cuts = begun.cuts;
    let (mut near_in, mut near_out) = near.split();
    let (mut far_in, mut far_out) = far.split();
    let (up, down) = (told.clone(), told.clone());
    let pumps = async {
        tokio::try_join!(
            pump(&mut near_in, &mut far_out, Way::Up, begun, up),
            pump(&mut far_in, &mut near_out, Way::Down, begun, down)
        )
    };
    let reset = tokio::select! {
        ended = pumps => ended.is_err(),
        cut = told.wait_for(|settings| settings.cuts > cuts) => cut.is_ok_and(|settings| !settings.fin),
    };
    if reset {
        for stream in [&near, &far] {
            let _ = stream.set_zero_linger();
        }
    }
}

/// Takes little in advance, so that the server behind feels it when a lane is frozen or slow.
async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(64 * 1024)?;
    socket.connect(target).await
}

/// The link ends now, with a reset: the lane says so, or one end did.
struct Reset;

async fn pump(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    way: Way,
    mut begun: Settings,
    mut told: watch::Receiver<Settings>,
) -> Result<(), Reset> {
    let deaths = begun.lane(way).deaths;
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0_u64;
    loop {
        let length = from.read(&mut buffer).await.map_err(|_| Reset)?;
        let lane = *told.borrow().clone().lane(way);
        let due = Instant::now() + lane.delay;
        if lane.deaths > deaths {
            match length {
                0 => return std::future::pending().await,
                _ => continue,
            }
        }
        if length == 0 {
            let _ = to.shutdown().await;
            return Ok(());
        }
        sleep_until(due).await;
        match pass(&buffer[..length], to, way, &mut told, &mut passed).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(Reset),
        }
    }
}

/// Passes bytes on as the lane allows; `false` if the lane says to cut now.
async fn pass(
    mut bytes: &[u8],
    to: &mut WriteHalf<'_>,
    way: Way,
    told: &mut watch::Receiver<Settings>,
    passed: &mut u64,
) -> io::Result<bool> {
    while !bytes.is_empty() {
        let lane = *told
            .wait_for(|settings| !settings.clone().lane(way).frozen)
            .await
            .map_err(io::Error::other)?
            .clone()
            .lane(way);
        let left = lane.cut_after.map_or(u64::MAX, |most| most.saturating_sub(*passed));
        // A twentieth of a second's worth at a time keeps a slow lane even.
        let burst = lane.bytes_per_second.map_or(usize::MAX, |rate| (rate / 20).max(1) as usize);
        let length = bytes.len().min(burst).min(usize::try_from(left).unwrap_or(usize::MAX));
        to.write_all(&bytes[..length]).await?;
        *passed += length as u64;
        bytes = &bytes[length..];
        if lane.cut_after.is_some_and(|most| *passed >= most) {
            return Ok(false);
        }
        if let Some(rate) = lane.bytes_per_second {
            sleep(Duration::from_secs_f64(length as f64 / f64::from(rate.max(1)))).await;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const SHORT: Duration = Duration::from_millis(100);

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        addr
    }

    async fn connected() -> (Proxy, TcpStream) {
        let proxy = Proxy::start(echo().await).await;
        let mut socket = TcpStream::connect(proxy.addr()).await.unwrap();
        ask(&mut socket, b"hello").await.unwrap();
        (proxy, socket)
    }

    async fn ask(socket: &mut TcpStream, text: &[u8]) -> io::Result<()> {
        socket.write_all(text).await?;
        let mut answer = vec![0; text.len()];
        socket.read_exact(&mut answer).await?;
        assert_eq!(answer, text);
        Ok(())
    }

    #[tokio::test]
    async fn cuts() {
        let (proxy, mut socket) = connected().await;
        proxy.cut(Cut::Reset);
        assert_eq!(socket.read(&mut [0; 9]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let mut socket = TcpStream::connect(proxy.addr()).await.unwrap();
        ask(&mut socket, b"again").await.unwrap();
        proxy.cut(Cut::Fin);
        assert_eq!(socket.read(&mut [0; 9]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn passes_a_reset_on() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap()).await;
        let mut socket = TcpStream::connect(proxy.addr()).await.unwrap();
        let (mut behind, _) = server.accept().await.unwrap();
        socket.write_all(b"x").await.unwrap();
        behind.read_exact(&mut [0]).await.unwrap();
        behind.set_zero_linger().unwrap();
        drop(behind);
        assert_eq!(socket.read(&mut [0; 9]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn freezes_either_way() {
        for way in [Way::Up, Way::Down] {
            let (proxy, mut socket) = connected().await;
            proxy.freeze(way);
            socket.write_all(b"x").await.unwrap();
            assert!(timeout(SHORT, socket.read(&mut [0; 9])).await.is_err());
            proxy.thaw();
            assert_eq!(socket.read(&mut [0; 9]).await.unwrap(), 1);
        }
    }

    #[tokio::test]
    async fn deadens_what_is_open_either_way() {
        for way in [Way::Up, Way::Down] {
            let (proxy, mut socket) = connected().await;
            proxy.deaden(way);
            socket.write_all(b"x").await.unwrap();
            socket.shutdown().await.unwrap();
            assert!(timeout(SHORT, socket.read(&mut [0; 9])).await.is_err(), "{way:?}");
            ask(&mut TcpStream::connect(proxy.addr()).await.unwrap(), b"new").await.unwrap();
        }
    }

    #[tokio::test]
    async fn refuses_and_takes_again() {
        let (proxy, mut open) = connected().await;
        proxy.refuse();
        crate::eventually("it refuses", SHORT * 20, async || TcpStream::connect(proxy.addr()).await.is_err()).await;
        ask(&mut open, b"open ones live on").await.unwrap();
        proxy.accept();
        crate::eventually("it accepts", SHORT * 20, async || TcpStream::connect(proxy.addr()).await.is_ok()).await;
    }

    #[tokio::test]
    async fn delays_and_bounds_the_rate() {
        let (proxy, mut socket) = connected().await;
        proxy.delay(Way::Down, SHORT);
        let begun = Instant::now();
        ask(&mut socket, b"late").await.unwrap();
        assert!(begun.elapsed() >= SHORT);
        proxy.delay(Way::Down, Duration::ZERO);
        proxy.rate(Way::Up, Some(10_000));
        let begun = Instant::now();
        ask(&mut socket, &[b'x'; 3_000]).await.unwrap();
        assert!(begun.elapsed() >= SHORT * 2, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn cuts_after_some_bytes() {
        let (proxy, _) = connected().await;
        proxy.cut_after(Way::Down, Some(3));
        let mut socket = TcpStream::connect(proxy.addr()).await.unwrap();
        socket.write_all(b"hello").await.unwrap();
        let mut got = Vec::new();
        let end = socket.read_to_end(&mut got).await;
        assert!(end.is_err() && got.len() <= 3, "{end:?} {got:?}");
        proxy.cut_after(Way::Down, None);
        ask(&mut TcpStream::connect(proxy.addr()).await.unwrap(), b"whole").await.unwrap();
    }
}
