//! The environment as a layer: `TIDINGS_<SECTION>__<KEY>`.

use std::path::PathBuf;

use super::Origin;
use super::apply::Given;
use super::settings::SETTINGS;
use crate::without::{self, Unknown, Without};

/// What the environment says.
pub(super) struct Environment {
    /// The configuration file.
    pub(super) file: Option<PathBuf>,
    /// Settings, sorted by name, so that mistakes come in one order.
    pub(super) given: Vec<Given>,
    /// What tests switch off.
    pub(super) without: Result<Without, Unknown>,
}

const PREFIX: &str = "TIDINGS_";

/// The variable of a setting.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

pub(super) fn read(env: impl Iterator<Item = (String, String)>) -> Environment {
    let mut variables: Vec<_> = env.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    let file = variables.iter().find(|(name, _)| name == "TIDINGS_CONFIG").map(|(_, path)| path.into());
    // A release has no such variable.
    let without = variables.iter().find(|(name, _)| cfg!(debug_assertions) && name == without::VARIABLE);
    let without = without.map_or_else(|| Ok(Without::default()), |(_, names)| Without::parse(names));
    let given = variables.into_iter().filter_map(|(name, text)| {
        let key = key(&name)?;
        Some(Given { key, text, origin: Origin::Environment(name) })
    });
    Environment { file, given: given.collect(), without }
}

/// The setting that a variable is for, which may be one that there is not.
fn key(name: &str) -> Option<String> {
    let name = name.strip_prefix(PREFIX)?.to_lowercase();
    // One underscore where two belong is a mistake worth telling. All else without two is left alone: Kubernetes sets
    // TIDINGS_SERVICE_HOST and more for a service of that name.
    let nearly = || SETTINGS.iter().any(|setting| setting.key.replace('.', "_") == name);
    (name.contains("__") || nearly()).then(|| name.replace("__", "."))
}
