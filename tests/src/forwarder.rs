//! Another address for a server, as a NAT gives it one.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Takes connections to one address on to a server, until it is dropped.
#[derive(Debug)]
pub struct Forwarder {
    task: JoinHandle<()>,
}

impl Forwarder {
    /// Forwards what comes to `outer`. The server sees the connections come from the IP address of
    /// `outer`, so it can tell them from those that reach it directly.
    ///
    /// # Panics
    ///
    /// If somebody else listens at `outer`.
    pub async fn start(outer: SocketAddr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind(outer).await.expect("the address is free");
        let task = tokio::spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                links.spawn(forward(client, outer, server));
            }
        });
        Self { task }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut client: TcpStream, outer: SocketAddr, server: SocketAddr) {
    let Ok(socket) = TcpSocket::new_v4() else { return };
    if socket.bind((outer.ip(), 0).into()).is_err() {
        return;
    }
    // The client sees the end of a server that is not there, and a broken connection breaks both.
    if let Ok(mut server) = socket.connect(server).await {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
