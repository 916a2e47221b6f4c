//! Which server software runs.

use std::path::{Path, PathBuf};

/// A server, at the version that `tests/servers` installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// Redis 7.0, Debian's package.
    Redis7,
    /// Valkey 8.0.
    Valkey8,
    /// Redis 8.0.
    Redis8,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Redis7, Self::Valkey8, Self::Redis8];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis7 => "redis-7",
            Self::Valkey8 => "valkey-8",
            Self::Redis8 => "redis-8",
        }
    }

    /// What to execute. Redis 7 is the machine's own; the others are where `tests/servers` puts them.
    pub(super) fn program(self) -> PathBuf {
        if self == Self::Redis7 {
            return "redis-server".into();
        }
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/servers").join(self.name()).join("server");
        assert!(program.exists(), "{} is not installed: run tests/servers", self.name());
        program
    }
}
