//! The layers together, as a caller sees them.

use std::io::Write;
use std::time::Duration;

use super::*;

fn load(args: &[&str], env: &[(&str, &str)]) -> Result<Command, Errors> {
    let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Config::load(args.iter().map(ToString::to_string), env)
}

fn run(args: &[&str], env: &[(&str, &str)]) -> Box<Config> {
    match load(args, env) {
        Ok(Command::Run(config)) => config,
        other => panic!("{other:?}"),
    }
}

/// The mistakes, one line each.
fn mistakes(args: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    let errors = load(args, env).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

#[test]
fn defaults_alone_run_the_product() {
    let config = run(&[], &[]);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9090");
    assert!((1..=256).contains(&config.server.workers));
    assert_eq!(config.store.url, StoreUrl::Memory);
    assert_eq!(config.store.namespace.to_string(), "tidings");
    assert_eq!(config.store.partitions.count(), 1);
    assert_eq!(config.retention, tidings_shared::Retention::default());
    assert_eq!(config.beacon.interval, Duration::from_secs(5));
    assert_eq!(config.stream.heartbeat, Duration::from_secs(15));
    assert_eq!(config.stream.retry, Duration::from_secs(3));
    assert_eq!((config.stream.queue, config.replay.bytes, config.replay.recent), (256 << 10, 1 << 20, 64 << 20));
    assert_eq!(config.limits.topics, 100);
    assert_eq!(config.drain.grace, Duration::from_secs(5));
    assert!(config.demo.enabled && !config.auth.insecure);
    assert_eq!((config.log.format, config.log.level.to_string().as_str()), (LogFormat::Pretty, "info"));
}

#[test]
fn each_layer_covers_the_one_before() {
    let file = file("[stream]\nqueue = '8KiB'\nretry = '2s'\nheartbeat = '1s'\n[store]\npartitions = 0x1f\n");
    let env = [("TIDINGS_CONFIG", path(&file)), ("TIDINGS_STREAM__RETRY", "4s"), ("TIDINGS_STREAM__HEARTBEAT", "5s")];
    let config = run(&["--stream.heartbeat=6s", "--log.format", "json"], &env);
    assert_eq!(config.stream.queue, 8 << 10);
    assert_eq!(config.store.partitions.count(), 31);
    assert_eq!(config.stream.retry, Duration::from_secs(4));
    assert_eq!(config.stream.heartbeat, Duration::from_secs(6));
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn the_flag_names_the_file_over_the_environment() {
    let (a, b) = (file("[limits]\ntopics = 1\n"), file("limits.topics = 2\n"));
    assert_eq!(run(&["--config", path(&b)], &[("TIDINGS_CONFIG", path(&a))]).limits.topics, 2);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let file = file("[stream]\nqueue = 'lots'\n\n[sever]\nlisten = '127.0.0.1:1'\n[store]\npartitions = [1]\n[jwt]\n");
    let lines = mistakes(
        &["stray", "--config", path(&file), "--beacon.interval", "1h", "--limits.topics", "--demo.enabeld"],
        &[("TIDINGS_STREAM__RETRY", "10"), ("TIDINGS_AUTH__TOKENS", "x"), ("TIDINGS_STORE_URL", "redis://:hunter2@a")],
    );
    let at = |line: usize| format!("({}:{line})", path(&file));
    let expected = [
        "an argument that is no flag: there is no such setting".to_owned(),
        "--limits.topics: it needs a value: a number from 1 to 192, as more".to_owned(),
        format!("store.partitions {}: expected one plain value, not a TOML array", at(7)),
        format!("jwt {}: there is no such setting", at(8)),
        format!("sever.listen {}: there is no such setting, did you mean server.listen?", at(5)),
        format!("stream.queue = \"lots\" {}: expected a size from 4KiB to 64MiB, such as 64KiB", at(2)),
        "auth.tokens (TIDINGS_AUTH__TOKENS): there is no such setting".to_owned(),
        "store_url (TIDINGS_STORE_URL): there is no such setting, did you mean TIDINGS_STORE__URL?".to_owned(),
        "stream.retry = \"10\" (TIDINGS_STREAM__RETRY): expected a duration from 1s to 10m, such as 5s".to_owned(),
        "beacon.interval = \"1h\" (--beacon.interval): expected a duration from 100ms to 1m, such as 5s".to_owned(),
        "demo.enabeld (--demo.enabeld): there is no such setting, did you mean --demo.enabled?".to_owned(),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(&expected) {
        assert!(line.starts_with(expected), "{line}\nis not\n{expected}");
    }
    assert!(load(&["--x.y", "1"], &[]).unwrap_err().to_string().starts_with("the configuration has 1 mistake:\n  x.y"));
}

#[test]
fn every_bound_holds() {
    for (key, least, below, most, above) in [
        ("server.workers", "1", "0", "256", "257"),
        ("limits.streams", "1", "0", "10000", "10001"),
        ("limits.addresses", "100", "99", "10000000", "10000001"),
        ("limits.waiting", "16", "15", "10000000", "10000001"),
        ("cors.origins", "", "null", "https://a.example,http://b.example:8000", "https://a.example, *"),
        ("store.partitions", "1", "0", "32", "33"),
        ("retention.events", "1", "0", "1000000", "1000001"),
        ("retention.age", "1s", "999ms", "30d", "31d"),
        ("retention.journal", "100", "99", "100000000", "100000001"),
        ("beacon.interval", "100ms", "99ms", "60s", "61s"),
        ("stream.heartbeat", "100ms", "0s", "60s", "61s"),
        ("stream.retry", "1s", "999ms", "10m", "11m"),
        ("stream.queue", "4KiB", "4095", "64MiB", "65MiB"),
        ("stream.max_age", "0s", "-1s", "30d", "31d"),
        ("stream.max_stale", "0s", "-1s", "1h", "61m"),
        ("replay.bytes", "4KiB", "4095", "64MiB", "65MiB"),
        ("replay.recent", "0", "-1", "64GiB", "65GiB"),
        ("replay.linger", "0s", "-1s", "10m", "11m"),
        ("server.trusted_proxies", "", "10.0.0.0/33", "10.0.0.0/8, ::1,192.0.2.1", "10.0.0.0/8,,::1"),
        ("limits.connections", "1", "0", "10000000", "10000001"),
        ("limits.user", "0", "-1", "1000000", "1000001"),
        ("limits.origin", "0", "-1", "1000000", "1000001"),
        ("limits.rate", "0", "-1", "1000000", "1000001"),
        ("limits.topics", "1", "0", "192", "193"),
        ("server.keep_alive", "1s", "999ms", "1h", "61m"),
        ("drain.grace", "0s", "-1s", "10m", "601s"),
        ("drain.window", "0s", "-1s", "1h", "61m"),
        ("auth.insecure", "false", "", "true", "yes"),
        ("log.level", "off", "", "info,tidings_gateway=debug", "inof"),
        ("log.format", "json", "", "pretty", "JSON"),
        ("store.namespace", "a", "", "staging-2", "a:b"),
        ("server.listen", "127.0.0.1:0", "8080", "[::1]:8080", "localhost:8080"),
        ("probe.listen", "", "8080", "0.0.0.0:9091", "localhost:8080"),
    ] {
        for right in [least, most] {
            run(&[&format!("--{key}={right}")], &[]);
        }
        for wrong in [below, above] {
            let lines = mistakes(&[&format!("--{key}={wrong}")], &[]);
            assert!(lines.len() == 1 && lines[0].starts_with(&format!("{key} = {wrong:?}")), "{lines:?}");
        }
    }
}

#[test]
fn a_redis_store_wants_to_hear_that_it_is_open() {
    let lines = mistakes(&["--store.url", "redis://cache"], &[]);
    assert!(lines[0].starts_with("auth.insecure = \"false\" (default): tokens come with a later version"), "{lines:?}");
    let config = run(&["--store.url", "redis://cache", "--auth.insecure"], &[]);
    assert!(matches!(config.store.url, StoreUrl::Redis(_)));
    assert!(!config.demo.enabled, "the demo is for memory://");
    assert!(run(&["--store.url=redis://cache", "--auth.insecure", "true", "--demo.enabled"], &[]).demo.enabled);
}

#[test]
fn a_cluster_has_more_partitions_unless_told() {
    let count = |more: &[&str]| run(&[&["--auth.insecure"], more].concat(), &[]).store.partitions.count();
    assert_eq!(count(&["--store.url=redis+cluster://a,b"]), 16);
    assert_eq!(count(&["--store.url=redis+cluster://a,b", "--store.partitions=4"]), 4);
    assert_eq!(count(&["--store.url=redis+sentinel://a,b/main"]), 1);
}

#[test]
fn an_open_gateway_stays_on_loopback() {
    let lines = mistakes(&["--server.listen", "0.0.0.0:8080"], &[]);
    assert!(lines[0].starts_with("server.listen = \"0.0.0.0:8080\" (--server.listen): without tokens"), "{lines:?}");
    run(&["--server.listen", "0.0.0.0:8080", "--auth.insecure", "true"], &[]);
    run(&["--server.listen", "[::1]:8080"], &[]);
}

#[test]
fn an_admin_listener_without_keys_stays_on_loopback() {
    let lines = mistakes(&["--admin.listen", "0.0.0.0:9090"], &[]);
    assert!(
        lines.len() == 1 && lines[0].starts_with("admin.listen = \"0.0.0.0:9090\" (--admin.listen): "),
        "{lines:?}"
    );
    assert!(lines[0].contains("probe.listen") && lines[0].contains("auth.insecure = true"), "{lines:?}");
    run(&["--admin.listen", "0.0.0.0:9090", "--auth.insecure", "true"], &[]);
    run(&["--admin.listen", "[::1]:9090", "--probe.listen", "0.0.0.0:9091"], &[]);
}

#[test]
fn the_listener_of_probes_is_apart() {
    for probe in ["127.0.0.1:8080", "0.0.0.0:8080", "127.0.0.1:9090"] {
        let lines = mistakes(&["--probe.listen", probe], &[]);
        assert!(lines.len() == 1 && lines[0].contains("an address of their own"), "{lines:?}");
    }
    run(&["--probe.listen", "127.0.0.1:0"], &[]);
}

#[test]
fn the_listeners_are_apart() {
    for admin in ["127.0.0.1:8080", "0.0.0.0:8080"] {
        let lines = mistakes(&["--auth.insecure", "--admin.listen", admin], &[]);
        assert!(lines.len() == 1 && lines[0].contains("an address of its own"), "{lines:?}");
    }
    run(&["--admin.listen", "127.0.0.2:8080"], &[]);
    run(&["--admin.listen", "127.0.0.1:0", "--server.listen", "127.0.0.1:0"], &[]);
}

#[test]
fn a_certificate_and_its_key_belong_together() {
    let mistake = |args: &[&str]| match mistakes(args, &[]).as_slice() {
        [line] => line.clone(),
        lines => panic!("{lines:?}"),
    };
    assert_eq!(
        mistake(&["--tls.cert=a"]),
        "tls.cert = \"a\" (--tls.cert): a certificate is nothing without its key: set tls.key as well"
    );
    assert_eq!(
        mistake(&["--tls.key=a"]),
        "tls.key = \"a\" (--tls.key): a key is nothing without its certificate: set tls.cert as well"
    );
    let missing = mistake(&["--tls.cert=/nonexistent/a", "--tls.key=/nonexistent/b"]);
    assert!(missing.starts_with("tls.cert = \"/nonexistent/a\" (--tls.cert): the file cannot be read: "), "{missing}");
    let (cert, key) = (file(""), file(""));
    let generated = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&cert, generated().cert.pem()).unwrap();
    std::fs::write(&key, generated().signing_key.serialize_pem()).unwrap();
    let other = mistake(&["--tls.cert", path(&cert), "--tls.key", path(&key)]);
    assert_eq!(other, format!("tls.key = {:?} (--tls.key): the key is not that of the certificate", path(&key)));
    assert!(run(&[], &[]).tls.paths().is_none());
}

#[test]
fn tls_to_the_store_is_checked() {
    let open = ["--auth.insecure", "--store.url"];
    let told = |args: &[&str]| mistakes(&[&open, args].concat(), &[]);
    let plain = told(&["redis://cache", "--store.tls.ca", "/none"]);
    assert_eq!(plain.len(), 1, "{plain:?}");
    assert!(plain[0].starts_with("store.tls.ca = ") && plain[0].contains("begins with rediss"), "{plain:?}");
    let half = told(&["rediss://cache", "--store.tls.key", "/none"]);
    assert!(half[0].starts_with("store.tls.key = ") && half[0].contains("one of them is missing"), "{half:?}");
    let pair = rcgen::generate_simple_self_signed(["cache".to_owned()]).unwrap();
    let (cert, key) = (file(&pair.cert.pem()), file(&pair.signing_key.serialize_pem()));
    let no_key = file(&pair.cert.pem());
    let wrong = told(&["rediss://cache", "--store.tls.cert", path(&cert), "--store.tls.key", path(&no_key)]);
    assert!(wrong[0].starts_with("store.tls.key = ") && wrong[0].contains("holds no private key"), "{wrong:?}");
    let table = format!("[store]\nurl = 'rediss://a'\n[store.tls]\ncert = {:?}\nkey = {:?}", path(&cert), path(&key));
    let config = run(&["--auth.insecure", "--config", path(&file(&table))], &[("TIDINGS_STORE__TLS__CA", path(&cert))]);
    assert_eq!((config.store.tls.ca, config.store.tls.key), (path(&cert).into(), path(&key).into()));
}

#[test]
fn rules_are_silent_about_what_is_in_doubt() {
    // Whether the store is open is unknown while its URL is: one mistake, one line.
    let lines = mistakes(&["--store.url", "redis+sentinel://cache", "--server.listen", "0.0.0.0:1"], &[]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("the name that the sentinels have for the primary"), "{lines:?}");
    let lines = mistakes(&["--config", "/nonexistent/tidings.toml", "--server.listen", "0.0.0.0:1"], &[]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("/nonexistent/tidings.toml: the file cannot be read: "), "{lines:?}");
}

#[test]
fn secrets_are_never_shown() {
    let good = "redis://app:hunter2@cache:6379/1";
    let bad = file("[store]\nurl = \"redis://app:hunter2@cache\n[x\n");
    let odd = file("[store]\nurl = ['redis://app:hunter2@cache']\nulr = 'redis://app:hunter2@cache'\n");
    let mut shown = vec![
        format!("{:?}", load(&["--store.url", good, "--auth.insecure"], &[])),
        format!("{:?}", load(&["--store.url", good, "--auth.insecure", "--print-config"], &[])),
    ];
    let wrong = "redis://app:hun#hunter2@cache";
    for (args, env) in [
        (vec!["--store.url", good], vec![]),
        (vec!["--store.url", wrong], vec![]),
        (vec!["--store.ulr", good, good, "--hunter", good], vec![("TIDINGS_STORE__ULR", good)]),
        (vec![], vec![("TIDINGS_STORE__URL", wrong)]),
        (vec![], vec![("TIDINGS_STORE__URL", "app:hunter2@cache")]),
        (vec!["--config", path(&bad)], vec![]),
        (vec!["--config", path(&odd)], vec![]),
    ] {
        let errors = load(&args, &env).unwrap_err();
        shown.push(format!("{errors}\n{errors:?}"));
    }
    for text in shown {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_file_that_is_not_toml_says_where() {
    let file = file("[stream]\nqueue = '8KiB'\nretry 2s\n");
    let lines = mistakes(&["--config", path(&file)], &[]);
    assert!(lines[0].starts_with(&format!("{}:3: this is not TOML: ", path(&file))), "{lines:?}");
}

#[test]
fn other_variables_are_left_alone() {
    // Kubernetes sets these in every pod beside a service named tidings.
    let env = [("TIDINGS_SERVICE_HOST", "10.0.0.1"), ("TIDINGS_PORT_8080_TCP_ADDR", "10.0.0.1"), ("PATH", "/bin")];
    run(&[], &env);
}

#[test]
fn what_is_printed_loads_again() {
    let print = |args: &[&str]| match load(args, &[]) {
        Ok(Command::Print(text)) => text,
        other => panic!("{other:?}"),
    };
    let first = print(&[
        "--print-config",
        "--store.url=redis://app:hunter2@cache/2",
        "--auth.insecure",
        "--stream.queue=5000",
        "--beacon.interval=1500ms",
        "--retention.age=90m",
        "--log.level=warn,tidings_gateway=debug",
    ]);
    assert!(first.contains("\nurl = \"redis://app:***@cache:6379/2\"\n"), "{first}");
    assert!(first.contains("From: --stream.queue.\nqueue = \"5000B\"\n"), "{first}");
    let file = file(&first);
    let second = print(&["--print-config", "--config", path(&file)]);
    let values = |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(values(&first), values(&second));
    assert_eq!(values(&first).iter().filter(|line| line.contains(" = ")).count(), settings::SETTINGS.len());
    assert_eq!(run(&["--config", path(&file)], &[]).retention.age_ms, 90 * 60 * 1000);
}

#[test]
fn the_table_is_whole() {
    let mut sections = Vec::new();
    for setting in settings::SETTINGS {
        // Its default, as shown, is a value that it takes.
        let mut config = Config::default();
        let text = setting.text(&config);
        (setting.set)(&mut config, &text).unwrap();
        assert_eq!(setting.text(&config), text, "{}", setting.key);
        sections.push(setting.parts().0);
    }
    sections.dedup();
    let together = sections.len();
    sections.sort_unstable();
    sections.dedup();
    assert_eq!(sections.len(), together, "a section's settings stand together");
}

#[test]
fn help_wins_and_names_every_setting() {
    let Ok(Command::Help(help)) = load(&["--version", "--nonsense", "-h"], &[]) else { panic!("no help") };
    for setting in settings::SETTINGS {
        assert!(help.contains(&format!("  {} ", setting.key)), "{}", setting.key);
    }
    let Ok(Command::Version(version)) = load(&["-V", "--print-config"], &[]) else { panic!("no version") };
    assert_eq!(version, format!("tidings-gateway {}\n", env!("CARGO_PKG_VERSION")));
}

#[cfg(debug_assertions)]
#[test]
fn what_tests_switch_off_is_known_by_name() {
    use crate::without::Mechanism;

    let redis = ["--store.url=redis://a", "--auth.insecure=true"];
    let without = run(&redis, &[("TIDINGS_TEST_WITHOUT", "journal,watch")]).without;
    assert!(without.lacks(Mechanism::Journal) && without.lacks(Mechanism::Watch) && !without.lacks(Mechanism::Beacon));
    assert!(run(&redis, &[]).without.is_nothing());
    let lines = mistakes(&redis, &[("TIDINGS_TEST_WITHOUT", "journal,beakon")]);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("TIDINGS_TEST_WITHOUT = \"beakon\": expected some of journal, beacon, "), "{lines:?}");
    assert_eq!(mistakes(&[], &[("TIDINGS_TEST_WITHOUT", "journal")]).len(), 1, "memory:// has no such mechanisms");
}
