//! Reading lines of bounded length.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// A line without its end, or only the fact that it was too long.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// The longest line that is taken, in bytes: far above the largest event.
pub const LONGEST: usize = 1024 * 1024;

/// The next line; `None` at the end.
pub async fn next(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Line>> {
    let (mut line, mut any, mut too_long) = (Vec::new(), false, false);
    loop {
        let buffered = reader.fill_buf().await?;
        let end = buffered.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(buffered.len());
        any |= !buffered.is_empty();
        if line.len() + taken > LONGEST {
            (line, too_long) = (Vec::new(), true);
        } else if !too_long {
            line.extend_from_slice(&buffered[..taken]);
        }
        let last = buffered.is_empty();
        reader.consume(taken + usize::from(end.is_some()));
        if end.is_some() || last {
            return Ok(any.then_some(if too_long { Line::TooLong } else { Line::Whole(line) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_and_a_rest_without_end() {
        let mut reader = &b"one\n\ntwo\r\nrest"[..];
        let mut lines = Vec::new();
        while let Some(line) = next(&mut reader).await.unwrap() {
            lines.push(line);
        }
        let whole = |text: &str| Line::Whole(text.into());
        assert_eq!(lines, [whole("one"), whole(""), whole("two\r"), whole("rest")]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_passed_over_whole() {
        let text = [&vec![b'x'; LONGEST + 1][..], b"\nnext\n"].concat();
        let mut reader = tokio::io::BufReader::with_capacity(1000, &text[..]);
        assert_eq!(next(&mut reader).await.unwrap(), Some(Line::TooLong));
        assert_eq!(next(&mut reader).await.unwrap(), Some(Line::Whole(b"next".into())));
        assert_eq!(next(&mut reader).await.unwrap(), None);
    }
}
