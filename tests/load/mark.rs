//! The mark in every event's data: when it was published, and its serial.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of the clock that all processes of this machine share and that never steps.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// What an event carries, in ASCII of a fixed width: `~0000001795233375.00000042~`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// When it was published, by [`now`].
    pub at: u64,
    /// Which event of the run it is.
    pub serial: u32,
}

const AT: usize = 16;
const SERIAL: usize = 8;
const EDGE: u8 = b'~';

impl Mark {
    /// The least bytes of data that hold one.
    pub const LEAST: usize = 64;

    /// Data of so many bytes that hold it, as JSON. `n` is the serial for the oracle.
    pub fn data(self, bytes: usize) -> String {
        let Self { at, serial } = self;
        let start = format!("{{\"n\":{serial},\"mark\":\"~{at:0AT$}.{serial:0SERIAL$}~\",\"filling\":\"");
        format!("{start}{}\"}}", "x".repeat(bytes.saturating_sub(start.len() + 2)))
    }

    /// The mark in a line of a stream, if there is one.
    pub fn find(line: &[u8]) -> Option<Self> {
        let start = memchr::memchr(EDGE, line)? + 1;
        let mark = line.get(start..start + AT + SERIAL + 2)?;
        let (at, serial) = (number(&mark[..AT])?, number(&mark[AT + 1..AT + 1 + SERIAL])?);
        (mark[AT] == b'.' && mark[mark.len() - 1] == EDGE).then_some(Self { at, serial: serial as u32 })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_found_in_data_of_any_size() {
        for (at, serial, bytes) in
            [(0, 0, Mark::LEAST), (1_795_233_375, 42, 200), (9_999_999_999_999_999, 99_999_999, 200)]
        {
            let mark = Mark { at, serial };
            let data = mark.data(bytes);
            assert!(serde_json::from_str::<serde_json::Value>(&data).is_ok(), "{data}");
            assert_eq!(data.len(), bytes.max(data.len() - data.matches('x').count()), "{data}");
            assert_eq!(Mark::find(format!("data: {{\"data\":{data}}}").as_bytes()), Some(mark));
        }
    }

    #[test]
    fn is_not_found_in_what_only_looks_like_it() {
        for line in [
            "",
            "~",
            "data: x",
            "~000000179523337x.00000042~",
            "~0000001795233375.00000042",
            "~0000001795233375,00000042~",
        ] {
            assert_eq!(Mark::find(line.as_bytes()), None, "{line}");
        }
    }
}
