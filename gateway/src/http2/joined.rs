//! A body whose chunks are joined: what is ready goes out in one frame, not in one for each event.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_http::body::{BoxBody, MessageBody};
use bytes::{Bytes, BytesMut};

/// Bytes that are joined, about: as much as a frame of HTTP/2 holds unless both sides agree on more.
const ENOUGH: usize = 16 * 1024;

/// What a body yields next; `None` at its end.
type Next = Option<Result<Bytes, <BoxBody as MessageBody>::Error>>;

/// A body whose chunks are joined as far as they are ready.
pub(crate) struct Joined {
    body: BoxBody,
    /// What came behind chunks that were joined, and is no chunk: the end, or a failure.
    end: Option<Next>,
}

impl Joined {
    /// Joins the chunks of `body`.
    pub(crate) fn new(body: BoxBody) -> Self {
        Self { body, end: None }
    }

    /// All that is ready, but not much more than a frame holds. A chunk that comes alone is not copied.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        if let Some(end) = self.end.take() {
            return Poll::Ready(end);
        }
        let first = match ready!(Pin::new(&mut self.body).poll_next(context)) {
            Some(Ok(first)) => first,
            end => return Poll::Ready(end),
        };
        let mut joined = BytesMut::new();
        while first.len().max(joined.len()) < ENOUGH {
            match Pin::new(&mut self.body).poll_next(context) {
                Poll::Ready(Some(Ok(more))) => {
                    if joined.is_empty() {
                        joined.extend_from_slice(&first);
                    }
                    joined.extend_from_slice(&more);
                }
                Poll::Ready(end) => {
                    self.end = Some(end);
                    break;
                }
                Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(if joined.is_empty() { first } else { joined.freeze() })))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use actix_http::body::BodyStream;
    use futures_util::stream;

    use super::*;

    /// A body that yields these: a chunk, that there is none yet (`""`), or a failure (`"!"`).
    fn joined(steps: Vec<&'static str>) -> Joined {
        let mut steps = steps.into_iter();
        let stream = stream::poll_fn(move |context| match steps.next() {
            Some("") => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some("!") => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
            step => Poll::Ready(step.map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())))),
        });
        Joined::new(BoxBody::new(BodyStream::new(stream)))
    }

    /// What comes out: a chunk, that there is none yet, a failure, or the end.
    fn told(mut joined: Joined) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            told.push(match joined.poll_next(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(Ok(chunk))) => String::from_utf8(chunk.to_vec()).unwrap(),
                Poll::Ready(Some(Err(_))) => "!".to_owned(),
                Poll::Ready(None) => return told,
                Poll::Pending => String::new(),
            });
        }
    }

    #[test]
    fn what_is_ready_comes_together_and_nothing_is_waited_for() {
        assert_eq!(told(joined(vec!["a", "b", "", "c", "", "", "d", "e"])), ["ab", "c", "", "de"]);
        assert_eq!(told(joined(vec!["", "a"])), ["", "a"]);
    }

    #[test]
    fn a_failure_comes_behind_what_was_ready_before_it() {
        assert_eq!(told(joined(vec!["a", "b", "!"])), ["ab", "!"]);
        assert_eq!(told(joined(vec!["!"])), ["!"]);
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let large: &'static str = Box::leak("x".repeat(ENOUGH - 1).into_boxed_str());
        assert_eq!(
            told(joined(vec![large, "a", "b", large, large])).iter().map(String::len).collect::<Vec<_>>(),
            [ENOUGH, ENOUGH, ENOUGH - 1]
        );
    }
}
