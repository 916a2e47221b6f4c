//! `tidings publish --ndjson`: many events, one JSON object a line.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::value::RawValue;
use tidings_publisher::{Error, Event, Publisher, Receipt};
use tokio::io::{AsyncRead, BufReader};

use crate::exit::Exit;
use crate::lines::{self, Line};
use crate::{out, publish};

/// Events of one call to the library.
const BATCH: usize = 500;

/// A run through a file.
struct Run<'a> {
    publisher: &'a Publisher,
    strict: bool,
    /// Events that were read, with their line numbers, and not sent yet.
    batch: Vec<(u64, Event)>,
    line: u64,
    published: u64,
    failed: u64,
    bar: ProgressBar,
}

/// Publishes the events of `file`, or of stdin if it is `-`.
pub async fn run(publisher: &Publisher, file: &Path, strict: bool) -> Exit {
    if file == Path::new("-") {
        return read(publisher, tokio::io::stdin(), None, strict).await;
    }
    match tokio::fs::File::open(file).await {
        Ok(open) => {
            let bytes = open.metadata().await.ok().map(|metadata| metadata.len()).filter(|bytes| *bytes > 0);
            read(publisher, open, bytes, strict).await
        }
        Err(error) => out::fail(Exit::Usage, &format!("{}: {error}", file.display())),
    }
}

async fn read(publisher: &Publisher, source: impl AsyncRead + Unpin, bytes: Option<u64>, strict: bool) -> Exit {
    let bar = bar(bytes);
    let mut run = Run { publisher, strict, batch: Vec::new(), line: 0, published: 0, failed: 0, bar };
    let interrupted = tokio::signal::ctrl_c();
    let exit = tokio::select! {
        end = run.through(BufReader::with_capacity(256 * 1024, source)) => end.err(),
        _ = interrupted => Some(Exit::Interrupted),
    };
    run.bar.finish_and_clear();
    let sum = format!("{} published, {} not, of {} lines read", run.published, run.failed, run.line);
    match exit {
        // Without its reader there is nobody to tell.
        Some(Exit::Ok) => return Exit::Ok,
        Some(_) if !run.batch.is_empty() => {
            let (first, last) = (run.batch[0].0, run.batch[run.batch.len() - 1].0);
            out::note(format!("{sum}; of lines {first} to {last} it is not known; nothing after line {}", run.line));
        }
        Some(_) => out::note(format!("{sum}; nothing after line {}", run.line)),
        None => out::note(sum),
    }
    exit.unwrap_or(if run.failed > 0 { Exit::SomeFailed } else { Exit::Ok })
}

impl Run<'_> {
    /// Reads to the end, publishing as it goes; `Err` is why it ends before.
    async fn through(&mut self, mut source: BufReader<impl AsyncRead + Unpin>) -> Result<(), Exit> {
        loop {
            // Before a wait for more input, what is there goes out.
            if self.batch.len() >= BATCH || !source.buffer().contains(&b'\n') {
                self.send().await?;
            }
            let line = lines::next(&mut source).await.map_err(|error| out::fail(Exit::Internal, &error))?;
            let Some(line) = line else { return self.send().await };
            self.line += 1;
            if let Line::Whole(bytes) = &line {
                self.bar.inc(bytes.len() as u64 + 1);
            }
            match event(&line) {
                Ok(Some(event)) => self.batch.push((self.line, event)),
                Ok(None) => {}
                Err(why) => {
                    self.fail(self.line, &why);
                    if self.strict {
                        // What came before the bad line still goes out.
                        self.send().await?;
                        return Err(Exit::Usage);
                    }
                }
            }
        }
    }

    async fn send(&mut self) -> Result<(), Exit> {
        let events = self.batch.iter().map(|(_, event)| event.clone()).collect();
        let results = self.publisher.publish_all(events).await;
        let batch = std::mem::take(&mut self.batch);
        let mut away = None;
        for ((line, _), result) in batch.iter().zip(results) {
            match result {
                Ok(receipt) => self.succeed(&receipt)?,
                Err(error) => {
                    self.fail(*line, &error.to_string());
                    away = Some(error).filter(|error| Exit::from(error) == Exit::Unavailable);
                }
            }
        }
        // Trying every further line against a store that is away would take for ever.
        away.map_or(Ok(()), |error: Error| Err(Exit::from(&error)))
    }

    fn succeed(&mut self, receipt: &Receipt) -> Result<(), Exit> {
        self.published += 1;
        self.bar.suspend(|| publish::print(receipt))
    }

    fn fail(&mut self, line: u64, why: &str) {
        self.failed += 1;
        self.bar.suspend(|| out::note(format!("line {line}: {why}")));
    }
}

/// The event on a line; `None` if the line is empty.
fn event(line: &Line) -> Result<Option<Event>, String> {
    let Line::Whole(bytes) = line else { return Err(format!("longer than {} bytes", lines::LONGEST)) };
    let bytes = bytes.trim_ascii();
    if bytes.is_empty() {
        return Ok(None);
    }
    let json: &RawValue = serde_json::from_slice(bytes).map_err(|error| {
        format!(r#"not JSON: {error}; expected an object such as {{"to":"orders/42","type":"order.updated"}}"#)
    })?;
    let event = Event::from_json(json).map_err(|error| error.to_string())?;
    // The library would refuse it too, but only together with those around it.
    event.prepare("").map_err(|error| error.to_string())?;
    Ok(Some(event))
}

/// Shows how far it is, on a terminal and if it takes a moment; elsewhere it draws nothing.
fn bar(bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:30} {percent}% {bytes}/{total_bytes}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} read"),
    };
    let bar = match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
