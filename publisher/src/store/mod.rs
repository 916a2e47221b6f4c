//! Reaching Redis, whatever its topology: for the transport of this library, and for others that read the store.
//!
//! | module | owns |
//! |---|---|
//! | `primaries` | the handle: which server serves a slot now, and connections to it |
//! | `access`, `tls` | how one server is connected to: login, database, certificates |
//! | `peer` | the addresses of a name, and connecting to the first that answers |
//! | `name` | noticing that a name leads to another address |
//! | `map` | which server serves which slot, read from what a cluster answers; pure |
//! | `sentinel`, `cluster` | the questions that bring a map |
//! | `sharded` | subscribing to channels of a cluster |
//! | `refusal` | what a server's refusal means and what would help; pure |
//! | `verdict` | what an error of a server means for the next step; pure |

mod access;
mod cluster;
mod map;
mod name;
mod peer;
mod primaries;
mod refusal;
mod sentinel;
mod sharded;
mod tls;
mod verdict;

pub use access::command_failure;
pub use map::Map;
pub use name::NameWatch;
pub use peer::Peer;
pub use primaries::{Generation, Primaries};
pub use sharded::one_by_one;
pub use tidings_shared::store_url::{RedisUrl, Server, Topology, WrongUrl};
pub use tls::{TlsFiles, WrongTls};
pub use verdict::Verdict;
