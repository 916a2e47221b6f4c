//! The README, against the code that it tells of: what a table lists is what there is.
#![allow(clippy::unwrap_used, reason = "also in the helpers; all of this is test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use tidings_gateway::config::Config;
use tidings_gateway::config::settings::SETTINGS;
use tidings_gateway::control::{Goodbye, Reason};
use tidings_gateway::metrics::Metrics;
use tidings_shared::{Partitions, limits};

const README: &str = include_str!("../../README.md");

/// The rows of the first table under a heading, without its head.
fn rows(heading: &str) -> Vec<&'static str> {
    let found = |line: &&str| line.starts_with('#') && line.trim_start_matches('#').trim() == heading;
    let under = README.lines().skip_while(|line| !found(line)).skip(1).take_while(|line| !line.starts_with('#'));
    let rows: Vec<_> =
        under.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 2, "the README has no table under {heading:?}");
    rows[2..].to_vec()
}

/// What stands in the first cell of each row, without its backticks.
fn names(heading: &str) -> BTreeSet<&'static str> {
    rows(heading)
        .into_iter()
        .filter_map(|row| row.split('|').nth(1))
        .map(|cell| cell.trim().trim_matches('`'))
        .collect()
}

/// Compares a table with what it should be, and on a difference shows that whole, to be pasted.
fn assert_table(heading: &str, expected: &[String]) {
    assert!(rows(heading) == expected, "under {heading:?} the README should have\n{}\n", expected.join("\n"));
}

#[test]
fn every_setting_is_there_with_its_default() {
    let defaults = Config::default();
    let row = |setting: &tidings_gateway::config::settings::Setting| {
        let default = match setting.key {
            // The defaults that depend on the machine.
            "server.workers" => "one for each core".to_owned(),
            "limits.connections" => "by the limit of open files".to_owned(),
            _ if setting.text(&defaults).is_empty() => "nothing".to_owned(),
            _ => format!("`{}`", setting.text(&defaults)),
        };
        format!("| `{}` | {default} | {} | {} |", setting.key, (setting.allowed)().replace('|', "\\|"), setting.help)
    };
    assert_table("Configuration", &SETTINGS.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn every_metric_is_there_with_its_labels() {
    let metrics = Metrics::new();
    for partition in Partitions::ONE.all() {
        metrics.set_partition_up(partition, true);
        metrics.set_beacon_age(partition, Duration::ZERO);
    }
    assert_table("Metrics", &described(&metrics.render()));
}

/// A row for each metric of an OpenMetrics text, which gives help, type and then all series of each.
fn described(text: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for block in text.split("# HELP ").skip(1) {
        let mut lines = block.lines();
        let (name, help) = lines.next().unwrap().split_once(' ').unwrap();
        let kind = lines.next().unwrap().rsplit(' ').next().unwrap();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let help = help.trim_end_matches('.');
        rows.push(format!(
            "| `{name}{suffix}` | {kind} | {} | {help} |",
            labels(lines.filter(|line| !line.starts_with('#')))
        ));
    }
    rows
}

/// The labels of series, with their values where those are always the same.
fn labels<'a>(series: impl Iterator<Item = &'a str>) -> String {
    let mut labels: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in series {
        let Some((_, rest)) = line.split_once('{') else { continue };
        let (name, value) = rest.split_once("}").unwrap().0.split_once('=').unwrap();
        let values = labels.entry(name).or_default();
        values.push(value.trim_matches('"'));
        values.sort_unstable();
    }
    labels.remove("le");
    let show = |(name, values): (&str, Vec<&str>)| match name {
        "partition" | "version" => format!("`{name}`"),
        _ => format!("`{name}`: {}", values.join(", ")),
    };
    labels.into_iter().map(show).collect::<Vec<_>>().join("; ")
}

#[test]
fn every_resync_reason_is_there() {
    assert_eq!(names("Resync reasons"), Reason::ALL.into_iter().map(Reason::as_str).collect());
}

#[test]
fn every_goodbye_reason_is_there() {
    assert_eq!(names("Goodbye reasons"), Goodbye::ALL.into_iter().map(Goodbye::as_str).collect());
}

/// From the source, so that one that is added there is missed here.
#[test]
fn every_control_event_is_there() {
    let source = include_str!("../src/control.rs");
    let named = source.split("event: ").skip(1).map(|rest| rest.split(['\\', '"']).next().unwrap());
    let named: BTreeSet<_> = named.collect();
    assert!(named.contains("tidings.ready"), "{named:?}");
    assert_eq!(names("Control events"), named);
}

#[test]
fn shared_limits_are_as_the_code_has_them() {
    let kib = |bytes: usize| format!("{} KiB of JSON", bytes / 1024);
    let expected = [
        ("A topic", format!("{} bytes, {} segments", limits::TOPIC_BYTES, limits::TOPIC_SEGMENTS)),
        ("A user id", format!("{} bytes", limits::USER_BYTES)),
        ("`type`, `event`", format!("{} bytes each", limits::TYPE_BYTES)),
        ("`version`", format!("{} bytes", limits::VERSION_BYTES)),
        ("`key`", format!("{} bytes; remembered for {} minutes", limits::KEY_BYTES, limits::KEY_AGE_MS / 60_000)),
        ("`data`", kib(limits::DATA_BYTES)),
        ("Addresses of an event", limits::EVENT_ADDRESSES.to_string()),
        ("A cursor", format!("{} bytes", limits::CURSOR_BYTES)),
        ("A namespace", format!("{} bytes", limits::NAMESPACE_BYTES)),
        ("Partitions", limits::PARTITIONS.to_string()),
    ];
    let table = rows("Limits");
    for (what, limit) in expected {
        let row = format!("| {what} | {limit} |");
        assert!(table.contains(&row.as_str()), "under \"Limits\" the README lacks {row}");
    }
}

/// From the sources of both programs.
#[test]
fn every_exit_code_is_there() {
    let command = include_str!("../../publisher/src/bin/tidings/exit.rs");
    let codes = command.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "));
    let codes: BTreeSet<_> = codes.map(|(_, code)| code).collect();
    assert!(codes.len() > 3, "{codes:?}");
    assert_eq!(names("Exit codes"), codes);
}

/// In the README and in the pages beside its picture.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for page in ["README.md", ".github/CONTRIBUTING.md", ".github/CHANGELOG.md"] {
        let page = root.join(page);
        let text = std::fs::read_to_string(&page).unwrap();
        let headings = text.lines().filter(|line| line.starts_with('#'));
        let anchors: BTreeSet<_> = headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let leads = match link.strip_prefix('#') {
                Some(anchor) => anchors.contains(anchor),
                None => page.with_file_name(link).exists(),
            };
            assert!(leads, "{link} in {}", page.display());
        }
    }
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    kept.replace(' ', "-")
}
