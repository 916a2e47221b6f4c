//! A child process of this program, which is told lines and answers with lines of JSON.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_tests::process::Process;

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Child {
    /// What the system knows of it.
    pub process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this program again, in another role.
    pub fn start(role: &str) -> Self {
        let program = std::env::current_exe().expect("a path");
        let mut command = Command::new(program);
        command.args(["--child", role]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(&mut command);
        let input = process.child().stdin.take().expect("a pipe");
        let output = BufReader::new(process.child().stdout.take().expect("a pipe"));
        Self { process, input, output }
    }

    /// Tells it a line of JSON.
    pub fn tell(&mut self, order: &impl Serialize) {
        let line = serde_json::to_string(order).expect("orders are JSON");
        writeln!(self.input, "{line}").expect("the child takes orders");
    }

    /// Waits for its next answer; children bound their own time.
    pub fn answer<T: DeserializeOwned>(&mut self) -> T {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the child answers");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("a child answered {line:?}: {e}"))
    }
}
