//! A gateway as a child process.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::metrics::Metrics;
use crate::port::Port;
use crate::process::Process;
use crate::stopped::StoppedThread;
use crate::wait::{PATIENCE, eventually};

/// How gateways are to be started.
#[derive(Debug, Clone)]
pub struct Setup {
    host: Ipv4Addr,
    flags: Vec<(String, String)>,
    /// What is switched off, as [`WITHOUT`] has it; empty: nothing.
    without: String,
    /// How many files it may have open; 0 is as many as the test.
    files: u32,
    /// Another build of the gateway than the one under test.
    binary: Option<PathBuf>,
}

/// The bytes of the pipe that stderr is.
const PIPE: usize = 4096;
/// The name of the reader's thread.
const READER: &str = "reader";
/// By this variable a gateway is told which mechanisms to go without.
const WITHOUT: &str = "TIDINGS_TEST_WITHOUT";

impl Setup {
    /// The embedded store.
    pub fn memory() -> Self {
        Self::with_store("memory://")
    }

    /// Redis at this URL, quick to see a broken link.
    pub fn redis(url: &str) -> Self {
        Self::with_store(url).with("auth.insecure", "true").with("beacon.interval", "500ms")
    }

    fn with_store(url: &str) -> Self {
        Self { host: Ipv4Addr::LOCALHOST, flags: Vec::new(), without: String::new(), files: 0, binary: None }
            .with("store.url", url)
            .with("server.workers", "2")
            .with("stream.retry", "1s")
            .with("stream.heartbeat", "1s")
            .with("drain.grace", "0s")
            .with("drain.window", "0s")
            .with("stream.resync_spread", "0s")
            .with("log.format", "json")
    }

    /// Lets its public listener be at another address than 127.0.0.1.
    #[must_use]
    pub fn on(self, host: Ipv4Addr) -> Self {
        Self { host, ..self.with("auth.insecure", "true") }
    }

    /// Sets a key, over what was set before.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.flags.retain(|(kept, _)| kept != key);
        self.flags.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Switches mechanisms off, so that a test can show that it fails without them; the table of them is in
    /// `gateway/src/without.rs`. Only with Redis, and not with a release of the gateway.
    #[must_use]
    pub fn without(self, mechanisms: &[&str]) -> Self {
        Self { without: mechanisms.join(","), ..self }
    }

    /// Lets it have no more than so many files open.
    #[must_use]
    pub fn files(self, files: u32) -> Self {
        Self { files, ..self }
    }

    /// Starts another build of the gateway.
    #[must_use]
    pub fn binary(self, path: PathBuf) -> Self {
        Self { binary: Some(path), ..self }
    }

    /// Starts one and waits until it is ready.
    pub async fn start(&self) -> Gateway {
        let gateway = self.start_unready().await;
        gateway.ready().await;
        gateway
    }

    /// Starts one and waits until it listens.
    pub async fn start_unready(&self) -> Gateway {
        let (public, admin) = (Port::free(), Port::free());
        let gateway = Gateway {
            setup: self.clone(),
            public,
            admin,
            stuck: Mutex::default(),
            process: Mutex::default(),
            log: Arc::default(),
            held: Arc::default(),
            http: client(),
        };
        gateway.start().await;
        gateway
    }

    /// Starts several.
    pub async fn start_many(&self, count: usize) -> Vec<Gateway> {
        let mut gateways = Vec::with_capacity(count);
        for _ in 0..count {
            gateways.push(self.start().await);
        }
        gateways
    }
}

/// The public addresses of several, for clients.
pub fn publics(gateways: &[Gateway]) -> Vec<SocketAddr> {
    gateways.iter().map(Gateway::public).collect()
}

/// A gateway, running or killed; it keeps its ports. Its log is shown if the test fails.
#[derive(Debug)]
pub struct Gateway {
    setup: Setup,
    public: Port,
    admin: Port,
    /// Its reader, while it is to stand still.
    stuck: Mutex<Option<StoppedThread>>,
    process: Mutex<Option<Process>>,
    log: Arc<Mutex<Vec<String>>>,
    /// Whether nobody reads its log.
    held: Arc<(Mutex<bool>, Condvar)>,
    http: reqwest::Client,
}

fn client() -> reqwest::Client {
    // No connection is used again: the gateway may close an idle one just then.
    let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    builder.timeout(Duration::from_secs(5)).build().expect("a client")
}

/// The binary under test: `TIDINGS_GATEWAY`, or what cargo built beside the tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TIDINGS_GATEWAY") {
        return path.into();
    }
    let program = std::env::current_exe().expect("a path");
    // Tests lie in target/<profile>/deps, programs beside the gateway.
    let target = program.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).expect("target/<profile>");
    target.join("tidings-gateway")
}

impl Gateway {
    /// Starts it again on its ports, after it ended or was killed.
    pub async fn start(&self) {
        let program = self.setup.binary.clone().unwrap_or_else(binary);
        let mut command = match self.setup.files {
            0 => Command::new(program),
            files => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]).arg(program);
                shell
            }
        };
        command.args(["--server.listen", &self.public().to_string(), "--admin.listen", &self.admin().to_string()]);
        for (key, value) in &self.setup.flags {
            command.arg(format!("--{key}")).arg(value);
        }
        if !self.setup.without.is_empty() {
            command.env(WITHOUT, &self.setup.without);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process::start(&mut command);
        let before = self.log().len();
        let stderr = process.child().stderr.take().expect("a pipe");
        // As small as the kernel allows, so that a few lines fill it while its log is held.
        let _as_it_is = rustix::pipe::fcntl_setpipe_size(&stderr, PIPE);
        let (log, held) = (self.log.clone(), self.held.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                let (held, changed) = &*held;
                let held = held.lock().unwrap_or_else(PoisonError::into_inner);
                drop(changed.wait_while(held, |held| *held));
            }
        });
        *self.running() = Some(process);
        eventually("the gateway says that it listens", PATIENCE, async || {
            self.log().iter().skip(before).any(|line| self.is_listening(line))
        })
        .await;
        let told = self.log().iter().skip(before).any(|line| line.contains(WITHOUT));
        assert!(told || self.setup.without.is_empty(), "a release of the gateway has all its mechanisms");
    }

    fn is_listening(&self, line: &str) -> bool {
        let json: Value = serde_json::from_str(line).unwrap_or_default();
        let says = |key: &str, value: &str| json.get(key).and_then(Value::as_str) == Some(value);
        says("message", "listening")
            && says("public", &self.public().to_string())
            && says("admin", &self.admin().to_string())
    }

    /// Where clients connect.
    pub fn public(&self) -> SocketAddr {
        (self.setup.host, self.public.number()).into()
    }

    /// Where publishers and probes connect.
    pub fn admin(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.admin.number()).into()
    }

    /// The URL that publishers take.
    pub fn url(&self) -> String {
        format!("http://{}", self.admin())
    }

    /// The lines of its log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has logged a line that begins so.
    pub async fn logged(&self, begin: &str) {
        let logged = async || self.log().iter().any(|line| line.starts_with(begin));
        eventually(begin, PATIENCE, logged).await;
    }

    /// Reads its log no more: after some lines its stderr is a full pipe.
    pub fn hold_log(&self) {
        self.set_held(true);
    }

    /// Reads its log again.
    pub fn release_log(&self) {
        self.set_held(false);
    }

    fn set_held(&self, hold: bool) {
        let (held, changed) = &*self.held;
        *held.lock().unwrap_or_else(PoisonError::into_inner) = hold;
        changed.notify_all();
    }

    /// The running process.
    pub fn process(&mut self) -> &mut Process {
        self.process.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().expect("the gateway runs")
    }

    fn running(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that was killed takes none.
    fn signal(&self, signal: Signal) {
        if let Some(process) = &*self.running() {
            process.signal(signal);
        }
    }

    /// Stops its reader, and no other thread, as if it were stuck.
    pub fn stop_reader(&self) {
        let process = self.running().as_ref().expect("the gateway runs").id();
        *self.stuck() = Some(StoppedThread::stop(process, READER));
    }

    /// Lets its reader go on.
    pub fn continue_reader(&self) {
        *self.stuck() = None;
    }

    fn stuck(&self) -> MutexGuard<'_, Option<StoppedThread>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.continue_reader();
        *self.running() = None;
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Stops it from doing anything, its connections open.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends a freeze.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until it has ended by itself.
    pub async fn exit(&self) -> ExitStatus {
        let ended = || self.running().as_mut().expect("the gateway was started").ended();
        eventually("the gateway ends", PATIENCE, async || ended().is_some()).await;
        ended().expect("it has ended")
    }

    /// Whether it still runs.
    pub fn is_up(&self) -> bool {
        self.running().as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// Waits until it is ready to take connections, and its store works.
    pub async fn ready(&self) {
        eventually("the gateway is ready", PATIENCE, async || self.works().await).await;
    }

    /// Whether it is ready to take connections, and its store works.
    pub async fn works(&self) -> bool {
        self.strict_readiness().await.0 == 200
    }

    /// Waits until it has noticed that its store does not work, or not all of it.
    pub async fn degraded(&self) {
        let is_degraded = async || self.strict_readiness().await.0 == 503;
        eventually("the gateway is degraded", PATIENCE, is_degraded).await;
    }

    /// Its readiness, which follows its store: status and body.
    pub async fn strict_readiness(&self) -> (u16, String) {
        self.admin_get("/readyz?strict=1").await
    }

    /// A GET of the admin listener: status and body; status 0 if it does not answer.
    pub async fn admin_get(&self, path: &str) -> (u16, String) {
        self.get(self.admin(), path).await
    }

    /// A GET of the public listener, for answers that end.
    pub async fn public_get(&self, path: &str) -> (u16, String) {
        self.get(self.public(), path).await
    }

    async fn get(&self, at: SocketAddr, path: &str) -> (u16, String) {
        match self.http.get(format!("http://{at}{path}")).send().await {
            Ok(response) => (response.status().as_u16(), response.text().await.unwrap_or_default()),
            Err(_) => (0, String::new()),
        }
    }

    /// A scrape.
    pub async fn metrics(&self) -> Metrics {
        let (status, text) = self.admin_get("/metrics").await;
        assert_eq!(status, 200, "/metrics: {text}");
        Metrics::parse(&text)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.release_log();
        if std::thread::panicking() {
            let log = self.log();
            eprintln!("gateway {}, its last log lines:", self.public());
            for line in log.iter().skip(log.len().saturating_sub(30)) {
                eprintln!("  {line:.400}");
            }
        }
    }
}
