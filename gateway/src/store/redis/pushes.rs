//! What a connection brings without being asked: messages, and the end of subscriptions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::SendError;
use redis::{PushInfo, PushKind, Value};

use crate::store::session::PushSink;

/// The sharded channels whose subscription we end, and how often we shall be told so. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Leaving {
    channels: Arc<Mutex<HashMap<Box<str>, u32>>>,
}

impl Leaving {
    /// These are about to be left.
    pub(super) fn leave(&self, channels: &[String]) {
        let mut leaving = self.lock();
        for channel in channels {
            *leaving.entry(channel.as_str().into()).or_default() += 1;
        }
    }

    /// Whether it is we who left this one: true as often as we did.
    fn has_left(&self, channel: &str) -> bool {
        let mut leaving = self.lock();
        let Some(times) = leaving.get_mut(channel) else { return false };
        *times -= 1;
        if *times == 0 {
            leaving.remove(channel);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, u32>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a push from the connection's own task, which must never wait.
pub(super) fn accept(sink: &PushSink, leaving: &Leaving, push: PushInfo) -> Result<(), SendError> {
    let mut texts = push.data.into_iter().map(text);
    match push.kind {
        PushKind::Message | PushKind::SMessage => {
            // A payload that is no text is handed on as an empty one, which is no message either: its
            // address is resynced. Dropping it would leave pages stale in silence.
            if let (Some(Some(channel)), Some(text)) = (texts.next(), texts.next()) {
                sink.push(channel, text.unwrap_or_default());
            }
        }
        PushKind::Disconnection => sink.close("the connection ended"),
        // A cluster's server does that when the slot is no longer its own. The connection lives on, and is silent.
        PushKind::SUnsubscribe => {
            let ours = texts.next().flatten().is_some_and(|channel| leaving.has_left(&channel));
            if !ours {
                sink.close("the server ended a subscription, as the slot moved to another");
            }
        }
        _ => {}
    }
    if sink.is_closed() { Err(SendError) } else { Ok(()) }
}

fn text(value: Value) -> Option<Box<str>> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok().map(String::into_boxed_str),
        Value::SimpleString(text) => Some(text.into_boxed_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::session;

    fn word(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn left(channel: &str) -> PushInfo {
        PushInfo { kind: PushKind::SUnsubscribe, data: vec![word(channel), Value::Int(0)] }
    }

    #[test]
    fn only_an_end_that_we_did_not_ask_for_breaks_the_session() {
        let (sink, _pushes) = session::pushes();
        let leaving = Leaving::default();
        leaving.leave(&["a".to_owned(), "b".to_owned()]);
        leaving.leave(&["a".to_owned()]);
        for channel in ["a", "b", "a"] {
            assert!(accept(&sink, &leaving, left(channel)).is_ok());
        }
        assert!(!sink.is_closed());
        assert!(accept(&sink, &leaving, left("a")).is_err());
        assert!(sink.is_closed());
    }

    #[test]
    fn a_message_that_is_no_text_is_handed_on() {
        let (sink, mut pushes) = session::pushes();
        let data = vec![word("{tidings:0}:t:a"), Value::BulkString(vec![0xff])];
        accept(&sink, &Leaving::default(), PushInfo { kind: PushKind::Message, data }).unwrap();
        let push = pushes.try_recv().unwrap();
        assert_eq!((&*push.channel, &*push.text), ("{tidings:0}:t:a", ""));
    }

    #[test]
    fn sharded_messages_are_messages() {
        let (sink, mut pushes) = session::pushes();
        let data = vec![word("{tidings:0}:t:a"), word("text")];
        accept(&sink, &Leaving::default(), PushInfo { kind: PushKind::SMessage, data }).unwrap();
        let push = pushes.try_recv().unwrap();
        assert_eq!((&*push.channel, &*push.text), ("{tidings:0}:t:a", "text"));
    }
}
