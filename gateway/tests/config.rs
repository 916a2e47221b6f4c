//! The configuration as an operator meets it: through the program.
#![allow(clippy::unwrap_used, reason = "also in the helper; all of this is test")]

use std::process::{Command, Output};

/// Runs the program with nothing in its environment but `env`.
fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidings-gateway"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn mistakes_are_all_told_and_exit_64() {
    let output = run(&["--stream.qeue", "1KiB", "--beacon.interval=never"], &[("TIDINGS_LIMITS__TOPICS", "0")]);
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    let expected = "\
tidings-gateway: the configuration has 3 mistakes:
  limits.topics = \"0\" (TIDINGS_LIMITS__TOPICS): expected a number from 1 to 192, as more topics do not fit in a request: its head holds 64 KiB at the most
  stream.qeue (--stream.qeue): there is no such setting, did you mean --stream.queue?
  beacon.interval = \"never\" (--beacon.interval): expected a duration from 100ms to 1m, such as 5s
";
    assert_eq!(text, expected);
}

#[test]
fn a_password_stays_secret() {
    let url = "redis://app:hunter2@127.0.0.1:1/0";
    let refused = run(&["--store.url", url], &[]);
    assert_eq!(refused.status.code(), Some(64));
    let printed = run(&["--print-config", "--auth.insecure", "true"], &[("TIDINGS_STORE__URL", url)]);
    assert!(printed.status.success());
    for output in [refused, printed] {
        let text = [output.stdout, output.stderr].concat();
        assert!(!text.is_empty() && !text.windows(7).any(|part| part == b"hunter2"));
    }
}

#[test]
fn what_it_prints_it_loads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidings.toml");
    let first = run(&["--print-config", "--retention.age", "2h"], &[]);
    assert!(first.status.success());
    std::fs::write(&path, &first.stdout).unwrap();
    let second = run(&["--print-config"], &[("TIDINGS_CONFIG", path.to_str().unwrap())]);
    assert!(second.status.success());
    let text = String::from_utf8(second.stdout).unwrap();
    assert!(text.contains("\nage = \"2h\"\n"), "{text}");
}

#[test]
fn help_and_version_go_to_stdout() {
    for (flag, part) in [("--help", "--print-config"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = run(&[flag], &[]);
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(part));
    }
}
