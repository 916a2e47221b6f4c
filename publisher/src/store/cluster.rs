//! Asking a node of a cluster which server serves which slot.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisError, Value};

use super::access::{Access, command_failure};
use super::map::Map;
use super::peer::Peer;
use crate::{Error, ErrorKind};

/// The map as `node` knows it.
pub(super) async fn map(access: &Access, node: &Peer, config: &AsyncConnectionConfig) -> Result<Map, Error> {
    let mut connection = access.connect_to(node, ProtocolVersion::RESP2, config).await?;
    let (server, tls) = (node.server(), access.tls.is_some());
    let asked = node.pinned_server(tls);
    let read = match ask(&mut connection, "SHARDS").await {
        Ok(answer) => Map::of_shards(&answer, &asked, tls),
        // Some hosted clusters allow or know only the older question.
        Err(error) if matches!(error.code(), Some("ERR" | "NOPERM")) => match ask(&mut connection, "SLOTS").await {
            Ok(answer) => Map::of_slots(&answer, &asked),
            Err(error) if is_no_cluster(&error) => {
                return Err(Error::told(
                    ErrorKind::InvalidUrl,
                    format!("{node} is no part of a cluster: use redis://"),
                ));
            }
            Err(error) => return Err(command_failure(server, "CLUSTER SLOTS", error)),
        },
        Err(error) => return Err(command_failure(server, "CLUSTER SHARDS", error)),
    };
    let unknown = || Error::told(ErrorKind::Protocol, format!("{node} told its cluster's slots in an unknown form"));
    match read.ok_or_else(unknown)? {
        // It was removed, most likely: what it says is no news of the cluster, whose other nodes know better.
        map if map.servers().is_empty() => {
            Err(Error::told(ErrorKind::Unavailable, format!("{node} knows of no server that has a slot")))
        }
        map => Ok(map),
    }
}

async fn ask(connection: &mut MultiplexedConnection, what: &str) -> Result<Value, RedisError> {
    redis::cmd("CLUSTER").arg(what).query_async(connection).await
}

fn is_no_cluster(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("cluster support disabled"))
}
