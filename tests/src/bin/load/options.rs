//! What the program is asked to do.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures server CPU per delivery and memory per idle connection, beside a raw epoll writer in the same run.
///
/// Needs release builds of itself and of tidings-gateway in the same target directory (or TIDINGS_GATEWAY). Ends with
/// an error unless every client got every event exactly once.
#[derive(Debug, Parser)]
#[command(name = "load", args_conflicts_with_subcommands = true)]
pub struct Options {
    /// What this process is, if it is a child of another.
    #[command(subcommand)]
    pub role: Option<Role>,
    /// Open streams; each takes a file descriptor of the server.
    #[arg(long, default_value_t = 15_000)]
    pub connections: u32,
    /// Events of a round, each to all connections.
    #[arg(long, default_value_t = 24)]
    pub events: u32,
    /// Events that are published at once in the bursts.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..))]
    pub burst: u32,
    /// Rounds; the figures are their medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(32..=100_000))]
    pub data: u32,
    /// Worker threads of the gateway, one measurement for each.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    pub workers: Vec<u16>,
    /// Where the gateway keeps history. Redis is started for the run; its CPU is not the gateway's.
    #[arg(long, value_enum, default_value_t = Store::Memory)]
    pub store: Store,
    /// Least milliseconds from one broadcast to the next, which also waits until all clients have the one before.
    #[arg(long, default_value = "200", value_parser = milliseconds)]
    pub pace: Duration,
    /// File to which the figures go as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Where the gateway keeps history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// In its own process.
    Memory,
    /// In a Redis of this run.
    Redis,
}

/// A child of this program.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Clients of one server.
    #[command(hide = true)]
    Clients(Clients),
    /// The raw writer.
    #[command(hide = true)]
    Writer,
}

/// What a process of clients is to do.
#[derive(Debug, Args)]
pub struct Clients {
    /// Whose clients they are.
    #[arg(long)]
    pub server: SocketAddrV4,
    /// From where they connect: a source address has ports for 28,000 connections to one server.
    #[arg(long)]
    pub source: Ipv4Addr,
    /// How many they are.
    #[arg(long)]
    pub connections: u32,
}

fn milliseconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}
