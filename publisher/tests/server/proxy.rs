//! A way to a server that a test can disturb.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Forwards connections to a server, until told otherwise.
#[derive(Clone)]
pub struct Proxy {
    port: u16,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    /// How many connections yet to cut instead of passing on an answer.
    cuts: AtomicUsize,
    /// Whether answers are swallowed while connections stay open.
    deaf: AtomicBool,
    connections: AtomicUsize,
}

impl Proxy {
    /// A way to the server on `port`.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), faults: Arc::default() };
        let faults = proxy.faults.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                faults.connections.fetch_add(1, Ordering::SeqCst);
                let faults = faults.clone();
                tokio::spawn(async move {
                    if let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await {
                        forward(near, far, &faults).await;
                    }
                });
            }
        });
        proxy
    }

    /// The URL to use instead of the server's.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Cuts the next `count` connections on which an answer comes, instead of passing it on: the server has done what
    /// was asked, and nobody knows.
    pub fn cut_answers(&self, count: usize) {
        self.faults.cuts.store(count, Ordering::SeqCst);
    }

    /// How many cuts are still to come.
    pub fn cuts_left(&self) -> usize {
        self.faults.cuts.load(Ordering::SeqCst)
    }

    /// Swallows all answers, or no longer.
    pub fn deaf(&self, deaf: bool) {
        self.faults.deaf.store(deaf, Ordering::SeqCst);
    }

    /// How many connections came so far.
    pub fn connections(&self) -> usize {
        self.faults.connections.load(Ordering::SeqCst)
    }
}

async fn forward(mut near: TcpStream, mut far: TcpStream, faults: &Faults) {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = near.read(&mut asked) => match read {
                Ok(count) if count > 0 => if far.write_all(&asked[..count]).await.is_err() { return },
                _ => return,
            },
            read = far.read(&mut answered) => match read {
                Ok(count) if count > 0 => {
                    let take_one = |left: usize| left.checked_sub(1);
                    if faults.cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one).is_ok() {
                        return;
                    }
                    if !faults.deaf.load(Ordering::SeqCst) && near.write_all(&answered[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
