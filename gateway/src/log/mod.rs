//! The log: one line for each fact, on stderr, for people or as JSON.
//!
//! Logging never blocks: see [`buffer`].

mod buffer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use self::buffer::LogBuffer;
use crate::config::{Log, LogFormat};
use crate::without::{Mechanism, Without};

/// How long the end of the process waits for the last lines to be written.
const FLUSH: Duration = Duration::from_secs(2);

/// The lines of this process that wait for stderr.
static BUFFER: OnceLock<LogBuffer> = OnceLock::new();

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The process has a log.
    #[error(transparent)]
    Started(#[from] SetGlobalDefaultError),
    /// There is no thread to write it.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(#[from] std::io::Error),
}

/// The log of the process. Dropping it waits for the last lines to be written, for a short time.
#[derive(Debug)]
#[must_use]
pub struct LogGuard(LogBuffer);

/// Sends the log of the whole process to stderr, panics included. Fails if that was done before.
pub fn init(config: &Log, without: Without) -> Result<LogGuard, LogError> {
    let ansi = std::io::stderr().is_terminal();
    let buffer = BUFFER.get_or_init(LogBuffer::default).clone();
    let lines = buffer.clone();
    if without.lacks(Mechanism::Log) {
        tracing::subscriber::set_global_default(subscriber(config, std::io::stderr, ansi))?;
    } else {
        tracing::subscriber::set_global_default(subscriber(config, move || lines.clone(), ansi))?;
        // The default hook writes to stderr: a thread that panics would block there, and never end.
        std::panic::set_hook(Box::new(log_panic));
    }
    let own = buffer.clone();
    let writer = std::thread::Builder::new().name("log".to_owned());
    writer.spawn(move || own.write_to(std::io::stderr(), report_dropped))?;
    Ok(LogGuard(buffer))
}

/// Log lines of this process that were dropped, as stderr did not take them.
pub fn dropped_lines() -> u64 {
    BUFFER.get().map_or(0, LogBuffer::dropped)
}

fn report_dropped(lines: u64) {
    tracing::warn!(lines, "dropped log lines: stderr was not read fast enough, or not writable");
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let payload = info.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let message = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(thread, location, %backtrace, "panicked: {message}");
    } else {
        tracing::error!(thread, location, "panicked: {message}");
    }
}

impl LogGuard {
    /// Writes a line that is no log line, behind all that were logged before it.
    pub fn print(&self, line: &str) {
        self.0.push(format!("{line}\n").as_bytes());
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.flush(FLUSH);
    }
}

/// A log to `writer`, with colours if `ansi` and the format is for people.
///
/// A JSON line has `timestamp`, `level` and the fields of the event, `message` among them, at its top level.
fn subscriber<W>(config: &Log, writer: W, ansi: bool) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer).with_ansi(ansi).with_target(false);
    let lines: Box<dyn Layer<_> + Send + Sync> = match config.format {
        LogFormat::Pretty => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    Registry::default().with(lines.with_filter(without_noise(&config.level)))
}

/// The HTTP server says much that is no fact of ours: each stream that we end is an error to it. Whoever names its
/// modules gets to see that all the same.
fn without_noise(level: &Targets) -> Targets {
    let noise = [
        ("actix_server", LevelFilter::WARN),
        ("actix_http", LevelFilter::OFF),
        ("h2", LevelFilter::WARN),
        ("rustls", LevelFilter::WARN),
    ];
    let unnamed = |name: &str| !level.iter().any(|(target, _)| target.starts_with(name));
    level.clone().with_targets(noise.into_iter().filter(|(name, _)| unnamed(name)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written when two facts are logged.
    fn written(format: LogFormat, level: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let config = Log { format, level: level.parse().unwrap() };
        tracing::subscriber::with_default(subscriber(&config, move || writer.clone(), false), || {
            tracing::info!(public = "127.0.0.1:41231", admin = "127.0.0.1:41232", "listening");
            tracing::debug!("detail");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_is_flat() {
        let text = written(LogFormat::Json, "info");
        let line: serde_json::Map<_, _> = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "listening");
        assert_eq!((&line["public"], &line["admin"]), (&"127.0.0.1:41231".into(), &"127.0.0.1:41232".into()));
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
        assert_eq!(line.len(), 5);
    }

    #[test]
    fn pretty_is_one_plain_line() {
        let text = written(LogFormat::Pretty, "info");
        assert!(text.ends_with(" INFO listening public=\"127.0.0.1:41231\" admin=\"127.0.0.1:41232\"\n"), "{text:?}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn the_level_filters_by_module() {
        assert_eq!(written(LogFormat::Json, "off"), "");
        assert_eq!(written(LogFormat::Json, "warn"), "");
        assert_eq!(written(LogFormat::Json, "warn,tidings_gateway=debug").lines().count(), 2);
        assert_eq!(written(LogFormat::Json, "debug,tidings_gateway::log=warn").lines().count(), 0);
    }
}
