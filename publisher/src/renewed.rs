//! A value that is made when it is needed, shared while it is good, and made anew after that: a connection, say.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use crate::Error;
use crate::backoff::Backoff;

/// Owns the value. Whoever finds it bad discards it, and the next who asks makes another.
pub(crate) struct Renewed<T> {
    state: Mutex<State<T>>,
}

/// Which of the values that came one after another.
pub type Generation = u64;

struct State<T> {
    value: Option<T>,
    /// So that one failure discards only the value that it came from.
    generation: Generation,
    backoff: Backoff,
    /// After a failure to make one: until when nobody tries again, and what everybody is told meanwhile.
    rest: Option<(Instant, Error)>,
}

impl<T: Clone> Renewed<T> {
    /// Without a value yet.
    pub(crate) fn new() -> Self {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        Self { state: Mutex::new(State { value: None, generation: 0, backoff, rest: None }) }
    }

    /// The value and its generation; what `make` gives if there is none. Others wait meanwhile. Right after a failure,
    /// and for a jittered while, all are told of that failure instead of trying themselves.
    ///
    /// `make` boxes what it does, as it is rarely needed and large: else every publish would carry room for it.
    pub(crate) async fn get<'a>(
        &self,
        make: impl FnOnce() -> BoxFuture<'a, Result<T, Error>>,
    ) -> Result<(T, Generation), Error> {
        let mut state = self.state.lock().await;
        if let Some(value) = &state.value {
            return Ok((value.clone(), state.generation));
        }
        if let Some((until, error)) = &state.rest
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        match make().await {
            Ok(value) => {
                state.value = Some(value.clone());
                state.generation += 1;
                state.backoff.reset();
                state.rest = None;
                Ok((value, state.generation))
            }
            Err(error) => {
                let delay = state.backoff.next(fastrand::f64());
                state.rest = Some((Instant::now() + delay, error.clone()));
                Err(error)
            }
        }
    }

    /// Lets go of the value if it is still this one.
    pub(crate) async fn discard(&self, generation: Generation) {
        let mut state = self.state.lock().await;
        if state.generation == generation {
            state.value = None;
        }
    }

    /// Changes the value, whichever it is by now, if there is one.
    pub(crate) async fn amend(&self, change: impl FnOnce(&mut T)) {
        if let Some(value) = &mut self.state.lock().await.value {
            change(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[tokio::test]
    async fn is_made_once_and_again_after_it_was_discarded() {
        let kept = Renewed::new();
        assert_eq!(kept.get(|| Box::pin(async { Ok(1) })).await.unwrap(), (1, 1));
        assert_eq!(kept.get(|| Box::pin(async { Ok(2) })).await.unwrap(), (1, 1));
        kept.amend(|value| *value += 10).await;
        kept.discard(0).await;
        assert_eq!(kept.get(|| Box::pin(async { Ok(2) })).await.unwrap(), (11, 1), "the failure of another one");
        kept.discard(1).await;
        kept.amend(|value| *value += 10).await;
        assert_eq!(kept.get(|| Box::pin(async { Ok(2) })).await.unwrap(), (2, 2));
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_for_a_while() {
        let kept = Renewed::new();
        let away = || Error::told(ErrorKind::Unavailable, "away");
        kept.get(|| Box::pin(async { Err::<u8, _>(away()) })).await.unwrap_err();
        let told = kept.get(|| Box::pin(async { panic!("asked again at once") })).await.unwrap_err();
        assert_eq!(told.to_string(), away().to_string());
    }
}
