//! Writing to stdout and stderr, where a reader may have left.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::exit::Exit;

/// Writes a line to stdout. `Err` is how to end: quietly if the reader has left, as `head` does.
pub fn line(text: &str) -> Result<(), Exit> {
    writeln!(io::stdout(), "{text}").map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Exit::Ok,
        _ => fail(Exit::Internal, &error),
    })
}

/// Writes a line to stderr. Nobody can be told if that fails.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "tidings: {text}");
}

/// Says why the command ends like this.
pub fn fail(exit: Exit, why: &dyn Display) -> Exit {
    note(why);
    exit
}
