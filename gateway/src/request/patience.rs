//! How long the body of a request may take. A client that stalls must not hold memory and a descriptor for ever.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::problem::{Kind, Problem};

/// The longest pause between two pieces of a body.
const STALL: Duration = Duration::from_secs(10);
/// The longest time for a whole body: 8 MiB at 140 KiB a second.
const WHOLE: Duration = Duration::from_secs(60);

/// The time that is left for a body.
#[derive(Debug)]
pub(crate) struct Patience {
    timer: Pin<Box<Sleep>>,
    end: Instant,
    /// Shared with who answers the request: the handler sees only that the body could not be read.
    late: Rc<Cell<bool>>,
}

impl Patience {
    /// Time for a body that begins now.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { timer: Box::pin(sleep_until(now + STALL)), end: now + WHOLE, late: Rc::default() }
    }

    /// Becomes true when the time is over.
    pub(crate) fn late(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.late)
    }

    /// Something has come.
    pub(crate) fn renew(&mut self) {
        let until = (Instant::now() + STALL).min(self.end);
        self.timer.as_mut().reset(until);
    }

    /// Ready when the time is over.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let over = self.timer.as_mut().poll(context);
        if over.is_ready() {
            self.late.set(true);
        }
        over
    }

    /// The answer to a request whose body came too late.
    pub(crate) fn problem() -> Problem {
        let (stall, whole) = (STALL.as_secs(), WHOLE.as_secs());
        let detail = format!("the body stalled for {stall} s, or took more than {whole} s: send it again");
        Problem::new(Kind::RequestTimeout, detail)
    }
}
