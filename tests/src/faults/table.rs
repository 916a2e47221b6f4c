//! The table of a run: what came of each fault, on each topology and server.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{Fault, Kind, Outcome};
use crate::topology::Server;

/// The figures of one test; times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Row {
    pub fault: &'static str,
    pub topology: &'static str,
    pub server: &'static str,
    /// Events that were acknowledged.
    pub published: usize,
    /// Of what clients were owed, for each client and address.
    pub delivered: usize,
    pub resynced: usize,
    pub neither: usize,
    pub lasted: u64,
    pub median: u64,
    pub worst: u64,
    /// From the new primary's serving, after a failover.
    pub from_serving: Option<(u64, u64)>,
}

impl Row {
    /// What came of this test.
    pub fn of(fault: &Fault, kind: Kind, server: Server, outcome: &Outcome) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let Outcome { verdict, lasted, recovery, from_serving } = outcome;
        Self {
            fault: fault.name,
            topology: kind.name(),
            server: server.name(),
            published: verdict.events,
            delivered: verdict.delivered,
            resynced: verdict.resynced,
            neither: verdict.lost,
            lasted: ms(*lasted),
            median: ms(recovery.median),
            worst: ms(recovery.worst),
            from_serving: from_serving.map(|recovery| (ms(recovery.median), ms(recovery.worst))),
        }
    }
}

/// Where the tests of this run leave what they found: JSON lines as they come, and the table at the end.
#[derive(Debug)]
pub struct Book {
    folder: PathBuf,
    lines: File,
    rows: Vec<Row>,
}

impl Book {
    /// An empty one, in this folder.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let lines = File::create(folder.join("faults.jsonl"))?;
        Ok(Self { folder: folder.to_owned(), lines, rows: Vec::new() })
    }

    /// Adds a row.
    pub fn add(&mut self, row: Row) -> io::Result<()> {
        writeln!(self.lines, "{}", serde_json::to_string(&row)?)?;
        self.rows.push(row);
        Ok(())
    }

    /// Writes the table, and returns where it is.
    pub fn close(mut self) -> io::Result<PathBuf> {
        self.rows.sort();
        let path = self.folder.join("faults.md");
        fs::write(&path, markdown(&self.rows))?;
        Ok(path)
    }
}

/// The table of these rows, and their sum.
fn markdown(rows: &[Row]) -> String {
    let mut text = "| Fault | Topology | Server | Published | Delivered | Resynced | Neither | Fault lasted | Recovery, median | worst | From serving, median | worst |\n\
                    |---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    let seconds = |ms: u64| format!("{}.{:02} s", ms / 1000, ms % 1000 / 10);
    for row in rows {
        let Row { fault, topology, server, published, delivered, resynced, neither, .. } = row;
        let times = [row.lasted, row.median, row.worst].map(seconds).join(" | ");
        let serving =
            row.from_serving.map_or("– | –".to_owned(), |(median, worst)| [median, worst].map(seconds).join(" | "));
        text += &format!(
            "| `{fault}` | {topology} | {server} | {published} | {delivered} | {resynced} | {neither} | {times} | {serving} |\n"
        );
    }
    let sum = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
    let (published, delivered) = (sum(|row| row.published), sum(|row| row.delivered));
    let (resynced, neither) = (sum(|row| row.resynced), sum(|row| row.neither));
    text + &format!("| all {} | | | {published} | {delivered} | {resynced} | {neither} | | | | | |\n", rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fault: &'static str, from_serving: Option<(u64, u64)>) -> Row {
        let (topology, server) = ("cluster", "redis-7");
        let (lasted, median, worst) = (3_009, 3_100, 4_250);
        let (published, delivered, resynced, neither) = (10, 40, 5, 0);
        Row { fault, topology, server, published, delivered, resynced, neither, lasted, median, worst, from_serving }
    }

    #[test]
    fn the_table_is_sorted_and_summed_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = Book::open(folder.path()).unwrap();
        book.add(row("link::b", None)).unwrap();
        book.add(row("link::a", Some((90, 1_300)))).unwrap();
        let lines = fs::read_to_string(folder.path().join("faults.jsonl")).unwrap();
        assert!(
            lines.starts_with(r#"{"fault":"link::b","topology":"cluster","server":"redis-7","published":10,"#),
            "{lines}"
        );
        let table = fs::read_to_string(book.close().unwrap()).unwrap();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        let a = "| `link::a` | cluster | redis-7 | 10 | 40 | 5 | 0 | 3.00 s | 3.10 s | 4.25 s | 0.09 s | 1.30 s |";
        let b = "| `link::b` | cluster | redis-7 | 10 | 40 | 5 | 0 | 3.00 s | 3.10 s | 4.25 s | – | – |";
        assert_eq!(rows, [a, b, "| all 2 | | | 20 | 80 | 10 | 0 | | | | | |"]);
    }
}
