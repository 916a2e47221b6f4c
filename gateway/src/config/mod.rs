//! The configuration: what can be set, and what is in force.
//!
//! Four layers, each over the one before: the default, a TOML file, the environment, flags. All of them meet in one
//! table ([`settings`]), from which parsing, `--help` and `--print-config` are made, so a setting is added in one place.

mod apply;
mod check;
mod environment;
mod file;
mod kind;
mod mistake;
mod nearest;
mod print;
mod sections;
pub mod settings;
mod store_url;

pub(crate) use apply::Given;
pub use mistake::{Errors, Fault, Mistake, Origin};
pub use sections::*;
pub use store_url::StoreUrl;

use crate::cli::{self, Action};

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Serve with this configuration, which is whole and checked.
    Run(Box<Config>),
    /// Print this text, the configuration in force as TOML, and exit.
    Print(String),
    /// Print this help and exit.
    Help(String),
    /// Print this version and exit.
    Version(String),
}

impl Config {
    /// Reads all layers. `args` come without the program's name; of `env`, only names that begin with `TIDINGS_` count.
    ///
    /// Reads the file that `--config` or `TIDINGS_CONFIG` names, the certificates and keys that are configured, and nothing
    /// else outside its arguments. The error holds
    /// every mistake that was found, not just the first, also those in a layer that a later one covers.
    pub fn load(
        args: impl Iterator<Item = String>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Command, Errors> {
        let mut errors = Errors::default();
        let arguments = cli::parse(args, &mut errors);
        match arguments.action {
            Action::Help => return Ok(Command::Help(cli::help())),
            Action::Version => return Ok(Command::Version(cli::version())),
            Action::Run | Action::Print => {}
        }
        let environment = environment::read(env);
        let mut given = match arguments.file.or(environment.file) {
            Some(path) => file::read(&path, &mut errors),
            None => Vec::new(),
        };
        given.extend(environment.given);
        given.extend(arguments.given);

        let (mut config, origins) = apply::apply(given, &mut errors);
        match environment.without {
            Ok(without) => config.without = without,
            Err(unknown) => errors.push(unknown.into()),
        }
        check::check(&config, &origins, &mut errors);
        check::check_pair(&config, &origins, &mut errors);
        check::check_store_tls(&config, &origins, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(match arguments.action {
            Action::Print => Command::Print(print::toml(&config, &origins)),
            _ => Command::Run(Box::new(config)),
        })
    }
}

#[cfg(test)]
mod tests;
