//! The labels of the metrics: every value that a label can have.

use crate::admission::Limit;
use crate::control::{Goodbye, Reason};

/// A label whose values are all known, so that each has its series, at 0, before anything happens.
pub(super) trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value.
    const ALL: &'static [Self];

    /// How it is written.
    fn text(self) -> &'static str;
}

macro_rules! labels {
    ($($(#[$doc:meta])* $type:ident, $name:literal: { $($(#[$about:meta])* $value:ident = $text:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$about])* $value,)+
        }

        impl Label for $type {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &[$(Self::$value),+];

            fn text(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }
    )+};
}

labels! {
    /// How a client asked.
    Connect, "kind": {
        /// For an event stream.
        Stream = "stream",
        /// For a long poll.
        Poll = "poll",
    }

    /// Where the answer to a cursor came from.
    Resume, "source": {
        /// From recent frames in memory.
        Memory = "memory",
        /// From the store.
        Store = "store",
        /// From nowhere: nothing was missed, or all is resynced.
        None = "none",
    }

    /// What the store was read for.
    Read, "kind": {
        /// For a client that came back.
        Resume = "resume",
        /// For an address that is new to this gateway.
        Attach = "attach",
        /// For what was missed while the link was down.
        Recover = "recover",
    }

    /// Where the store held something that is none of ours.
    Foreign, "in": {
        /// A journal entry with an address that this version does not have.
        Journal = "journal",
        /// An entry of an address that is no message.
        History = "history",
        /// A push that is no message.
        Push = "push",
    }

    /// How a publish through this gateway ended.
    Publish, "outcome": {
        /// It is in the store.
        Ok = "ok",
        /// It was there already.
        Duplicate = "duplicate",
        /// It was refused.
        Invalid = "invalid",
        /// The store did not take it, or did not say so.
        Failed = "failed",
    }
}

impl Label for Limit {
    const NAME: &'static str = "limit";
    const ALL: &'static [Self] = &Self::ALL;

    fn text(self) -> &'static str {
        self.as_str()
    }
}

impl Label for Goodbye {
    const NAME: &'static str = "reason";
    /// One that is over a limit has not begun, and is counted as refused.
    const ALL: &'static [Self] = &[Self::Drain, Self::MaxAge, Self::Store];

    fn text(self) -> &'static str {
        self.as_str()
    }
}

impl Label for Reason {
    const NAME: &'static str = "reason";
    const ALL: &'static [Self] = &Self::ALL;

    fn text(self) -> &'static str {
        self.as_str()
    }
}
