//! Putting the layers on one another.

use std::collections::BTreeMap;

use super::environment::variable;
use super::nearest::nearest;
use super::settings::Setting;
use super::{Config, Errors, Fault, Mistake, Origin, StoreUrl};

/// One value that a layer gives, as text. The key may be one that there is not.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) key: String,
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

/// Where the values in force come from; what is not in it is a default.
pub(super) type Origins = BTreeMap<&'static str, Origin>;

/// The configuration after all that is given, later over earlier, on the defaults.
pub(super) fn apply(given: Vec<Given>, errors: &mut Errors) -> (Config, Origins) {
    let mut config = Config::default();
    let mut origins = Origins::new();
    for Given { key, text, origin } in given {
        let Some(setting) = Setting::of(&key) else {
            let meant = nearest(&key).map(|key| spelled(key, &origin));
            errors.push(Mistake { subject: key, origin: Some(origin), value: None, fault: Fault::Unknown(meant) });
            continue;
        };
        if let Err(expected) = (setting.set)(&mut config, &text) {
            let value = Some((setting.mask)(&text));
            errors.push(Mistake { subject: key, origin: Some(origin), value, fault: Fault::Value(expected) });
            continue;
        }
        origins.insert(setting.key, origin);
    }
    if !origins.contains_key("demo.enabled") {
        config.demo.enabled = config.store.url == StoreUrl::Memory;
    }
    if !origins.contains_key("store.partitions") {
        config.store.partitions = config.store.url.partitions();
    }
    (config, origins)
}

/// How a setting is written where `origin` is.
fn spelled(key: &str, origin: &Origin) -> String {
    match origin {
        Origin::Default | Origin::File(..) => key.to_owned(),
        Origin::Environment(_) => variable(key),
        Origin::Flag(_) => format!("--{key}"),
    }
}
