//! Subscribing to the channels of a cluster.

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult};

/// `SSUBSCRIBE` or `SUNSUBSCRIBE` for each channel, in one write. One command takes only channels of one slot, and the
/// client library would take the first of its confirmations for all of them.
pub async fn one_by_one(connection: &mut MultiplexedConnection, command: &str, channels: &[String]) -> RedisResult<()> {
    let mut pipeline = Pipeline::with_capacity(channels.len());
    for channel in channels {
        pipeline.cmd(command).arg(channel);
    }
    let answers = connection.send_packed_commands(&pipeline, 0, channels.len()).await?;
    answers.into_iter().try_for_each(|answer| answer.extract_error().map(drop))
}
