//! Asking a sentinel which server is the primary, and that server whether it is.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisError, Value};
use tidings_shared::store_url::Server;

use super::access::{Access, failure};
use crate::{Error, ErrorKind};

/// The server that `sentinel` takes for the primary called `name`.
pub(super) async fn primary(
    access: &Access,
    sentinel: &Server,
    name: &str,
    config: &AsyncConnectionConfig,
) -> Result<Server, Error> {
    // Its login is another than that of the servers, so a refusal must say whose it is.
    let own = |error: Error| error.of("the sentinel");
    let mut connection = access.connect(sentinel, ProtocolVersion::RESP2, config).await.map_err(own)?;
    let answer: Result<Option<(String, u16)>, RedisError> =
        redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).query_async(&mut connection).await;
    match answer {
        Ok(Some((host, port))) => Ok(Server::new(host, port)),
        Ok(None) => {
            Err(Error::told(ErrorKind::InvalidUrl, format!("the sentinel {sentinel} knows no primary called {name:?}")))
        }
        Err(error) if is_unknown_command(&error) => {
            Err(Error::told(ErrorKind::InvalidUrl, format!("{sentinel} is no sentinel")))
        }
        Err(error) => Err(own(failure(sentinel, error))),
    }
}

/// Makes sure that `server` is a primary: a sentinel may not have noticed yet, and a replica takes no writes.
pub(super) async fn verify(connection: &mut MultiplexedConnection, server: &Server) -> Result<(), Error> {
    let role: Vec<Value> = redis::cmd("ROLE").query_async(connection).await.map_err(|error| failure(server, error))?;
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
