//! The load kit itself, small: it shows that every scenario runs and counts what it should, and nothing of speed.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tidings_tests::Setup;

const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// What a run reports; panics with its output if it fails.
fn load(args: &[&str]) -> (Value, TempDir) {
    let folder = TempDir::with_prefix("tidings-load-").unwrap();
    let json = folder.path().join("load.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args(args).args(["--quick", "--connections", "50", "--json"]).arg(&json);
    command.arg("--markdown").arg(folder.path().join("load.md")).arg("--svg").arg(folder.path());
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    (serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap(), folder)
}

fn rows<'a>(report: &'a Value, scenario: &str) -> Vec<&'a Value> {
    let rows: Vec<_> = report["results"].as_array().unwrap().iter().filter(|row| row["scenario"] == scenario).collect();
    assert!(!rows.is_empty(), "no row of {scenario}: {report}");
    rows
}

fn figure(row: &Value, name: &str) -> f64 {
    let figures = row["figures"].as_array().unwrap();
    let figure = figures.iter().find(|figure| figure["figure"] == name);
    figure.and_then(|figure| figure["median"].as_f64()).unwrap_or_else(|| panic!("no {name}: {row}"))
}

#[test]
fn every_scenario_runs_and_nothing_is_lost() {
    let (report, folder) = load(&["all"]);
    for scenario in ["idle", "broadcast", "keyed", "mixed", "storm", "slow", "rollout", "churn"] {
        for row in rows(&report, scenario) {
            assert_eq!(row["kept"], true, "{row}");
        }
        assert!(rows(&report, scenario).iter().any(|row| row["server"].as_str().unwrap().starts_with("gateway")));
    }
    for row in ["broadcast", "keyed", "mixed", "storm"].iter().flat_map(|scenario| rows(&report, scenario)) {
        assert!(figure(row, "expected") > 0.0, "{row}");
        assert_eq!(figure(row, "delivered"), figure(row, "expected"), "{row}");
    }
    for row in rows(&report, "broadcast") {
        assert!(figure(row, "to_raw") > 0.0, "{row}");
    }
    let nchan = rows(&report, "broadcast").iter().any(|row| row["server"].as_str().unwrap().starts_with("nchan"));
    assert_eq!(nchan, Path::new(NCHAN).exists(), "nchan takes part where it is installed");
    for file in ["load.md", "broadcast.svg", "broadcast-curve.svg", "idle.svg", "storm-curve.svg"] {
        assert!(folder.path().join(file).exists(), "{file}");
    }
}

#[test]
fn hostile_clients_cost_no_honest_one_its_stream() {
    let (report, _folder) = load(&["hostile"]);
    let hostile = rows(&report, "hostile");
    assert_eq!(hostile.len(), 2, "{report}");
    for row in hostile {
        assert_eq!(row["kept"], true, "{row}");
        assert_eq!(figure(row, "delivered"), figure(row, "expected"), "{row}");
        assert!(figure(row, "resume_p50") > 0.0, "{row}");
    }
}

#[test]
fn clients_come_each_way_to_the_gateway() {
    let (report, _folder) =
        load(&["idle", "broadcast", "--servers", "gateway", "--over", "plain,tls,h2,h2c", "--streams", "1,20"]);
    let names = ["", ", HTTPS", ", HTTPS, HTTP/2 of 1", ", HTTPS, HTTP/2 of 20", ", HTTP/2 of 1", ", HTTP/2 of 20"];
    for name in names.map(|name| format!("gateway, 1 worker{name}")) {
        for scenario in ["idle", "broadcast"] {
            let of_it: Vec<_> = rows(&report, scenario).into_iter().filter(|row| row["server"] == name).collect();
            assert_eq!(of_it.len(), if scenario == "idle" { 1 } else { 2 }, "{name}: {report}");
            assert!(of_it.iter().all(|row| row["kept"] == true), "{of_it:?}");
        }
        let row = rows(&report, "broadcast").into_iter().find(|row| row["server"] == name).unwrap();
        assert_eq!(figure(row, "delivered"), 4.0 * 50.0, "{row}");
    }
}

#[tokio::test]
async fn a_peer_takes_part_as_its_file_describes_it() {
    let mut gateway = Setup::memory().start().await;
    let (public, admin, pid) = (gateway.public(), gateway.admin(), gateway.process().id());
    let folder = TempDir::with_prefix("tidings-peer-").unwrap();
    let file = folder.path().join("peer.toml");
    let text = format!(
        r#"
        name = "another"
        address = "{public}"
        pids = [{pid}]
        [stream]
        path = "/v1/events?{{addresses}}"
        address = "topic={{address_url}}"
        join = "&"
        ready = "tidings.ready"
        headers = ["X-Some: header"]
        [publish]
        url = "http://{admin}/v1/publish"
        headers = ["Content-Type: application/json"]
        body = '{{"to":"{{address}}","data":{{data}}}}'
        "#
    );
    std::fs::write(&file, text).unwrap();
    let args = ["mixed", "--servers", "peers", "--peer", file.to_str().unwrap()];
    let report = tokio::task::spawn_blocking({
        let args = args.map(str::to_owned);
        move || load(&args.each_ref().map(String::as_str)).0
    });
    let report = report.await.unwrap();
    let row = rows(&report, "mixed")[0];
    assert_eq!((row["server"].as_str(), row["kept"].as_bool()), (Some("another"), Some(true)), "{row}");
    assert!(figure(row, "delivered") > 0.0 && figure(row, "cpu") > 0.0, "{row}");
}

#[test]
fn bad_use_is_told() {
    let folder = TempDir::with_prefix("tidings-peer-").unwrap();
    let file = folder.path().join("peer.toml");
    std::fs::write(&file, "name = \"x\"\naddress = \"127.0.0.1:1\"\nspeed = 9\n").unwrap();
    let says = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_load")).args(args).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let peer = ["idle", "--peer", file.to_str().unwrap()];
    let unknown = says(&peer);
    assert!(unknown.contains("peer.toml") && unknown.contains("speed"), "{unknown}");
    let text = "name = \"x\"\naddress = \"127.0.0.1:1\"\n[stream]\npath = \"/\"\nway.streams = 0\n\
        [publish]\nurl = \"http://127.0.0.1:1\"\nbody = \"\"\n";
    std::fs::write(&file, text).unwrap();
    assert!(says(&peer).contains("stream.way.streams is 0"), "{}", says(&peer));
    assert!(says(&["sleep"]).contains("broadcast"));
    assert!(says(&["idle", "--data", "3"]).contains("64"));
}
