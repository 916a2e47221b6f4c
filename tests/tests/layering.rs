//! The arrows between the packages run one way, and `shared` stays pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// What `cargo` says, run in the workspace without touching the network.
fn cargo(args: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(args).args(["--offline", "--locked"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The normal dependencies of each package of the workspace, as declared, optional ones too.
fn declared() -> BTreeMap<String, BTreeSet<String>> {
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps"])).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let normal = |package: &Value| -> BTreeSet<String> {
        let all = package["dependencies"].as_array().unwrap();
        all.iter().filter(|d| d["kind"].is_null()).map(|d| text(&d["name"])).collect()
    };
    metadata["packages"].as_array().unwrap().iter().map(|package| (text(&package["name"]), normal(package))).collect()
}

/// All packages that end up in a build of this one.
fn tree(args: &[&str]) -> BTreeSet<String> {
    let fixed = ["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let text = cargo(&[&fixed, args].concat());
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn gateway_to_publisher_to_shared() {
    let declared = declared();
    let ours = |package: &str| -> BTreeSet<String> {
        declared[package].iter().filter(|name| name.starts_with("tidings-")).cloned().collect()
    };
    assert_eq!(declared.len(), 4, "{:?}", declared.keys());
    assert_eq!(ours("tidings-shared"), set(&[]));
    assert_eq!(ours("tidings-publisher"), set(&["tidings-shared"]));
    assert_eq!(ours("tidings-gateway"), set(&["tidings-publisher", "tidings-shared"]));
}

#[test]
fn shared_depends_on_nothing_that_runs() {
    assert_eq!(
        declared()["tidings-shared"],
        set(&[
            "base64",
            "crc",
            "crc32fast",
            "humantime",
            "percent-encoding",
            "serde",
            "serde_json",
            "sha2",
            "thiserror"
        ])
    );
}

#[test]
fn shared_reads_no_clock_and_does_nothing_outside() {
    let banned = [
        "std::time",
        "std::net",
        "std::thread",
        "std::env",
        "std::fs",
        "std::process",
        "std::io",
        "SystemTime",
        "Instant",
    ];
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("shared/src")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for word in banned {
                assert!(!text.contains(word), "{} uses {word}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} files looked at");
}

#[test]
fn a_service_that_publishes_pulls_in_no_server_and_no_command_line() {
    let library = tree(&["-p", "tidings-publisher", "--no-default-features"]);
    assert!(library.contains("tidings-shared") && library.contains("redis"), "{library:?}");
    for unwanted in
        ["actix-web", "actix-http", "axum", "clap", "clap_builder", "indicatif", "console", "tracing-subscriber"]
    {
        assert!(!library.contains(unwanted), "{unwanted}");
    }
    assert!(
        tree(&["-p", "tidings-publisher"]).contains("clap"),
        "the command has it, so the list above means something"
    );
}

#[test]
fn the_gateway_pulls_in_no_command_line_of_the_publisher() {
    assert!(!tree(&["-p", "tidings-gateway"]).contains("indicatif"));
}
