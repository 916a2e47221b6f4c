//! Kinds of this product: the store and its keys, the log.

use std::net::IpAddr;

use ipnet::IpNet;
use tidings_shared::keys::Namespace;
use tidings_shared::{Invalid, Partitions, limits};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::{Kind, shorten};
use crate::admission::Proxies;
use crate::config::store_url::WrongUrl;
use crate::config::{LogFormat, StoreUrl};
use crate::cors::{Origins, WrongOrigin};
use crate::request::{HeadBounds, HostNames, WrongHostName};
use crate::spread::{self, Spreads};

/// The URL of the store: the one setting with a secret in it.
pub(in crate::config) struct Where;

impl Kind for Where {
    type Value = StoreUrl;

    fn read(&self, text: &str) -> Result<StoreUrl, String> {
        text.parse().map_err(|error: WrongUrl| error.to_string())
    }

    fn show(&self, value: &StoreUrl) -> toml::Value {
        value.to_string().into()
    }

    fn allowed(&self) -> String {
        "memory://, redis://[[user]:password@]host[:port][/database], or rediss:// for TLS".into()
    }

    fn mask(&self, text: &str) -> String {
        // What does not parse may have its password anywhere.
        text.split_once("://").map_or_else(|| "***".into(), |(scheme, _)| format!("{}://***", shorten(scheme)))
    }
}

/// The namespace.
pub(in crate::config) struct Name;

impl Kind for Name {
    type Value = Namespace;

    fn read(&self, text: &str) -> Result<Namespace, String> {
        text.parse().map_err(|error: Invalid| error.expected().to_owned())
    }

    fn show(&self, value: &Namespace) -> toml::Value {
        value.to_string().into()
    }

    fn allowed(&self) -> String {
        "1 to 64 of A-Z a-z 0-9 _ . -".into()
    }
}

/// The count of partitions.
pub(in crate::config) struct Parts;

impl Kind for Parts {
    type Value = Partitions;

    fn read(&self, text: &str) -> Result<Partitions, String> {
        text.parse().ok().and_then(|count| Partitions::new(count).ok()).ok_or_else(|| self.allowed())
    }

    fn show(&self, value: &Partitions) -> toml::Value {
        i64::from(value.count()).into()
    }

    fn allowed(&self) -> String {
        format!("a number from 1 to {}", limits::PARTITIONS)
    }
}

/// The count of topics of a connection. All have to fit in the head of its request.
pub(in crate::config) struct Topics;

impl Kind for Topics {
    type Value = usize;

    fn read(&self, text: &str) -> Result<usize, String> {
        let value = text.parse().ok().filter(|count| (1..=HeadBounds::MAX_TOPICS).contains(count));
        value.ok_or_else(|| self.allowed())
    }

    fn show(&self, value: &usize) -> toml::Value {
        i64::try_from(*value).map_or_else(|_| value.to_string().into(), toml::Value::Integer)
    }

    fn allowed(&self) -> String {
        let most = HeadBounds::MAX_TOPICS;
        format!("a number from 1 to {most}, as more topics do not fit in a request: its head holds 64 KiB at the most")
    }
}

/// Names of a listener.
pub(in crate::config) struct Hosts;

impl Kind for Hosts {
    type Value = HostNames;

    fn read(&self, text: &str) -> Result<HostNames, String> {
        text.parse().map_err(|error: WrongHostName| error.to_string())
    }

    fn show(&self, value: &HostNames) -> toml::Value {
        value.to_string().into()
    }

    fn allowed(&self) -> String {
        HostNames::ALLOWED.into()
    }
}

/// The networks of proxies.
pub(in crate::config) struct Networks;

impl Kind for Networks {
    type Value = Proxies;

    fn read(&self, text: &str) -> Result<Proxies, String> {
        let network = |text: &str| text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let parts = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
        let networks: Result<_, _> = parts.map(network).collect();
        networks.map(Proxies::new).map_err(|_| self.allowed())
    }

    fn show(&self, value: &Proxies) -> toml::Value {
        value.networks().iter().map(ToString::to_string).collect::<Vec<_>>().join(",").into()
    }

    fn allowed(&self) -> String {
        "nothing, or IP addresses and networks, such as 10.0.0.0/8,fd00::/8".into()
    }
}

/// The origins of pages.
pub(in crate::config) struct Pages;

impl Kind for Pages {
    type Value = Origins;

    fn read(&self, text: &str) -> Result<Origins, String> {
        text.parse().map_err(|error: WrongOrigin| error.to_string())
    }

    fn show(&self, value: &Origins) -> toml::Value {
        value.to_string().into()
    }

    fn allowed(&self) -> String {
        Origins::ALLOWED.into()
    }
}

/// Spreads by pattern.
pub(in crate::config) struct Spread;

impl Kind for Spread {
    type Value = Spreads;

    fn read(&self, text: &str) -> Result<Spreads, String> {
        text.parse().map_err(str::to_owned)
    }

    fn show(&self, value: &Spreads) -> toml::Value {
        value.to_string().into()
    }

    fn allowed(&self) -> String {
        spread::EXPECTED.into()
    }
}

/// How a log line looks.
pub(in crate::config) struct Line;

impl Kind for Line {
    type Value = LogFormat;

    fn read(&self, text: &str) -> Result<LogFormat, String> {
        match text {
            "pretty" => Ok(LogFormat::Pretty),
            "json" => Ok(LogFormat::Json),
            _ => Err(self.allowed()),
        }
    }

    fn show(&self, value: &LogFormat) -> toml::Value {
        match value {
            LogFormat::Pretty => "pretty".into(),
            LogFormat::Json => "json".into(),
        }
    }

    fn allowed(&self) -> String {
        "pretty or json".into()
    }
}

/// What is logged.
pub(in crate::config) struct Level;

impl Kind for Level {
    type Value = Targets;

    fn read(&self, text: &str) -> Result<Targets, String> {
        // A word that is no level would be taken as the name of a module, and everything in it logged.
        let known = |part: &str| part.contains('=') || (!part.is_empty() && part.parse::<LevelFilter>().is_ok());
        match text.parse() {
            Ok(targets) if text.split(',').all(known) => Ok(targets),
            _ => Err(self.allowed()),
        }
    }

    fn show(&self, value: &Targets) -> toml::Value {
        value.to_string().into()
    }

    fn allowed(&self) -> String {
        "off, error, warn, info, debug or trace; by module: info,tidings_gateway=debug".into()
    }
}
