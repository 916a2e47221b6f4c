//! What a connection follows, and what it asks for besides addresses.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidings_shared::Address;

use crate::frame::{Frame, NameLine};

/// What a connection follows.
#[derive(Debug, Clone)]
pub struct Follow {
    /// The addresses, none twice.
    pub addresses: Arc<[Arc<Address>]>,
    /// The time in which it wants at most one refresh of an address.
    pub every: Option<Duration>,
    /// What it asks for besides. Most connections ask for nothing, and this costs them a pointer.
    pub options: Option<Rc<FollowOptions>>,
}

/// What a connection asks for besides addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowOptions {
    /// The types of events that it wants; all if there are none.
    pub types: StringSet,
    /// The senders whose events it skips.
    pub not: StringSet,
    /// The SSE event name under which it hears all its messages, in place of the publishers'.
    pub name: Option<NameLine>,
    /// The parameters of its request that nobody knows. `tidings.ready` names them.
    pub ignored: Vec<String>,
}

/// A small set of strings that is looked up far more often than it is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StringSet(Box<[Box<str>]>);

impl Follow {
    /// Follows all events of these addresses.
    pub fn all(addresses: impl Into<Arc<[Arc<Address>]>>) -> Self {
        Self { addresses: addresses.into(), every: None, options: None }
    }

    /// Whether it wants this event of those that come to its addresses.
    pub fn wants(&self, frame: &Frame) -> bool {
        self.options.as_ref().is_none_or(|options| options.wants(frame))
    }

    /// Whether it wants every event that comes to its addresses.
    pub fn wants_all(&self) -> bool {
        self.options.as_ref().is_none_or(|options| options.types.is_empty() && options.not.is_empty())
    }

    /// The line of the SSE event name under which it hears all its messages, if it asked for one.
    pub fn name(&self) -> Option<&NameLine> {
        self.options.as_ref()?.name.as_ref()
    }

    /// The parameters of its request that nobody knows.
    pub fn ignored(&self) -> &[String] {
        self.options.as_ref().map_or(&[], |options| &options.ignored)
    }
}

impl FollowOptions {
    fn wants(&self, frame: &Frame) -> bool {
        let skipped = !self.not.is_empty() && frame.sender().is_some_and(|sender| self.not.contains(sender));
        let of_type = |event_type| self.types.contains(event_type);
        !skipped && (self.types.is_empty() || frame.event_type().is_some_and(of_type))
    }
}

impl StringSet {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `text` is one of them.
    pub fn contains(&self, text: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(text)).is_ok()
    }
}

impl From<BTreeSet<String>> for StringSet {
    /// Sorted already, as the look-up needs it.
    fn from(strings: BTreeSet<String>) -> Self {
        Self(strings.into_iter().map(String::into_boxed_str).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_it_was_made_of() {
        let set = StringSet::from(BTreeSet::from(["b", "a", "order.updated"].map(str::to_owned)));
        assert!(["a", "b", "order.updated"].iter().all(|text| set.contains(text)));
        assert!(["", "order", "c"].iter().all(|text| !set.contains(text)));
        assert!(StringSet::default().is_empty() && !set.is_empty());
    }
}
