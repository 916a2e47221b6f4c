//! Asking a node of a cluster which server serves which slot.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisError, Value};
use tidings_shared::store_url::Server;

use super::access::{Access, command_failure};
use super::map::Map;
use crate::{Error, ErrorKind};

/// The map as `node` knows it.
pub(super) async fn map(access: &Access, node: &Server, config: &AsyncConnectionConfig) -> Result<Map, Error> {
    let (mut connection, _) = access.connect(node, ProtocolVersion::RESP2, config).await?;
    let read = match ask(&mut connection, "SHARDS").await {
        Ok(answer) => Map::of_shards(&answer, node, access.tls.is_some()),
        // Some hosted clusters allow or know only the older question.
        Err(error) if matches!(error.code(), Some("ERR" | "NOPERM")) => match ask(&mut connection, "SLOTS").await {
            Ok(answer) => Map::of_slots(&answer, node),
            Err(error) if is_no_cluster(&error) => {
                return Err(Error::told(
                    ErrorKind::InvalidUrl,
                    format!("{node} is no part of a cluster: use redis://"),
                ));
            }
            Err(error) => return Err(command_failure(node, "CLUSTER SLOTS", error)),
        },
        Err(error) => return Err(command_failure(node, "CLUSTER SHARDS", error)),
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
