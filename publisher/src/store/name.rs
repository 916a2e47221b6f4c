//! Following the name of a server: noticing that it leads to another address, while the server at
//! the old one goes on.
//!
//! Nothing breaks when an operator moves a name to a new server and leaves the old one running. So
//! the name is resolved again and again. It has moved when the connected address was missing from
//! two answers in a row and an address of the last one takes a login. A look-up that fails or is
//! empty says nothing. A name with several addresses may tell them in any order.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use redis::{AsyncConnectionConfig, ProtocolVersion};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::access::Access;
use super::peer::{HEAD_START, Peer, first_of, resolve};
use super::primaries::Primaries;

/// The time from one look-up to the next, give or take a fifth.
const INTERVAL: Duration = Duration::from_secs(5);
/// The connected address must be missing from so many answers in a row. One may come from a
/// resolver that is behind the others.
const AGREE: u32 = 2;
/// How long a new address may take to accept a login.
const LOGIN: Duration = Duration::from_secs(2);

/// Watches the name of a connected server, until it is dropped.
pub struct NameWatch {
    /// Ends when the name has moved; none where there is no name to follow.
    task: Option<JoinHandle<()>>,
}

impl NameWatch {
    /// Begins to watch the name by which `peer` was reached, on the current runtime.
    pub fn begin(primaries: &Primaries, peer: &Peer) -> Self {
        let task = primaries.follows_name(peer).then(|| {
            let (primaries, peer) = (primaries.clone(), peer.clone());
            tokio::spawn(async move { moved(primaries.access(), &peer).await })
        });
        Self { task }
    }

    /// Whether the name leads elsewhere.
    pub fn has_moved(&self) -> bool {
        self.task.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Waits until the name leads elsewhere. Not to be called again after that.
    pub async fn moved(&mut self) {
        let ended = match &mut self.task {
            Some(task) => task.await.is_ok(),
            None => false,
        };
        if !ended {
            pending().await
        }
    }
}

impl Drop for NameWatch {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// In how many answers in a row the connected address was missing.
#[derive(Debug, Default)]
struct Absence(u32);

impl Absence {
    /// Notes an answer. Returns whether the name has surely moved.
    fn note(&mut self, answer: &[SocketAddr], connected: SocketAddr) -> bool {
        let is_there = answer.iter().any(|address| address.ip() == connected.ip());
        if !answer.is_empty() {
            self.0 = if is_there { 0 } else { self.0.saturating_add(1) };
        }
        self.0 >= AGREE
    }
}

/// Completes when the name of this peer has moved.
async fn moved(access: &Access, peer: &Peer) {
    let mut absence = Absence::default();
    loop {
        sleep(INTERVAL.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        // Not given up when it takes long: each that is given up would leave a thread behind.
        let Ok(answer) = resolve(peer.server()).await else { continue };
        if absence.note(&answer, peer.address()) && accepts(access, peer, &answer).await {
            return;
        }
    }
}

/// Whether any of these addresses takes a login.
async fn accepts(access: &Access, peer: &Peer, addresses: &[SocketAddr]) -> bool {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(LOGIN)).set_response_timeout(Some(LOGIN));
    // RESP3: its greeting is answered only after a login.
    let log_in = async |address| {
        let peer = Peer::new(peer.server().clone(), address);
        access.connect_to(&peer, ProtocolVersion::RESP3, &config).await
    };
    timeout(LOGIN, first_of(addresses, HEAD_START, log_in)).await.is_ok_and(|connected| connected.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(hosts: &[u8]) -> Vec<SocketAddr> {
        hosts.iter().map(|host| ([10, 0, 0, *host], 6379).into()).collect()
    }

    #[test]
    fn a_name_has_moved_after_two_answers_in_a_row() {
        let connected = addresses(&[1])[0];
        let mut absence = Absence::default();
        let mut note = |hosts: &[u8]| absence.note(&addresses(hosts), connected);
        assert!(!note(&[2]) && !note(&[1]) && !note(&[2]), "not in a row");
        assert!(note(&[2]) && note(&[3]));
    }

    #[test]
    fn a_name_with_several_addresses_has_not_moved_in_whichever_order_it_tells_them() {
        let connected = addresses(&[1])[0];
        let mut absence = Absence::default();
        for hosts in [[1, 2, 3], [2, 3, 1], [3, 1, 2]] {
            assert!(!absence.note(&addresses(&hosts), connected));
        }
    }

    #[test]
    fn an_empty_answer_says_nothing() {
        let connected = addresses(&[1])[0];
        let mut absence = Absence::default();
        for _ in 0..20 {
            assert!(!absence.note(&[], connected));
        }
        assert!(!absence.note(&addresses(&[2]), connected));
        assert!(!absence.note(&[], connected));
        assert!(absence.note(&addresses(&[2]), connected));
    }
}
