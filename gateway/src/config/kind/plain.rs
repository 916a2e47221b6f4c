//! Kinds that any program has: addresses, numbers, durations, sizes, switches.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

use super::Kind;

/// An address to listen on.
pub(in crate::config) struct Address;

impl Kind for Address {
    type Value = SocketAddr;

    fn read(&self, text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| self.allowed())
    }

    fn show(&self, value: &SocketAddr) -> toml::Value {
        value.to_string().into()
    }

    fn allowed(&self) -> String {
        "an IP address and a port, such as 127.0.0.1:8080".into()
    }
}

/// An address to listen on, or none.
pub(in crate::config) struct OptionalAddress;

impl Kind for OptionalAddress {
    type Value = Option<SocketAddr>;

    fn read(&self, text: &str) -> Result<Option<SocketAddr>, String> {
        match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| self.allowed()),
        }
    }

    fn show(&self, value: &Option<SocketAddr>) -> toml::Value {
        value.map_or_else(String::new, |address| address.to_string()).into()
    }

    fn allowed(&self) -> String {
        format!("nothing, or {}", Address.allowed())
    }
}

/// A whole number in a range.
pub(in crate::config) struct Count<T>(pub(in crate::config) RangeInclusive<T>);

impl<T: FromStr + PartialOrd + Display + Copy + TryInto<i64>> Kind for Count<T> {
    type Value = T;

    fn read(&self, text: &str) -> Result<T, String> {
        text.parse().ok().filter(|value| self.0.contains(value)).ok_or_else(|| self.allowed())
    }

    fn show(&self, value: &T) -> toml::Value {
        (*value).try_into().map_or_else(|_| value.to_string().into(), toml::Value::Integer)
    }

    fn allowed(&self) -> String {
        format!("a number from {} to {}", self.0.start(), self.0.end())
    }
}

/// A duration in a range.
pub(in crate::config) struct Span(pub(in crate::config) Duration, pub(in crate::config) Duration);

impl Kind for Span {
    type Value = Duration;

    fn read(&self, text: &str) -> Result<Duration, String> {
        let value = humantime::parse_duration(text).ok();
        value.filter(|value| (self.0..=self.1).contains(value)).ok_or_else(|| self.allowed())
    }

    fn show(&self, value: &Duration) -> toml::Value {
        humantime::format_duration(*value).to_string().into()
    }

    fn allowed(&self) -> String {
        let text = humantime::format_duration;
        format!("a duration from {} to {}, such as 5s", text(self.0), text(self.1))
    }
}

/// A duration in a range that is kept in milliseconds.
pub(in crate::config) struct Millis(pub(in crate::config) Span);

impl Kind for Millis {
    type Value = u64;

    fn read(&self, text: &str) -> Result<u64, String> {
        u64::try_from(self.0.read(text)?.as_millis()).map_err(|_| self.allowed())
    }

    fn show(&self, value: &u64) -> toml::Value {
        self.0.show(&Duration::from_millis(*value))
    }

    fn allowed(&self) -> String {
        self.0.allowed()
    }
}

/// A size in a range of bytes.
pub(in crate::config) struct Size(pub(in crate::config) u64, pub(in crate::config) u64);

impl Size {
    /// The size in the largest unit that says it exactly.
    fn text(bytes: u64) -> String {
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match units.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
            Some((name, unit)) => format!("{}{name}", bytes / unit),
            None => format!("{bytes}B"),
        }
    }
}

impl Kind for Size {
    type Value = u64;

    fn read(&self, text: &str) -> Result<u64, String> {
        let value = text.parse::<ByteSize>().ok().map(|size| size.as_u64());
        value.filter(|value| (self.0..=self.1).contains(value)).ok_or_else(|| self.allowed())
    }

    fn show(&self, value: &u64) -> toml::Value {
        Self::text(*value).into()
    }

    fn allowed(&self) -> String {
        format!("a size from {} to {}, such as 64KiB", Self::text(self.0), Self::text(self.1))
    }
}

/// A file to be read, or none.
pub(in crate::config) struct PathTo;

impl Kind for PathTo {
    type Value = PathBuf;

    fn read(&self, text: &str) -> Result<PathBuf, String> {
        Ok(text.into())
    }

    fn show(&self, value: &PathBuf) -> toml::Value {
        value.display().to_string().into()
    }

    fn allowed(&self) -> String {
        "a path, or nothing".into()
    }
}

/// On or off.
pub(in crate::config) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn read(&self, text: &str) -> Result<bool, String> {
        text.parse().map_err(|_| self.allowed())
    }

    fn show(&self, value: &bool) -> toml::Value {
        (*value).into()
    }

    fn allowed(&self) -> String {
        "true or false".into()
    }

    fn bare(&self) -> Option<&'static str> {
        Some("true")
    }
}
