//! Parses the configuration and wires what it asks for.

use std::io::Write;
use std::process::ExitCode;

use tidings_gateway::config::{Command, Config};
use tidings_gateway::{Listeners, Reload, files, log, run};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// `EX_USAGE` of sysexits.h: the configuration is wrong, and a restart as it is would be too.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    let env =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    match Config::load(args, env) {
        Ok(Command::Run(config)) => start(*config),
        Ok(Command::Print(text) | Command::Help(text) | Command::Version(text)) => {
            // A reader that left (`| head`) is no failure of ours.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(errors) => {
            let _ = writeln!(std::io::stderr(), "tidings-gateway: {errors}");
            ExitCode::from(USAGE)
        }
    }
}

fn start(config: Config) -> ExitCode {
    files::raise();
    let log = match log::init(&config.log, config.without) {
        Ok(log) => log,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tidings-gateway: {error}");
            return ExitCode::FAILURE;
        }
    };
    let serve = || {
        let listeners = Listeners::bind(&config)?;
        actix_web::rt::System::new().block_on(async {
            let reload = Reload::default();
            let mut signals = Signals::new(reload.clone())?;
            run(config, listeners, reload, async || signals.next().await).await
        })
    };
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // By way of the log, which never blocks: the process must end though nobody reads stderr.
            log.print(&format!("tidings-gateway: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// SIGTERM, as orchestrators send it, and SIGINT, as a keyboard does. SIGHUP has files read again, and ends nothing.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    reload: Reload,
}

impl Signals {
    fn new(reload: Reload) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            reload,
        })
    }

    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    tracing::info!("got SIGHUP; reading the files of tls.cert and tls.key again, if they are set");
                    self.reload.request();
                }
            }
        }
    }
}
