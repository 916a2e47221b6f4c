//! The command line: which action, which file, which settings; and the help that teaches it.

use std::iter::Peekable;
use std::path::PathBuf;

use crate::config::settings::{SETTINGS, Setting};
use crate::config::{Config, Errors, Fault, Given, Mistake, Origin};

/// What the program is to do; of several, the last in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// Serve.
    Run,
    /// Print the configuration in force.
    Print,
    /// Print the version.
    Version,
    /// Print the help.
    Help,
}

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) action: Action,
    pub(crate) file: Option<PathBuf>,
    pub(crate) given: Vec<Given>,
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(args: impl Iterator<Item = String>, errors: &mut Errors) -> Arguments {
    let mut args = args.peekable();
    let mut read = Arguments { action: Action::Run, file: None, given: Vec::new() };
    while let Some(arg) = args.next() {
        let (flag, value) = match arg.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        match flag {
            "-h" | "--help" => read.action = read.action.max(Action::Help),
            "-V" | "--version" => read.action = read.action.max(Action::Version),
            "--print-config" => read.action = read.action.max(Action::Print),
            "--config" => match value.or_else(|| args.next_if(|next| is_value(next))) {
                Some(path) => read.file = Some(path.into()),
                None => errors.push(mistake(flag, Fault::Missing("the path of a TOML file".into()))),
            },
            _ => match flag.strip_prefix("--").map(|key| (key, setting(key, value, &mut args))) {
                Some((key, Ok(text))) => {
                    read.given.push(Given { key: key.into(), text, origin: Origin::Flag(flag.into()) });
                }
                Some((_, Err(fault))) => errors.push(mistake(flag, fault)),
                // Without the text: it may be a password that lost its flag.
                None => errors.push(mistake("an argument that is no flag", Fault::Unknown(None))),
            },
        }
    }
    read
}

/// The text that a setting's flag gives it. A flag that nobody knows takes its value along, so that one mistake stays one.
fn setting<I: Iterator<Item = String>>(
    key: &str,
    value: Option<String>,
    args: &mut Peekable<I>,
) -> Result<String, Fault> {
    if let Some(text) = value {
        return Ok(text);
    }
    let Some(setting) = Setting::of(key) else {
        return Ok(args.next_if(|next| is_value(next)).unwrap_or_default());
    };
    match (setting.bare)() {
        Some(bare) => Ok(args.next_if(|next| next == "true" || next == "false").unwrap_or_else(|| bare.into())),
        None => args.next_if(|next| is_value(next)).ok_or_else(|| Fault::Missing((setting.allowed)())),
    }
}

fn is_value(next: &str) -> bool {
    !next.starts_with('-')
}

fn mistake(subject: &str, fault: Fault) -> Mistake {
    Mistake { subject: subject.into(), origin: None, value: None, fault }
}

/// The name and version.
pub(crate) fn version() -> String {
    format!("tidings-gateway {}\n", env!("CARGO_PKG_VERSION"))
}

/// What `--help` prints: what it is, how to try it, and every setting with its default.
pub(crate) fn help() -> String {
    let mut text = version() + HELP;
    let defaults = Config::default();
    let mut before = "";
    for setting in SETTINGS {
        let (section, _) = setting.parts();
        if section != before {
            text.push('\n');
            before = section;
        }
        let (key, help, default) = (setting.key, setting.help, setting.text(&defaults));
        let default = if default.is_empty() { "nothing" } else { &default };
        text.push_str(&format!("  {key:<18} {help}\n  {:<18} {} [{default}]\n", "", (setting.allowed)()));
    }
    text
}

const HELP: &str = "\
Tells every browser that its data changed: streams refresh events to plain EventSource clients.

Usage: tidings-gateway [--config FILE] [--SECTION.NAME VALUE]...

Try it; nothing else is needed:

  tidings-gateway
  curl -N 'http://127.0.0.1:8080/v1/events?topic=orders/42'
  curl http://127.0.0.1:9090/v1/publish -H 'Content-Type: application/json' \\
       -d '{\"to\":\"orders/42\",\"type\":\"order.updated\"}'

Run it on Redis, as many replicas as you like:

  tidings-gateway --store.url redis://127.0.0.1:6379 --auth.insecure true

Options:

  --config FILE      read settings from this TOML file; also TIDINGS_CONFIG
  --print-config     print the settings in force and where each comes from, and exit
  -h, --help         print this, and exit
  -V, --version      print the version, and exit

A setting can be given in three ways, each over the one before:

  in the file        [stream]
                     queue = \"256KiB\"
  the environment    TIDINGS_STREAM__QUEUE=256KiB
  a flag             --stream.queue 256KiB

Settings, what each allows, and its [default]:
";
