//! What tests switch off: mechanisms without which events are lost in silence, so that a test can show that it would tell.
//!
//! `TIDINGS_TEST_WITHOUT=journal,beacon` is read with the rest of the environment, and only by a build with debug
//! assertions: a release passes it over. The rest of the program is handed a [`Without`], and asks it where a mechanism is:
//!
//! | name | what is off | where |
//! |---|---|---|
//! | `journal` | recovery does not read the journal: a partition goes on with what comes | `reader/recovery.rs` |
//! | `beacon` | beacons that do not come, or cannot be sent, are not noticed | `reader/mod.rs`, `reader/answers.rs` |
//! | `replay` | whoever comes with a cursor begins now | `reader/commands.rs` |
//! | `epoch` | all epochs of the store are read as one: [`Without::epoch`] | `store/redis/client.rs`, `reader/pushes.rs` |
//! | `run` | the beacon script is not told which server process it runs on | `store/redis/client.rs` |
//! | `lift` | the ids seen are not told to the beacon script | `store/redis/client.rs` |
//! | `complete` | history and journal always say that nothing is gone | `store/redis/answers.rs`, `client.rs` |
//! | `scripts` | a server is sent each script once, and not again when it has forgotten it | `store/redis/scripts.rs` |
//! | `moved` | `MOVED`, and subscriptions that the server ends, are ignored | `store/redis/node.rs` |
//! | `fence` | the server that was the primary is left to itself | `store/redis/fence.rs` |
//! | `watch` | nobody is asked who the primaries are | `store/redis/watch.rs` |
//! | `partitions` | nobody is told how many partitions there are | `store/redis/claim.rs`, `client.rs` |
//! | `marks` | beacons leave no marks, so history that goes back goes unnoticed | `store/redis/client.rs` |
//! | `foreign` | bytes of no publisher fail the whole read, over and over | `store/redis/answers.rs`, `reader/attach.rs` |
//! | `log` | the thread that logs a line writes it itself | `log/mod.rs` |
//! | `pulse` | the reader's sign of life comes from another thread, also while the reader is stuck | `reader/mod.rs` |
//! | `reader` | the reader panics when a connection joins | `reader/commands.rs` |
//! | `hub` | the task that feeds a hub panics at the first delivery | `hub/worker.rs` |
//! | `listener` | the public server ends when there is a connection | `run.rs` |

use std::fmt;

use tidings_shared::Epoch;

/// The variable that tests set.
pub const VARIABLE: &str = "TIDINGS_TEST_WITHOUT";

/// A mechanism that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table above says what each is")]
pub enum Mechanism {
    Journal,
    Beacon,
    Replay,
    Epoch,
    Run,
    Lift,
    Complete,
    Scripts,
    Moved,
    Fence,
    Watch,
    Partitions,
    Marks,
    Foreign,
    Log,
    Pulse,
    Reader,
    Hub,
    Listener,
}

/// All of them, with their names.
const NAMES: [(&str, Mechanism); 19] = [
    ("journal", Mechanism::Journal),
    ("beacon", Mechanism::Beacon),
    ("replay", Mechanism::Replay),
    ("epoch", Mechanism::Epoch),
    ("run", Mechanism::Run),
    ("lift", Mechanism::Lift),
    ("complete", Mechanism::Complete),
    ("scripts", Mechanism::Scripts),
    ("moved", Mechanism::Moved),
    ("fence", Mechanism::Fence),
    ("watch", Mechanism::Watch),
    ("partitions", Mechanism::Partitions),
    ("marks", Mechanism::Marks),
    ("foreign", Mechanism::Foreign),
    ("log", Mechanism::Log),
    ("pulse", Mechanism::Pulse),
    ("reader", Mechanism::Reader),
    ("hub", Mechanism::Hub),
    ("listener", Mechanism::Listener),
];

/// The mechanisms that are switched off; by default, and always in a release, none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Without(u32);

/// A name that no mechanism has.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown(pub String);

impl Without {
    /// Those that `text` names, separated by commas.
    pub fn parse(text: &str) -> Result<Self, Unknown> {
        let mut without = Self::default();
        for name in text.split(',').filter(|name| !name.is_empty()) {
            let known = NAMES.iter().find(|(known, _)| *known == name);
            let (_, mechanism) = known.ok_or_else(|| Unknown(name.to_owned()))?;
            without.0 |= mechanism.bit();
        }
        Ok(without)
    }

    /// Whether this one is switched off.
    pub fn lacks(self, mechanism: Mechanism) -> bool {
        self.0 & mechanism.bit() != 0
    }

    /// Panics if this part is switched off: so a test sees what becomes of the process.
    pub fn panic_if_lacking(self, part: Mechanism) {
        assert!(!self.lacks(part), "{part:?} is switched off by a test");
    }

    /// Whether none is.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// An epoch that the store told, as it is to be read.
    pub fn epoch(self, told: Epoch) -> Epoch {
        if self.lacks(Mechanism::Epoch) { Epoch::from_random(0) } else { told }
    }

    /// What [`Self::parse`] takes, in words.
    pub fn allowed() -> String {
        format!("some of {}, separated by commas", NAMES.map(|(name, _)| name).join(", "))
    }
}

impl fmt::Display for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let off = NAMES.iter().filter(|(_, mechanism)| self.lacks(*mechanism));
        let names: Vec<&str> = off.map(|(name, _)| *name).collect();
        f.write_str(&names.join(","))
    }
}

impl Mechanism {
    fn bit(self) -> u32 {
        1 << self as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_switches_off_its_own() {
        for (name, mechanism) in NAMES {
            let without = Without::parse(name).unwrap();
            let lacking: Vec<_> = NAMES.iter().filter(|(_, other)| without.lacks(*other)).collect();
            assert_eq!(lacking, [&(name, mechanism)]);
        }
        assert_eq!(Without::parse("").unwrap(), Without::default());
    }

    #[test]
    fn several_are_named_and_told() {
        let without = Without::parse("watch,journal").unwrap();
        assert_eq!(without.to_string(), "journal,watch");
        assert!(!without.is_nothing() && Without::default().is_nothing());
    }

    #[test]
    fn a_name_that_there_is_not_is_told() {
        assert_eq!(Without::parse("journal,beakon"), Err(Unknown("beakon".to_owned())));
        assert_eq!(Without::parse("journal, beacon"), Err(Unknown(" beacon".to_owned())));
        assert!(Without::allowed().contains("beacon"));
    }

    #[test]
    fn all_epochs_are_one_if_none_is_to_be_told_from_another() {
        let (one, two) = (Epoch::from_random(1), Epoch::from_random(2));
        let (all, none) = (Without::default(), Without::parse("epoch").unwrap());
        assert!(all.epoch(one) == one && all.epoch(two) == two);
        assert_eq!(none.epoch(one), none.epoch(two));
    }
}
