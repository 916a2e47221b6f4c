//! The body of a request as it comes: bytes by length, or chunks.

use bytes::{Buf, Bytes, BytesMut};

use super::head::Framing;

/// A line of a chunk's size with its extensions, at the most.
const LINE: usize = 1_024;
/// All trailers together, at the most. They are not looked at.
const TRAILERS: usize = 8 * 1_024;

/// Where a body is.
///
/// ```text
/// Length(n) ─────────────────────────► Done
/// Size ─► Data(n) ─► DataEnd ─► Size …
///   └─(0)─► Trailer ─────────────────► Done
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoder {
    /// So many bytes are left.
    Length(u64),
    /// The size of a chunk comes next.
    Size,
    /// So many bytes of a chunk are left.
    Data(u64),
    /// The line end behind a chunk comes next.
    DataEnd,
    /// Trailers come next, so many bytes at the most.
    Trailer(usize),
    /// Nothing is left.
    Done,
}

/// Bytes that are no chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadChunk;

impl Decoder {
    /// At the beginning of a body.
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Size,
        }
    }

    /// Whether the body is whole.
    pub(super) fn is_done(self) -> bool {
        self == Self::Done
    }

    /// Takes the next bytes of the body from what was read. `None` if there are none, as more must be read or the body is
    /// whole.
    pub(super) fn decode(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, BadChunk> {
        loop {
            match *self {
                Self::Done => return Ok(None),
                Self::Length(left) => return Ok(self.take(read, left, Self::Length, Self::Done)),
                Self::Data(left) => return Ok(self.take(read, left, Self::Data, Self::DataEnd)),
                Self::Size => {
                    let Some(line) = line(read, LINE)? else { return Ok(None) };
                    *self = match size(&line)? {
                        0 => Self::Trailer(TRAILERS),
                        size => Self::Data(size),
                    };
                }
                Self::DataEnd => {
                    let Some(line) = line(read, 2)? else { return Ok(None) };
                    *self = if line.is_empty() { Self::Size } else { return Err(BadChunk) };
                }
                Self::Trailer(left) => {
                    let Some(line) = line(read, left)? else { return Ok(None) };
                    *self =
                        if line.is_empty() { Self::Done } else { Self::Trailer(left.saturating_sub(line.len() + 2)) };
                }
            }
        }
    }

    fn take(&mut self, read: &mut BytesMut, left: u64, more: fn(u64) -> Self, end: Self) -> Option<Bytes> {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(read.len());
        if count == 0 {
            return None;
        }
        let left = left - count as u64;
        *self = if left == 0 { end } else { more(left) };
        Some(read.split_to(count).freeze())
    }
}

/// The next line without its end, which must be CRLF: a bare LF is read differently by others.
fn line(read: &mut BytesMut, most: usize) -> Result<Option<Bytes>, BadChunk> {
    let Some(end) = read.iter().take(most).position(|byte| *byte == b'\n') else {
        return if read.len() >= most { Err(BadChunk) } else { Ok(None) };
    };
    let mut line = read.split_to(end + 1).freeze();
    match line.strip_suffix(b"\r\n") {
        Some(text) if !text.contains(&b'\r') => line.truncate(end - 1),
        _ => return Err(BadChunk),
    }
    Ok(Some(line))
}

/// The size of a chunk: hexadecimal digits, perhaps with extensions behind a semicolon.
fn size(line: &[u8]) -> Result<u64, BadChunk> {
    let mut line = line;
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (size, rest) = line.split_at(digits);
    line.advance(digits);
    let extension = rest.trim_ascii_start();
    if !(1..=15).contains(&size.len()) || !(extension.is_empty() || extension.starts_with(b";")) {
        return Err(BadChunk);
    }
    let text = std::str::from_utf8(size).map_err(|_| BadChunk)?;
    u64::from_str_radix(text, 16).map_err(|_| BadChunk)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A whole body, and what is left behind it.
    type Whole = (Vec<u8>, Vec<u8>);

    /// The body, read in pieces of so many bytes; `None` if it is not whole.
    fn decode(framing: Framing, bytes: &[u8], piece: usize) -> Result<Option<Whole>, BadChunk> {
        let (mut decoder, mut read, mut body) = (Decoder::new(framing), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            read.extend_from_slice(piece);
            while let Some(bytes) = decoder.decode(&mut read)? {
                body.extend_from_slice(&bytes);
            }
        }
        Ok(decoder.is_done().then(|| (body, read.to_vec())))
    }

    fn chunked(text: &str) -> Result<Option<String>, BadChunk> {
        let decoded = decode(Framing::Chunked, text.as_bytes(), 1)?;
        Ok(decoded.map(|(body, left)| format!("{}|{}", String::from_utf8_lossy(&body), String::from_utf8_lossy(&left))))
    }

    #[test]
    fn chunks_as_the_rfc_has_them() {
        for (text, body) in [
            ("0\r\n\r\n", "|"),
            ("5\r\nhello\r\n1;a=\"b\"\r\n!\r\n000\r\n\r\nGET", "hello!|GET"),
            ("A ;x\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n", "0123456789|"),
        ] {
            assert_eq!(chunked(text), Ok(Some(body.to_owned())), "{text:?}");
        }
        assert_eq!(chunked("5\r\nhel"), Ok(None));
        assert_eq!(chunked("0\r\n"), Ok(None));
    }

    #[test]
    fn what_others_might_read_differently_is_refused() {
        for text in [
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello!\r\n",
            "+5\r\nhello\r\n",
            "0x5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "\r\n",
            "5 5\r\n",
            "5\r\r\nhello\r\n",
            "ffffffffffffffff\r\n",
            "10000000000000000\r\n",
            "0\r\nTrailer: t\n\r\n",
        ] {
            assert_eq!(chunked(text), Err(BadChunk), "{text:?}");
        }
        assert_eq!(chunked(&format!("5;{}", "x".repeat(LINE))), Err(BadChunk));
        assert_eq!(chunked(&format!("0\r\n{}", "a: b\r\n".repeat(TRAILERS / 6 + 1))), Err(BadChunk));
    }

    #[test]
    fn a_length_takes_that_and_no_more() {
        let decoded = decode(Framing::Length(3), b"abcdef", 2).unwrap();
        assert_eq!(decoded, Some((b"abc".to_vec(), b"def".to_vec())));
        assert_eq!(decode(Framing::Length(3), b"ab", 2), Ok(None));
    }

    proptest! {
        #[test]
        fn what_was_cut_into_chunks_is_put_together(parts in vec(vec(any::<u8>(), 1..50), 0..10), piece in 1..40_usize) {
            let mut bytes = Vec::new();
            for part in &parts {
                bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                bytes.extend_from_slice(part);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            let decoded = decode(Framing::Chunked, &bytes, piece).unwrap();
            prop_assert_eq!(decoded, Some((parts.concat(), Vec::new())));
        }

        #[test]
        fn never_panics(bytes: Vec<u8>, piece in 1..40_usize) {
            let _ = decode(Framing::Chunked, &bytes, piece);
        }
    }
}
