//! Notices a part of the gateway that ends although nobody told it to.

use std::io;

use actix_server::Server;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::reader::ReaderHandle;

/// The HTTP servers of this gateway, each with the setting by which it listens.
#[derive(Debug, Default)]
pub struct RunningServers(FuturesUnordered<LocalBoxFuture<'static, EndedServer>>);

/// A server that has ended, and how.
type EndedServer = (&'static str, io::Result<()>);

impl RunningServers {
    /// Runs a server on a task of its own.
    pub fn run(&mut self, setting: &'static str, server: Server) {
        self.add(setting, server);
    }

    fn add(&mut self, setting: &'static str, server: impl Future<Output = io::Result<()>> + 'static) {
        let task = actix_web::rt::spawn(server);
        let ended = async move { (setting, task.await.map_err(io::Error::other).flatten()) };
        self.0.push(Box::pin(ended));
    }

    /// Waits until a server or the reader ends although nobody told it to. The process is of no
    /// use then: it would look alive and serve nobody.
    pub async fn first_failure(&mut self, reader: &ReaderHandle) -> io::Error {
        tokio::select! {
            Some((setting, result)) = self.0.next() => {
                let detail = result.err().map_or_else(String::new, |error| format!(": {error}"));
                io::Error::other(format!("the server of {setting} ended unexpectedly{detail}"))
            }
            () = reader.gone() => io::Error::other("the reader ended unexpectedly"),
        }
    }

    /// Waits until all have ended.
    pub async fn all_ended(mut self) -> io::Result<()> {
        while let Some((_, result)) = self.0.next().await {
            result?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tidings_shared::Partitions;

    use super::*;
    use crate::reader::Status;

    fn servers() -> RunningServers {
        let mut servers = RunningServers::default();
        servers.add("server.listen", pending());
        servers
    }

    #[actix_web::test]
    async fn a_server_that_ends_is_noticed_while_others_run() {
        let (reader, _commands) = ReaderHandle::new(Status::new(Partitions::ONE));
        for (end, told) in [(Ok(()), "unexpectedly"), (Err(io::Error::other("broken")), "unexpectedly: broken")] {
            let mut servers = servers();
            servers.add("admin.listen", ready(end));
            let error = servers.first_failure(&reader).await.to_string();
            assert_eq!(error, format!("the server of admin.listen ended {told}"));
        }
    }

    #[actix_web::test]
    async fn a_task_that_panics_is_noticed() {
        let (reader, _commands) = ReaderHandle::new(Status::new(Partitions::ONE));
        let mut servers = servers();
        servers.add("admin.listen", async { panic!("on purpose") });
        let error = servers.first_failure(&reader).await.to_string();
        assert!(error.starts_with("the server of admin.listen ended unexpectedly: "), "{error}");
    }

    #[actix_web::test]
    async fn a_reader_that_ends_is_noticed() {
        let (reader, commands) = ReaderHandle::new(Status::new(Partitions::ONE));
        drop(commands);
        assert_eq!(servers().first_failure(&reader).await.to_string(), "the reader ended unexpectedly");
    }
}
