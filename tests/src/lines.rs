//! The lines of an event stream, by the rules of the WHATWG HTML standard, from chunks of any size.

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Splits bytes into lines at LF, CR and CRLF, and takes off one byte order mark at the very start.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    after_cr: bool,
    after_first: bool,
    bom: bool,
}

impl Lines {
    /// Calls `line` with each line that these bytes complete, without its end.
    pub fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for &byte in bytes {
            match byte {
                b'\n' if self.after_cr => {}
                b'\n' | b'\r' => {
                    line(&self.line);
                    self.line.clear();
                    self.after_first = true;
                }
                _ => self.push(byte),
            }
            self.after_cr = byte == b'\r';
        }
    }

    fn push(&mut self, byte: u8) {
        self.line.push(byte);
        if !self.after_first && !self.bom && self.line == BOM {
            self.line.clear();
            self.bom = true;
        }
    }

    /// Whether the stream began with a byte order mark.
    pub fn had_bom(&self) -> bool {
        self.bom
    }
}

/// A field and its value; `None` for a comment.
pub fn field(line: &str) -> Option<(&str, &str)> {
    match line.split_once(':') {
        Some(("", _)) => None,
        Some((name, value)) => Some((name, value.strip_prefix(' ').unwrap_or(value))),
        None => Some((line, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.feed(chunk, |line| found.push(String::from_utf8_lossy(line).into_owned()));
        }
        found
    }

    #[test]
    fn every_line_end() {
        assert_eq!(split(&[b"a\nb\rc\r\nd\n\re\r\r\n\n"]), ["a", "b", "c", "d", "", "e", "", ""]);
        assert_eq!(split(&[b"a\r", b"\nb\n"]), ["a", "b"]);
        assert_eq!(split(&[b"a\r", b"", b"\n", b"\n"]), ["a", ""]);
        assert_eq!(split(&[b"unfinished"]), [""; 0]);
    }

    #[test]
    fn one_mark_at_the_start_only() {
        assert_eq!(split(&[b"\xEF\xBB\xBFa\n"]), ["a"]);
        assert_eq!(split(&[b"\xEF", b"\xBB", b"\xBFa\n\xEF\xBB\xBFb\n"]), ["a", "\u{feff}b"]);
        assert_eq!(split(&[b"\xEF\xBB\xBF\xEF\xBB\xBFa\n"]), ["\u{feff}a"]);
    }

    #[test]
    fn fields() {
        assert_eq!(field("data: x: y"), Some(("data", "x: y")));
        assert_eq!(field("data:  x"), Some(("data", " x")));
        assert_eq!(field("data:x"), Some(("data", "x")));
        assert_eq!(field("data"), Some(("data", "")));
        assert_eq!(field(": comment"), None);
        assert_eq!(field("data : x"), Some(("data ", "x")));
    }
}
