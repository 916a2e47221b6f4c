//! The configuration in force, as a TOML file that can be loaded again.

use super::apply::Origins;
use super::settings::SETTINGS;
use super::{Config, Origin};

/// Every setting with its meaning, what is allowed and where its value comes from. Secrets are masked.
pub(super) fn toml(config: &Config, origins: &Origins) -> String {
    let mut text = format!(
        "# What tidings-gateway {} runs with. Load it again with --config; passwords are shown as ***.\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut before = "";
    for setting in SETTINGS {
        let (section, name) = setting.parts();
        if section != before {
            text.push_str(&format!("\n[{section}]\n"));
            before = section;
        }
        let origin = origins.get(setting.key).unwrap_or(&Origin::Default);
        let (help, allowed, value) = (setting.help, (setting.allowed)(), (setting.get)(config));
        text.push_str(&format!("# {help}.\n# Allowed: {allowed}. From: {origin}.\n{name} = {value}\n"));
    }
    text
}
