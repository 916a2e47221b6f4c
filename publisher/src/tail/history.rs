//! What the history script answers.

use ::redis::aio::MultiplexedConnection;
use ::redis::{FromRedisValue, ParsingError, RedisError, Script, ServerErrorKind, Value, from_redis_value};
use tidings_shared::cursor::Place;
use tidings_shared::script::Call;
use tidings_shared::{Id, Invalid};

use crate::store::{Server, command_failure};
use crate::{Error, ErrorKind};

/// What several addresses of a partition got, at one moment.
pub(super) struct History {
    /// The end of the partition's history; none if nothing was ever published in it.
    pub end: Option<Place>,
    /// For each address its events, oldest first, or `None` if they are not all there.
    pub found: Vec<Option<Vec<(Id, String)>>>,
}

/// The entries of an address: id and message, which need not be text.
type RawEntries = Vec<(String, Vec<u8>)>;

/// The answer as Redis gives it: epoch, last id, then a status and a list for each address.
struct Answer {
    epoch: String,
    last: String,
    found: Vec<(String, RawEntries)>,
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let mut values = Vec::from_redis_value(value)?.into_iter();
        let mut next = || values.next().unwrap_or(Value::Nil);
        let (epoch, last) = (from_redis_value(next())?, from_redis_value(next())?);
        let mut found = Vec::new();
        while let (Some(status), Some(entries)) = (values.next(), values.next()) {
            found.push((from_redis_value(status)?, from_redis_value(entries)?));
        }
        Ok(Self { epoch, last, found })
    }
}

impl History {
    /// Runs the script.
    pub(super) async fn read(
        connection: &mut MultiplexedConnection,
        server: &Server,
        call: Call,
    ) -> Result<Self, Error> {
        let hash = Script::new(call.script).get_hash().to_owned();
        let mut answer = run(("EVALSHA", &hash), &call, connection).await;
        // `Script::invoke_async` would send SCRIPT LOAD, which needs a right of its own.
        if answer.as_ref().is_err_and(|error| error.kind() == ServerErrorKind::NoScript.into()) {
            answer = run(("EVAL", call.script), &call, connection).await;
        }
        let answer = answer.map_err(|error| command_failure(server, "EVALSHA", error))?;
        answer.try_into().map_err(|error: Invalid| Error::new(ErrorKind::Protocol, error))
    }
}

/// Runs a script by its hash or its text.
async fn run(
    (command, script): (&str, &str),
    Call { keys, args, .. }: &Call,
    connection: &mut MultiplexedConnection,
) -> Result<Answer, RedisError> {
    let mut command = ::redis::cmd(command);
    command.arg(script).arg(keys.len()).arg(keys).arg(args);
    command.query_async(connection).await
}

impl TryFrom<Answer> for History {
    type Error = Invalid;

    fn try_from(answer: Answer) -> Result<Self, Invalid> {
        let end = match answer.epoch.as_str() {
            "" => None,
            epoch => Some(Place { epoch: epoch.parse()?, id: answer.last.parse()? }),
        };
        let entries = |(status, entries): (String, RawEntries)| match status.as_str() {
            // What is no text becomes an empty one, which is no message: it is told as not understood.
            "ok" => {
                let entry = |(id, message): (String, Vec<u8>)| {
                    Ok((id.parse()?, String::from_utf8(message).unwrap_or_default()))
                };
                entries.into_iter().map(entry).collect::<Result<_, _>>().map(Some)
            }
            _ => Ok(None),
        };
        Ok(Self { end, found: answer.found.into_iter().map(entries).collect::<Result<_, Invalid>>()? })
    }
}
