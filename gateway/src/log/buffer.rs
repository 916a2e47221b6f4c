//! Log lines on their way to stderr: whoever logs never waits for whoever reads.
//!
//! Lines wait in a buffer of bounded size, and a thread of its own writes them. While stderr is
//! a full pipe, only that thread blocks; lines for which there is no room are counted and dropped.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most bytes of lines that wait. As many again are being written.
const ROOM: usize = 1024 * 1024;

/// A bounded buffer of log lines. A clone is the same buffer, and cheap.
#[derive(Debug, Clone, Default)]
pub struct LogBuffer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// Whether a batch is being written.
    is_writing: bool,
    /// Lines dropped since the last batch was taken.
    unreported: u64,
    /// Lines dropped since the process began.
    dropped: u64,
}

impl LogBuffer {
    /// Appends a line, or drops and counts it if there is no room. Never blocks on I/O.
    pub fn push(&self, line: &[u8]) {
        let mut pending = self.lock();
        if pending.bytes.len() + line.len() > ROOM {
            pending.add_dropped(1);
            return;
        }
        pending.bytes.extend_from_slice(line);
        drop(pending);
        self.0.changed.notify_all();
    }

    /// Lines that were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits until all lines are written, or for `patience`. Returns whether they are.
    pub fn flush(&self, patience: Duration) -> bool {
        let is_busy = |pending: &mut Pending| pending.is_writing || !pending.bytes.is_empty();
        let waited = self.0.changed.wait_timeout_while(self.lock(), patience, is_busy);
        let (_pending, result) = waited.unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }

    /// Writes lines to `out` for as long as the process lives.
    ///
    /// Once lines can be written again, `report` is called with the number of those dropped.
    pub fn write_to(&self, mut out: impl Write, mut report: impl FnMut(u64)) {
        let (mut unreported, mut is_healthy) = (0, true);
        loop {
            let (batch, dropped) = self.next_batch();
            unreported += dropped;
            if is_healthy && unreported > 0 {
                // The buffer is empty now, so the report stands where the lines are missing.
                report(std::mem::take(&mut unreported));
            }
            let result = out.write_all(&batch).and_then(|()| out.flush());
            let was_healthy = std::mem::replace(&mut is_healthy, result.is_ok());
            let mut pending = self.lock();
            pending.is_writing = false;
            if result.is_err() {
                // How many of them got out is not known. No report: it would fail in its turn.
                pending.add_dropped(count_lines(&batch));
            }
            drop(pending);
            self.0.changed.notify_all();
            if is_healthy && !was_healthy && unreported > 0 {
                report(std::mem::take(&mut unreported));
            }
        }
    }

    /// Waits for lines and takes all, with the number dropped since the last batch.
    fn next_batch(&self) -> (Vec<u8>, u64) {
        let is_empty = |pending: &mut Pending| pending.bytes.is_empty();
        let waited = self.0.changed.wait_while(self.lock(), is_empty);
        let mut pending = waited.unwrap_or_else(PoisonError::into_inner);
        pending.is_writing = true;
        (std::mem::take(&mut pending.bytes), std::mem::take(&mut pending.unreported))
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn add_dropped(&mut self, lines: u64) {
        self.unreported += lines;
        self.dropped += lines;
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// One write is one line, as the formatter of `tracing` does it.
impl Write for LogBuffer {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, PipeReader};
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    const LINE: &[u8] = b"0123456789 0123456789 0123456789 0123456789 0123456789 0123456789\n";

    /// A buffer that a thread writes to a pipe; the report is a line of its own.
    fn buffer() -> (LogBuffer, PipeReader) {
        let buffer = LogBuffer::default();
        let (reader, writer) = std::io::pipe().unwrap();
        let own = buffer.clone();
        std::thread::spawn(move || {
            own.clone().write_to(writer, |lines| own.push(format!("dropped {lines}\n").as_bytes()));
        });
        (buffer, reader)
    }

    #[test]
    fn a_full_pipe_blocks_nobody_and_what_is_dropped_is_counted_and_reported() {
        let (buffer, reader) = buffer();
        let pushed = 4 * ROOM / LINE.len();
        // Nobody reads the pipe; if a push waited for that, the test would never end.
        (0..pushed).for_each(|_| buffer.push(LINE));
        assert!(!buffer.flush(Duration::ZERO));
        let dropped = buffer.dropped() as usize;
        assert!(dropped > 0 && dropped < pushed);

        let (mut whole, mut reported) = (0, 0);
        for line in BufReader::new(reader).lines().map(Result::unwrap) {
            match line.strip_prefix("dropped ") {
                Some(count) => reported += count.parse::<usize>().unwrap(),
                None if line.as_bytes() == &LINE[..LINE.len() - 1] => whole += 1,
                None => panic!("a line that was cut: {line}"),
            }
            if whole + reported == pushed {
                break;
            }
        }
        assert_eq!(reported, dropped);
        assert!(buffer.flush(PATIENCE));
    }

    /// Fails its first writes, and passes the others on.
    struct Failing(u32, mpsc::Sender<Vec<u8>>);

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0 > 0 {
                self.0 -= 1;
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.1.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_reported_once_it_can() {
        let buffer = LogBuffer::default();
        let (sender, written) = mpsc::channel();
        let own = buffer.clone();
        std::thread::spawn(move || {
            let report = |lines: u64| own.push(format!("dropped {lines}\n").as_bytes());
            own.write_to(Failing(2, sender), report);
        });
        for _ in 0..3 {
            buffer.push(b"line\n");
            assert!(buffer.flush(PATIENCE));
        }
        assert_eq!(written.recv_timeout(PATIENCE).unwrap(), b"line\n");
        assert_eq!(written.recv_timeout(PATIENCE).unwrap(), b"dropped 2\n");
        assert_eq!(buffer.dropped(), 2);
    }
}
