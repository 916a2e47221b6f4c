//! The error of every parser here: which field, what was given, what would be right.

use std::borrow::Cow;

/// A value that is not what its field allows. Its text names the field, the value (shortened) and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value:?} is not valid: expected {expected}")]
pub struct Invalid {
    field: Cow<'static, str>,
    value: String,
    expected: Cow<'static, str>,
}

/// How much of a wrong value an error repeats, in characters.
const SHOWN: usize = 80;

impl Invalid {
    /// An error about `field`, which was `value` and should have been `expected`.
    pub fn new(field: impl Into<Cow<'static, str>>, value: &str, expected: impl Into<Cow<'static, str>>) -> Self {
        let mut shown: String = value.chars().take(SHOWN).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Self { field: field.into(), value: shown, expected: expected.into() }
    }

    /// The same error, told of another field: a topic that came in as `to[3]`, say.
    #[must_use]
    pub fn of(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = field.into();
        self
    }

    /// The field that was wrong.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What it was, shortened to 80 characters.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What it may be.
    pub fn expected(&self) -> &str {
        &self.expected
    }
}
