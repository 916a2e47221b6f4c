//! What is wrong with a configuration: every mistake, each with its setting and where it was made.

use std::fmt;
use std::path::PathBuf;

use crate::tls::WrongPair;
use crate::without::{self, Unknown, Without};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// A line of the file, from 1.
    File(PathBuf, usize),
    /// This environment variable.
    Environment(String),
    /// This flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// What kind of mistake it is.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no such setting or argument; perhaps this one was meant.
    #[error("there is no such setting{}", meant(.0))]
    Unknown(Option<String>),
    /// The flag came without a value.
    #[error("it needs a value: {0}")]
    Missing(String),
    /// The value is not what the setting allows.
    #[error("expected {0}")]
    Value(String),
    /// The value does not go with another one.
    #[error("{0}")]
    Conflict(String),
    /// The certificate or key that it names cannot be served.
    #[error("{}", .0.reason())]
    Pair(#[source] WrongPair),
    /// The file is not TOML.
    #[error("this is not TOML: {0}")]
    Syntax(String),
    /// The file could not be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(#[source] std::io::Error),
}

fn meant(name: &Option<String>) -> String {
    name.as_ref().map_or_else(|| "; --help lists them all".into(), |name| format!(", did you mean {name}?"))
}

/// One mistake. Its text is one line, without secrets.
#[derive(Debug)]
pub struct Mistake {
    /// The setting, or the argument or file where there is none.
    pub subject: String,
    /// Where it was made, unless the subject says so.
    pub origin: Option<Origin>,
    /// The value, if it helps and may be shown.
    pub value: Option<String>,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject)?;
        if let Some(value) = &self.value {
            write!(f, " = {value:?}")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl From<Unknown> for Mistake {
    fn from(Unknown(name): Unknown) -> Self {
        let fault = Fault::Value(Without::allowed());
        Self { subject: without::VARIABLE.to_owned(), origin: None, value: Some(name), fault }
    }
}

/// All mistakes of a configuration: first what could not be read at all, then values by layer, then what does not go together.
#[derive(Debug, Default)]
pub struct Errors(Vec<Mistake>);

impl Errors {
    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Mistake> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the value of this setting is in doubt: it was wrong, or the file that might give it could not be read.
    pub(super) fn doubt(&self, key: &str) -> bool {
        let whole = |fault: &Fault| matches!(fault, Fault::Syntax(_) | Fault::Unreadable(_));
        self.iter().any(|mistake| mistake.subject == key || whole(&mistake.fault))
    }

    pub(crate) fn push(&mut self, mistake: Mistake) {
        self.0.push(mistake);
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0.len() == 1 { "mistake" } else { "mistakes" };
        write!(f, "the configuration has {} {noun}:", self.0.len())?;
        self.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Errors {}
