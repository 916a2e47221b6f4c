//! Who follows what, and to whom events go. Every process works it out by itself from the number of a connection.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// Who follows what. All addresses have the same length, so that all events have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plan {
    /// All follow one topic.
    Broadcast,
    /// Each follows a user of its own.
    Keyed,
    /// Each follows a user of its own and [`TOPICS`] of so many topics, the first of which are the popular ones.
    Mixed {
        /// How many topics there are.
        topics: u32,
    },
}

/// Topics that a connection follows in [`Plan::Mixed`]; fewer if it draws one twice.
const TOPICS: usize = 3;
/// Of 100 events in [`Plan::Mixed`], those that go to a topic; the others go to a user.
const TO_TOPICS: u32 = 20;

impl Plan {
    /// What a connection follows.
    pub fn follows(self, connection: u32) -> Vec<String> {
        match self {
            Self::Broadcast => vec![topic(0)],
            Self::Keyed => vec![user(connection)],
            Self::Mixed { topics } => {
                let mut draw = Rng::with_seed(u64::from(connection));
                // Zipf's law, nearly: the weight of topic k is about 1 / k.
                let mut popular = || (f64::from(topics + 1).powf(draw.f64()) as u32).clamp(1, topics) - 1;
                let mut drawn: Vec<u32> = (0..TOPICS).map(|_| popular()).collect();
                drawn.sort_unstable();
                drawn.dedup();
                std::iter::once(user(connection)).chain(drawn.into_iter().map(topic)).collect()
            }
        }
    }

    /// To whom the next event goes, with so many connections. Topics are drawn evenly: the popular reach more.
    pub fn draw(self, connections: u32, draw: &mut Rng) -> String {
        match self {
            Self::Broadcast => topic(0),
            Self::Mixed { .. } if draw.u32(..100) < TO_TOPICS => self.draw_topic(draw),
            Self::Keyed | Self::Mixed { .. } => user(draw.u32(..connections)),
        }
    }

    /// Any topic, all of them alike.
    pub fn draw_topic(self, draw: &mut Rng) -> String {
        match self {
            Self::Broadcast | Self::Keyed => topic(0),
            Self::Mixed { topics } => topic(draw.u32(..topics)),
        }
    }

    /// All topics that there are.
    pub fn topics(self) -> Vec<String> {
        match self {
            Self::Broadcast => vec![topic(0)],
            Self::Keyed => Vec::new(),
            Self::Mixed { topics } => (0..topics).map(topic).collect(),
        }
    }
}

/// A topic's address.
pub fn topic(number: u32) -> String {
    format!("t/{number:05}")
}

fn user(number: u32) -> String {
    format!("@u{number:05}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn all_addresses_have_one_length() {
        let mut draw = Rng::with_seed(1);
        for plan in [Plan::Broadcast, Plan::Keyed, Plan::Mixed { topics: 100 }] {
            let drawn = (0..100).map(|_| plan.draw(15_000, &mut draw));
            let followed = (0..100).flat_map(|connection| plan.follows(connection));
            assert!(drawn.chain(followed).all(|address| address.len() == topic(0).len()));
        }
    }

    #[test]
    fn some_topics_are_popular_and_none_is_left_out() {
        let plan = Plan::Mixed { topics: 100 };
        let mut followers: HashMap<String, u32> = HashMap::new();
        (0..15_000).flat_map(|connection| plan.follows(connection)).for_each(|a| *followers.entry(a).or_default() += 1);
        assert!(plan.topics().iter().all(|topic| followers[topic] > 10));
        assert!(followers[&topic(0)] > 10 * followers[&topic(90)]);
    }
}
