//! The log: one line for each fact, on stderr, for people or as JSON.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::{Log, LogFormat};

/// Sends the log of the whole process to stderr. Fails where that was done before.
pub fn init(config: &Log) -> Result<(), SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(subscriber(config, std::io::stderr, std::io::stderr().is_terminal()))
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
