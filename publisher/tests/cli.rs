//! The `tidings` command, as a person at a terminal runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed wish is a failed test")]

mod server;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use server::proxy::Proxy;
use server::{Server, command, run, until};
use tidings_publisher::{Event, Publisher};
use tidings_shared::keys::{Keys, Namespace};
use tidings_shared::script::{self, Beacon};
use tidings_shared::{Epoch, Id, Partitions, Retention};

fn tidings(store: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.env("TIDINGS_STORE", store).args(args);
    command
}

/// Runs to the end with `input` on stdin.
async fn with_input(mut command: Command, input: &str) -> Output {
    let input = input.to_owned();
    let work = move || {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(input.as_bytes());
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn output(command: Command) -> Output {
    with_input(command, "").await
}

fn stdout(output: &Output) -> Vec<serde_json::Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A `tidings` that goes on until it is dropped, and its lines.
struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    /// The next line of stdout.
    async fn next(&self) -> serde_json::Value {
        let line = next(&self.out).await;
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"))
    }

    /// Waits for a line of stderr that contains `text`.
    async fn noted(&self, text: &str) -> String {
        loop {
            let line = next(&self.err).await;
            if line.contains(text) {
                return line;
            }
        }
    }
}

fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

async fn next(lines: &Receiver<String>) -> String {
    let mut line = None;
    until("a line", async || {
        line = line.take().or_else(|| lines.try_recv().ok());
        line.is_some()
    })
    .await;
    line.unwrap()
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keys() -> Keys {
    Namespace::default().keys(Partitions::ONE.get(0).unwrap())
}

/// What a gateway does when it attaches: without it no history vouches for itself.
async fn attach(server: &Server, bits: u32) {
    let retention = Retention::default();
    let epoch = Epoch::from_random(bits);
    let (partitions, lease_ms, mark, hold_ms) = (None, 0, None, None);
    let (gateway, seen, run_id, attaching) = ("gw", Id::ZERO, "run", true);
    let beacon =
        Beacon { gateway, seen, epoch, run: run_id, attaching, retention, partitions, lease_ms, mark, hold_ms };
    let _: (String, String) = run(&mut server.connection().await, script::beacon(&keys(), beacon)).await;
}

// publish

#[tokio::test]
async fn publishes_an_event_and_prints_its_receipt() {
    let server = Server::start();
    let args = ["publish", "orders/42", "@alice", "--type", "order.updated", "--version", "7", "--event", "order"];
    let done =
        output(tidings(&server.url(), &[&args[..], &["--data", r#"{"n":1}"#, "--key", "k", "--no-coalesce"]].concat()))
            .await;
    assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), String::new()));
    let receipt = &stdout(&done)[0];
    let mut redis = server.connection().await;
    let entries: Vec<(String, Vec<(String, String)>)> = command(&mut redis, "XRANGE {tidings:0}:u:alice - +").await;
    assert_eq!(
        (receipt["ids"]["@alice"].as_str(), receipt["duplicate"].as_bool()),
        (Some(&*entries[0].0), Some(false))
    );
    let message = &entries[0].1[0].1;
    assert!(message.starts_with("m order.updated - - order {") && message.ends_with(r#""data":{"n":1}}"#), "{message}");
    let again = output(tidings(&server.url(), &["publish", "orders/42", "@alice", "--key", "k"])).await;
    assert_eq!(stdout(&again)[0]["duplicate"], true);
}

#[tokio::test]
async fn takes_data_from_a_file_and_from_stdin() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.json");
    std::fs::write(&file, "{\n  \"from\": \"file\"\n}\n").unwrap();
    let done = output(tidings(&server.url(), &["publish", "a", "--data-file", file.to_str().unwrap()])).await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let done = with_input(tidings(&server.url(), &["publish", "a", "--data", "-"]), "[\"stdin\"]\n").await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let entries: Vec<(String, Vec<(String, String)>)> =
        command(&mut server.connection().await, "XRANGE {tidings:0}:t:a - +").await;
    assert!(entries[0].1[0].1.ends_with(r#""data":{  "from": "file"}}"#), "{entries:?}");
    assert!(entries[1].1[0].1.ends_with(r#""data":["stdin"]}"#), "{entries:?}");
}

#[tokio::test]
async fn says_what_is_wrong_and_ends_with_64() {
    for (args, said) in [
        (&["publish"][..], "ADDRESS"),
        (&["publish", "a b"], "expected a topic"),
        (&["publish", "a", "--type", ".x"], "such as order.updated"),
        (&["publish", "a", "--data", "plain"], "needs quotes"),
        (&["publish", "a", "--data-file", "/none"], "/none"),
        (&["publish", "--ndjson", "/none"], "/none"),
        (&["publish", "a", "--partitions", "33"], "1 to 32"),
        (&["publish", "a", "--namespace", "{"], "namespace"),
        (&["publish", "a", "--store", "rediss+cluster://u:geheim@h/1"], "expected no database"),
        (&["publish", "a", "--store", "rediss://h", "--tls-ca", "/none"], "/none cannot be read"),
        (&["publish", "a", "--store", "redis://h", "--tls-ca", "/none"], "begins with rediss"),
        (&["publish", "a", "--store", "rediss://h", "--tls-key", "/none"], "one of them is missing"),
        (&["tail", "a//b"], "expected a topic"),
        (&["dance"], "dance"),
    ] {
        let done = output(tidings("redis://127.0.0.1:1", args)).await;
        let errors = text(&done.stderr);
        assert_eq!(done.status.code(), Some(64), "{args:?}: {errors}");
        assert!(errors.contains(said) && !errors.contains("geheim"), "{args:?}: {errors}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_69() {
    for store in ["redis://127.0.0.1:1", "http://127.0.0.1:1"] {
        for args in [&["publish", "a"][..], &["tail", "a"]] {
            let done = output(tidings(store, args)).await;
            assert_eq!(done.status.code(), Some(69), "{args:?}: {}", text(&done.stderr));
        }
        let done = with_input(tidings(store, &["publish", "--ndjson", "-"]), "{\"to\":\"a\"}\n").await;
        assert_eq!(done.status.code(), Some(69), "{}", text(&done.stderr));
    }
}

#[tokio::test]
async fn help_teaches_and_is_no_error() {
    for (args, taught) in [
        (&["--help"][..], "130  interrupted"),
        (&["publish", "--help"], "tidings publish orders/42"),
        (&["tail", "--help"], "resync"),
    ] {
        let done = output(tidings("", args)).await;
        assert!(done.status.success() && text(&done.stdout).contains(taught), "{args:?}");
    }
}

#[tokio::test]
async fn of_many_the_bad_ones_are_named_and_the_rest_is_published() {
    let server = Server::start();
    let mut input: Vec<String> = (0..1_200).map(|n| format!(r#"{{"to":"a","version":"{n}"}}"#)).collect();
    input[10] = r#"{"to":"a b"}"#.into();
    input[20] = "not json".into();
    input[30] = String::new();
    let input = input.join("\n");
    let done = with_input(tidings(&server.url(), &["publish", "--ndjson", "-"]), &input).await;
    let errors = text(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{errors}");
    assert!(errors.contains("line 11: to \"a b\" is not valid: expected a topic"), "{errors}");
    assert!(errors.contains("line 21: not JSON"), "{errors}");
    assert!(errors.contains("1197 published, 2 not, of 1200 lines read"), "{errors}");
    let receipts = stdout(&done);
    let ids: Vec<&str> = receipts.iter().map(|receipt| receipt["ids"]["a"].as_str().unwrap()).collect();
    let mut redis = server.connection().await;
    let entries: Vec<(String, Vec<(String, String)>)> = command(&mut redis, "XRANGE {tidings:0}:t:a - +").await;
    let kept: Vec<&str> = entries.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids[ids.len() - kept.len()..], kept);
    assert_eq!((ids.len(), command::<usize>(&mut redis, "XLEN {tidings:0}:j").await), (1197, 1197));
}

#[tokio::test]
async fn a_wrong_line_is_named_in_plain_words() {
    let server = Server::start();
    let input = [
        r#"{"to":"a","version":7}"#,
        r#"{"to":["a",7]}"#,
        r#"{"to":"a","coalesce":"no"}"#,
        r#"{"to":"a","tpye":"x"}"#,
        r#"["a"]"#,
    ];
    let done = with_input(tidings(&server.url(), &["publish", "--ndjson", "-"]), &input.join("\n")).await;
    assert_eq!((done.status.code(), stdout(&done).len()), (Some(1), 1));
    let errors = text(&done.stderr);
    for said in [
        r#"line 2: to[1] "7" is not valid: expected an address in quotes"#,
        r#"line 3: coalesce "\"no\"" is not valid: expected true or false"#,
        r#"line 4: tpye "\"x\"" is not valid: expected one of the fields to, type"#,
        r#"line 5: body "[\"a\"]" is not valid: expected a JSON object"#,
    ] {
        assert!(errors.contains(said), "{said}: {errors}");
    }
}

#[tokio::test]
async fn strict_stops_at_the_first_bad_line() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events");
    std::fs::write(&file, "{\"to\":\"a\"}\n{\"to\":\"a\",\"tpye\":\"x\"}\n{\"to\":\"a\"}\n").unwrap();
    let done = output(tidings(&server.url(), &["publish", "--strict", "--ndjson", file.to_str().unwrap()])).await;
    let errors = text(&done.stderr);
    assert_eq!(done.status.code(), Some(64), "{errors}");
    assert!(
        errors.contains("line 2") && errors.contains("tpye") && errors.contains("nothing after line 2"),
        "{errors}"
    );
    assert_eq!(
        (stdout(&done).len(), command::<usize>(&mut server.connection().await, "XLEN {tidings:0}:j").await),
        (1, 1)
    );
}

#[tokio::test]
async fn a_line_goes_out_before_the_next_one_comes() {
    let server = Server::start();
    let mut child = tidings(&server.url(), &["publish", "--ndjson", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let out = lines(child.stdout.take().unwrap());
    for _ in 0..2 {
        stdin.write_all(b"{\"to\":\"a\"}\n").unwrap();
        assert!(next(&out).await.contains("ids"));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn a_reader_that_leaves_is_no_panic() {
    let server = Server::start();
    let input = "{\"to\":\"a\"}\n".repeat(5_000);
    let mut command = Command::new("sh");
    command.env("TIDINGS", env!("CARGO_BIN_EXE_tidings")).env("TIDINGS_STORE", server.url());
    command.args(["-c", "{ \"$TIDINGS\" publish --ndjson -; echo \"ended $?\" >&2; } | head -n 1"]);
    let done = with_input(command, &input).await;
    assert_eq!(text(&done.stderr), "ended 0\n");
}

// tail

#[tokio::test]
async fn tail_prints_what_a_page_gets() {
    let server = Server::start();
    let tail = Running::start(tidings(&server.url(), &["tail", "orders/42", "@alice", "--verbose"]));
    tail.noted("tidings.ready").await;
    let publisher = Publisher::connect(server.url()).await.unwrap();
    publisher.publish(Event::refresh("orders/42").also_to("@alice").also_to("other").version("7")).await.unwrap();
    publisher.publish(Event::refresh("other")).await.unwrap();
    publisher.publish(Event::refresh("@alice").event_type("x")).await.unwrap();
    let both = tail.next().await;
    assert_eq!((&both["topic"], &both["version"]), (&"orders/42".into(), &"7".into()));
    assert_eq!(both["topics"], serde_json::json!(["orders/42", "@alice"]));
    let one = tail.next().await;
    assert_eq!(
        (&one["topic"], &one["type"], &one["topics"]),
        (&"@alice".into(), &"x".into(), &serde_json::Value::Null)
    );
}

#[tokio::test]
async fn tail_tells_what_it_missed_while_the_connection_was_cut() {
    let server = Server::start();
    attach(&server, 7).await;
    let proxy = Proxy::start(server.port()).await;
    let tail = Running::start(tidings(&proxy.url(), &["tail", "a", "b", "--verbose"]));
    tail.noted("tidings.ready").await;
    let publisher = Publisher::connect(server.url()).await.unwrap();
    for round in 0..5 {
        // The push of the first event cuts the connection, so it and those that follow at once are missed.
        proxy.cut_answers(1);
        for n in 0..20 {
            let address = if n % 2 == 0 { "a" } else { "b" };
            publisher.publish(Event::refresh(address).version(format!("{round}-{n}"))).await.unwrap();
        }
        for n in 0..20 {
            assert_eq!(tail.next().await["version"], format!("{round}-{n}"));
        }
        assert_eq!(proxy.cuts_left(), 0);
        tail.noted("connected again").await;
    }
}

#[tokio::test]
async fn tail_goes_on_after_a_cursor() {
    let server = Server::start();
    attach(&server, 7).await;
    let publisher = Publisher::connect(server.url()).await.unwrap();
    let first = publisher.publish(Event::refresh("a").version("1")).await.unwrap();
    for version in ["2", "3"] {
        publisher.publish(Event::refresh("a").version(version)).await.unwrap();
    }
    let cursor = format!("1.7.{}", first.ids["a"]);
    let done = output(tidings(&server.url(), &["tail", "a", "--cursor", &cursor, "--count", "1", "--verbose"])).await;
    assert_eq!(stdout(&done)[0]["version"], "2");
    let next = text(&done.stderr).lines().last().unwrap().rsplit(' ').next().unwrap().to_owned();
    let done = output(tidings(&server.url(), &["tail", "a", "--cursor", &next, "--count", "1"])).await;
    assert_eq!((stdout(&done)[0]["version"].as_str(), done.status.code()), (Some("3"), Some(0)));
}

#[tokio::test]
async fn tail_never_passes_over_a_gap_in_silence() {
    let server = Server::start();
    attach(&server, 7).await;
    let publisher = Publisher::connect(server.url()).await.unwrap();
    let id = publisher.publish(Event::refresh("a")).await.unwrap().ids["a"];
    for (cursor, reason) in
        [(format!("1.8.{id}"), "epoch"), ("1.7.1000-0".to_owned(), "history-lost"), ("nonsense".to_owned(), "cursor")]
    {
        let done = output(tidings(&server.url(), &["tail", "a", "--cursor", &cursor, "--count", "1"])).await;
        assert_eq!(stdout(&done), [serde_json::json!({"topic": "a", "resync": true, "reason": reason})]);
    }
}

#[tokio::test]
async fn tail_resyncs_when_redis_comes_back_without_its_data() {
    let mut server = Server::start();
    attach(&server, 7).await;
    let tail = Running::start(tidings(&server.url(), &["tail", "a", "--verbose"]));
    tail.noted("tidings.ready").await;
    server.kill();
    tail.noted("coming back").await;
    server.restart();
    assert_eq!(tail.next().await, serde_json::json!({"topic": "a", "resync": true, "reason": "epoch"}));
    Publisher::connect(server.url()).await.unwrap().publish(Event::refresh("a").version("1")).await.unwrap();
    assert_eq!(tail.next().await["version"], "1");
}

#[tokio::test]
async fn interrupted_is_130() {
    let server = Server::start();
    let mut tail = Running::start(tidings(&server.url(), &["tail", "a", "--verbose"]));
    tail.noted("tidings.ready").await;
    let interrupt = format!("kill -INT {}", tail.child.id());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
    let mut code = None;
    until("it ends", async || {
        code = tail.child.try_wait().unwrap();
        code.is_some()
    })
    .await;
    assert_eq!(code.unwrap().code(), Some(130));
}
