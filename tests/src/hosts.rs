//! A `/etc/hosts` of one test: names that lead where the test says.
//!
//! The thread of the test gets a mount namespace of its own. Threads and programs that it starts
//! later are in it too, so gateways, publishers and look-ups see the file. It needs root.

use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::process::Command;

use tempfile::NamedTempFile;

/// Room for some lines.
const BYTES: usize = 512;

/// The file. A change is one write that keeps its length, so no look-up reads half of it.
#[derive(Debug)]
pub struct Hosts {
    file: NamedTempFile,
}

impl Hosts {
    /// Takes the place of the file for this thread, and for all that it starts from now on.
    ///
    /// # Panics
    ///
    /// Without the right to mount.
    pub fn private() -> Self {
        let file = NamedTempFile::with_prefix("tidings-hosts-").expect("a file");
        let hosts = Self { file };
        hosts.write("");
        // The sound one is an unsafe function, because of flags that are not given here.
        #[allow(deprecated, reason = "with this flag alone it is sound")]
        rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).expect("root");
        let path = hosts.file.path().to_str().expect("a path");
        for arguments in [&["--make-rprivate", "/"][..], &["--bind", path, "/etc/hosts"]] {
            let mounted = Command::new("mount").args(arguments).status().expect("mount");
            assert!(mounted.success(), "mount {arguments:?}");
        }
        hosts
    }

    /// From now on this name leads to these addresses alone, and no other name leads anywhere.
    pub fn set(&self, name: &str, addresses: &[IpAddr]) {
        let lines: Vec<String> = addresses.iter().map(|ip| format!("{ip} {name}\n")).collect();
        self.write(&lines.concat());
    }

    fn write(&self, lines: &str) {
        let file: &File = self.file.as_file();
        let padded = format!("{lines}{:#<width$}\n", "#", width = BYTES - lines.len() - 1);
        file.write_all_at(padded.as_bytes(), 0).expect("it is written");
    }
}
