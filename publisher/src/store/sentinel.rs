//! Asking a sentinel which server is the primary and which others there are, and the primary whether it is one.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, ProtocolVersion, RedisError, Value};
use tidings_shared::store_url::Server;

use super::access::{Access, command_failure};
use super::peer::Peer;
use crate::{Error, ErrorKind};

/// The server that `sentinel` takes for the primary called `name`.
pub(super) async fn primary(
    access: &Access,
    sentinel: &Peer,
    name: &str,
    config: &AsyncConnectionConfig,
) -> Result<Server, Error> {
    let answer: Option<(String, u16)> = ask(access, sentinel, ["GET-MASTER-ADDR-BY-NAME", name], config).await?;
    let unknown =
        || Error::told(ErrorKind::InvalidUrl, format!("the sentinel {sentinel} knows no primary called {name:?}"));
    answer.map(|(host, port)| Server::new(host, port)).ok_or_else(unknown)
}

/// All servers that `sentinel` knows of the primary called `name`: while replicas are made to follow a new primary it is one
/// of these, and the one before still stands in its place; later that one is among the replicas.
pub(super) async fn members(
    access: &Access,
    sentinel: &Peer,
    name: &str,
    config: &AsyncConnectionConfig,
) -> Result<Vec<Server>, Error> {
    type Told = HashMap<String, String>;
    let primary: Told = ask(access, sentinel, ["MASTER", name], config).await?;
    let replicas: Vec<Told> = ask(access, sentinel, ["REPLICAS", name], config).await?;
    let server = |told: &Told| Some(Server::new(told.get("ip")?, told.get("port")?.parse().ok()?));
    Ok(replicas.iter().chain([&primary]).filter_map(server).collect())
}

async fn ask<T: FromRedisValue>(
    access: &Access,
    sentinel: &Peer,
    question: [&str; 2],
    config: &AsyncConnectionConfig,
) -> Result<T, Error> {
    // Its login is another than that of the servers, so a refusal must say whose it is.
    let own = |error: Error| error.of("the sentinel");
    let connecting = access.connect_to(sentinel, ProtocolVersion::RESP2, config).await;
    let mut connection = connecting.map_err(own)?;
    let answer: Result<T, RedisError> = redis::cmd("SENTINEL").arg(&question).query_async(&mut connection).await;
    answer.map_err(|error| match is_unknown_command(&error) {
        true => Error::told(ErrorKind::InvalidUrl, format!("{sentinel} is no sentinel")),
        false => own(command_failure(sentinel.server(), "SENTINEL", error)),
    })
}

/// Makes sure that `server` is a primary: a sentinel may not have noticed yet, and a replica takes no writes.
pub(super) async fn verify(connection: &mut MultiplexedConnection, server: &Server) -> Result<(), Error> {
    let role: Vec<Value> =
        redis::cmd("ROLE").query_async(connection).await.map_err(|error| command_failure(server, "ROLE", error))?;
    let role: Option<String> = role.first().and_then(|role| redis::from_redis_value_ref(role).ok());
    match role.as_deref() {
        Some("master") => Ok(()),
        role => {
            let role = role.unwrap_or("nothing known");
            Err(Error::told(ErrorKind::Unavailable, format!("{server} should be the primary, and says it is {role}")))
        }
    }
}

fn is_unknown_command(error: &RedisError) -> bool {
    error.code() == Some("ERR") && error.detail().is_some_and(|detail| detail.contains("unknown command"))
}
