//! The kinds of value a setting can have: how each is read from text, bounded, and shown.

mod own;
mod plain;

pub(super) use own::{Hosts, Level, Line, Name, Networks, Pages, Parts, Spread, Topics, Where};
pub(super) use plain::{Address, Count, Millis, OptionalAddress, PathTo, Size, Span, Switch};

/// One kind of value. What [`Kind::show`] gives, [`Kind::read`] takes, unless a secret was masked.
pub(super) trait Kind {
    /// What the text becomes.
    type Value;

    /// The value, or what was expected instead.
    fn read(&self, text: &str) -> Result<Self::Value, String>;

    /// The value as TOML, without its secrets.
    fn show(&self, value: &Self::Value) -> toml::Value;

    /// What is allowed, with an example.
    fn allowed(&self) -> String;

    /// What the flag means without a value, if it may stand so.
    fn bare(&self) -> Option<&'static str> {
        None
    }

    /// A wrong text, fit to be shown.
    fn mask(&self, text: &str) -> String {
        shorten(text)
    }
}

/// How much of a wrong value an error repeats, in characters.
const SHOWN: usize = 80;

/// The text, cut where it would fill the screen.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
