//! Streams that begin: each must say something soon, also if its place takes long to come.

use crate::reader::delivery::ConnectionKey;

/// The streams that came lately, in two generations.
#[derive(Debug, Default)]
pub struct Greetings {
    young: Vec<ConnectionKey>,
    old: Vec<ConnectionKey>,
}

impl Greetings {
    /// Adds a stream that begins.
    pub fn add(&mut self, key: ConnectionKey) {
        self.young.push(key);
    }

    /// Takes the streams that came before the last call.
    pub fn take_due(&mut self) -> Vec<ConnectionKey> {
        let young = std::mem::take(&mut self.young);
        std::mem::replace(&mut self.old, young)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_due_once_at_the_second_call() {
        let (mut greetings, key) = (Greetings::default(), |slot| ConnectionKey { slot, serial: 1 });
        greetings.add(key(1));
        assert_eq!(greetings.take_due(), []);
        greetings.add(key(2));
        assert_eq!(greetings.take_due(), [key(1)]);
        assert_eq!(greetings.take_due(), [key(2)]);
        assert_eq!(greetings.take_due(), []);
    }
}
