//! The entries of the two kinds of stream.
//!
//! A journal entry has a field `a` for each address of the publish. An address's entry has one field, `m`: the message
//! ([`crate::message`]) without id and epoch, as the entry's own id is the id.

use crate::{Address, Invalid};

/// The field that holds a message.
pub const MESSAGE: &str = "m";
/// The field that holds an address.
pub const ADDRESS: &str = "a";

/// The fields of a journal entry.
pub fn journal_fields(addresses: &[Address]) -> Vec<(&'static str, String)> {
    addresses.iter().map(|address| (ADDRESS, address.to_string())).collect()
}

/// The addresses that a journal entry names; fields of other names are passed over.
pub fn journal_addresses<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Vec<Address>, Invalid> {
    fields.into_iter().filter(|(name, _)| *name == ADDRESS).map(|(_, text)| text.parse()).collect()
}

/// The message in an address's entry.
pub fn message<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<&'a str, Invalid> {
    let found = fields.into_iter().find(|(name, _)| *name == MESSAGE);
    found.map(|(_, text)| text).ok_or_else(|| Invalid::new("stream entry", "", "an entry with a field m"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn journal_round_trips(texts in vec(crate::address::tests::any_address(), 1..9)) {
            let addresses: Vec<Address> = texts.iter().map(|text| text.parse().unwrap()).collect();
            let fields = journal_fields(&addresses);
            let read = journal_addresses(fields.iter().map(|(name, text)| (*name, text.as_str()))).unwrap();
            prop_assert_eq!(read, addresses);
        }

        #[test]
        fn never_panics(fields: Vec<(String, String)>) {
            let borrowed = || fields.iter().map(|(name, text)| (name.as_str(), text.as_str()));
            let _ = journal_addresses(borrowed());
            let _ = message(borrowed());
        }
    }
}
