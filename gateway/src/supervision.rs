//! Notices a part of the gateway that ends although nobody told it to.

use std::io;

use actix_server::Server;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::reader::ReaderHandle;

/// The HTTP servers of this gateway, each with the setting by which it listens.
#[derive(Debug)]
pub struct RunningServers {
    servers: FuturesUnordered<LocalBoxFuture<'static, EndedServer>>,
    /// Parts of them that cannot go on.
    failed: mpsc::UnboundedReceiver<&'static str>,
}

/// Where a part on a thread of a server reports that it cannot go on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FailureReports(mpsc::UnboundedSender<&'static str>);

impl FailureReports {
    /// Reports that this part has ended although nobody told it to: the process ends.
    pub fn report(&self, part: &'static str) {
        let _ends_anyway = self.0.send(part);
    }
}

/// A server that has ended, and how.
type EndedServer = (&'static str, io::Result<()>);

impl RunningServers {
    /// None yet, and where their parts report.
    pub fn new() -> (Self, FailureReports) {
        let (reports, failed) = mpsc::unbounded_channel();
        (Self { servers: FuturesUnordered::new(), failed }, FailureReports(reports))
    }

    /// Runs a server on a task of its own.
    pub fn run(&mut self, setting: &'static str, server: Server) {
        self.add(setting, server);
    }

    fn add(&mut self, setting: &'static str, server: impl Future<Output = io::Result<()>> + 'static) {
        let task = actix_web::rt::spawn(server);
        let ended = async move { (setting, task.await.map_err(io::Error::other).flatten()) };
        self.servers.push(Box::pin(ended));
    }

    /// Waits until a server, a part of one or the reader ends although nobody told it to. The process is of no
    /// use then: it would look alive and serve nobody.
    pub async fn first_failure(&mut self, reader: &ReaderHandle) -> io::Error {
        tokio::select! {
            Some((setting, result)) = self.servers.next() => {
                let detail = result.err().map_or_else(String::new, |error| format!(": {error}"));
                io::Error::other(format!("the server of {setting} ended unexpectedly{detail}"))
            }
            Some(part) = self.failed.recv() => io::Error::other(format!("{part} ended unexpectedly")),
            () = reader.gone() => io::Error::other("the reader ended unexpectedly"),
        }
    }

    /// Waits until all have ended.
    pub async fn all_ended(mut self) -> io::Result<()> {
        while let Some((_, result)) = self.servers.next().await {
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
        let (mut servers, _) = RunningServers::new();
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
    async fn a_part_that_cannot_go_on_is_noticed() {
        let (reader, _commands) = ReaderHandle::new(Status::new(Partitions::ONE));
        let (mut servers, reports) = RunningServers::new();
        servers.add("server.listen", pending());
        reports.clone().report("a worker's hub");
        let error = servers.first_failure(&reader).await.to_string();
        assert_eq!(error, "a worker's hub ended unexpectedly");
    }

    #[actix_web::test]
    async fn a_reader_that_ends_is_noticed() {
        let (reader, commands) = ReaderHandle::new(Status::new(Partitions::ONE));
        drop(commands);
        assert_eq!(servers().first_failure(&reader).await.to_string(), "the reader ended unexpectedly");
    }
}
