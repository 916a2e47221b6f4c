//! What befalls a node that runs. Each fault holds until what is named beside it ends it.

use std::time::Duration;

use redis::RedisResult;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tidings_shared::keys;

use super::Node;
use crate::wait::{PATIENCE, eventually, now_us};

/// Keys of one partition, with what `DUMP` returned.
pub type Dump = Vec<(String, Vec<u8>)>;

/// Runs until it is killed.
const ENDLESS: &str = "while true do end";

/// What a program writes that knows nothing of this one.
#[derive(Debug, Clone, Copy)]
pub struct Foreign<'a> {
    /// Goes into the journal.
    pub no_address: &'a [u8],
    /// The address for which a message is written.
    pub address: &'a str,
    /// That message.
    pub no_message: &'a [u8],
}

impl Node {
    /// Closes all connections of a kind: `pubsub`, `normal`, `replica` or, at a replica, `master`.
    pub async fn kill_clients(&self, kind: &str) {
        self.must("CLIENT", &["KILL", "TYPE", kind, "SKIPME", "yes"]).await;
    }

    /// How many connections it has closed because more waited for them than they may have waiting.
    pub fn overflows(&self) -> usize {
        self.log().lines().filter(|line| line.contains("output buffer limits")).count()
    }

    /// Deletes all keys: its own, and so its replicas'.
    pub async fn flush(&self) {
        self.must("FLUSHALL", &[]).await;
    }

    /// Forgets all scripts.
    pub async fn flush_scripts(&self) {
        self.must("SCRIPT", &["FLUSH"]).await;
    }

    /// How often a command was called: `evalsha`, or `client|kill`.
    pub async fn calls(&self, command: &str) -> u64 {
        let stats = self.info(&format!("cmdstat_{command}")).await.unwrap_or_default();
        let calls = stats.strip_prefix("calls=").and_then(|rest| rest.split(',').next()?.parse().ok());
        calls.unwrap_or(0)
    }

    /// Lets a replica get no more writes, until [`Node::let_through`], or until it is a primary. Its primary does not
    /// notice: it takes writes that are lost if the replica is promoted. Two replicas must both be held back, as
    /// Sentinel takes the one that has more.
    pub async fn hold_back(&self) {
        // Its link is closed, and no primary takes this password.
        self.must("CONFIG", &["SET", "masterauth", "held back"]).await;
        self.kill_clients("master").await;
        let link = "master_link_status";
        eventually("the replica is cut off", PATIENCE, async || self.info(link).await.as_deref() == Some("down")).await;
    }

    /// Ends [`Node::hold_back`].
    pub async fn let_through(&self) {
        let password = self.password().unwrap_or_default();
        self.must("CONFIG", &["SET", "masterauth", &password]).await;
    }

    /// Keeps its settings as they are now for when it starts again. Sentinels have a node do so whenever they turn it
    /// round, also while a fault holds: what ends the fault would not outlive a restart.
    pub async fn keep_settings(&self) {
        self.must("CONFIG", &["REWRITE"]).await;
    }

    /// Makes it refuse writes, as a replica does, until [`Node::writable`]; not for a node of a cluster.
    pub async fn read_only(&self) {
        // Of a primary that is not there: nothing listens on its own bus.
        self.must("REPLICAOF", &["127.0.0.1", "1"]).await;
    }

    /// Ends [`Node::read_only`].
    pub async fn writable(&self) {
        self.must("REPLICAOF", &["NO", "ONE"]).await;
    }

    /// Leaves it no memory for writes, until [`Node::free_memory`].
    pub async fn fill_memory(&self) {
        self.must("CONFIG", &["SET", "maxmemory", "1"]).await;
    }

    /// Ends [`Node::fill_memory`].
    pub async fn free_memory(&self) {
        self.must("CONFIG", &["SET", "maxmemory", "0"]).await;
    }

    /// How a durable server syncs what it writes: `always`, as it does at first, or `everysec`.
    pub async fn sync(&self, how: &str) {
        self.must("CONFIG", &["SET", "appendfsync", how]).await;
    }

    /// Lets no file of its grow any more, until [`Node::free_disk`]: all that it sees of a full disk. A server that
    /// syncs every write ends itself at the next one; one that syncs every second refuses writes.
    pub fn fill_disk(&self) {
        self.limit_files(Some(0));
    }

    /// Ends [`Node::fill_disk`].
    pub fn free_disk(&self) {
        self.limit_files(None);
    }

    fn limit_files(&self, current: Option<u64>) {
        let id = self.state().process.as_ref().and_then(|process| i32::try_from(process.id()).ok());
        let pid = id.and_then(Pid::from_raw).expect("it runs");
        prlimit(Some(pid), Resource::Fsize, Rlimit { current, maximum: None }).expect("a limit for a child");
    }

    /// Keeps it busy with a script that does not end, until [`Node::idle`]. All others are answered `BUSY`.
    pub async fn busy(&self) {
        self.must("CONFIG", &["SET", "lua-time-limit", "1"]).await;
        let mut connection = self.connection().await.expect("a connection");
        tokio::spawn(async move {
            let _: RedisResult<()> = redis::cmd("EVAL").arg(ENDLESS).arg(0).query_async(&mut connection).await;
        });
        let refused = async || self.ask::<String>("PING", &[]).await.is_err_and(|e| e.code() == Some("BUSY"));
        eventually("it is busy", PATIENCE, refused).await;
    }

    /// Ends [`Node::busy`], if sentinels have not: to them a busy server is down, and so they do.
    pub async fn idle(&self) {
        let _: RedisResult<()> = self.ask("SCRIPT", &["KILL"]).await;
        eventually("it answers", PATIENCE, async || self.ask::<String>("PING", &[]).await.is_ok()).await;
    }

    /// Puts something else under a key that is there, until [`Node::clear`]: no stream, and no hash.
    pub async fn occupy(&self, key: &str) {
        self.must("RENAME", &[key, &format!("{key}:kept")]).await;
        self.must("SET", &[key, "mine"]).await;
    }

    /// Ends [`Node::occupy`]: what was under the key is there again.
    pub async fn clear(&self, key: &str) {
        self.must("RENAME", &[&format!("{key}:kept"), key]).await;
    }

    /// Takes from the default user, whom clients are, the right to a command, until [`Node::permit`].
    pub async fn forbid(&self, command: &str) {
        self.must("ACL", &["SETUSER", "default", &format!("-{command}")]).await;
    }

    /// Ends [`Node::forbid`].
    pub async fn permit(&self, command: &str) {
        self.must("ACL", &["SETUSER", "default", &format!("+{command}")]).await;
    }

    /// From now on it takes about so long to load what it has on disk: its files are written anew, as what is in them by
    /// then counts. For a durable server that lets commands in while it loads ([`Layout::answers_while_loading`]).
    ///
    /// [`Layout::answers_while_loading`]: crate::Layout::answers_while_loading
    pub async fn load_for(&self, time: Duration) {
        let idle = async || self.info("aof_rewrite_in_progress").await.as_deref() == Some("0");
        eventually("its files are not being written anew", PATIENCE, idle).await;
        self.must("BGREWRITEAOF", &[]).await;
        eventually("its files are written anew", PATIENCE, idle).await;
        let keys: u64 = self.ask("DBSIZE", &[]).await.expect("DBSIZE");
        let delay = u64::try_from(time.as_micros()).unwrap_or(u64::MAX) / keys.max(1);
        self.must("CONFIG", &["SET", "key-load-delay", &delay.to_string()]).await;
        self.must("CONFIG", &["REWRITE"]).await;
    }

    /// Changes the password of the default user, here alone and for good. Connections that are open stay.
    pub async fn set_password(&self, password: &str) {
        self.must("CONFIG", &["SET", "requirepass", password]).await;
        self.state().password = Some(password.to_owned());
        self.must("CONFIG", &["SET", "masterauth", password]).await;
        self.must("CONFIG", &["REWRITE"]).await;
    }

    /// Leaves a stream as it is after the clock was set back by so much: its last id lies that far in the future, and
    /// the ids that follow count on from there. Two nodes whose clocks differ are alike.
    pub async fn set_clock_back(&self, stream: &str, by: Duration) {
        let ahead = Duration::from_micros(now_us()) + by;
        self.must("XSETID", &[stream, &format!("{}-0", ahead.as_millis())]).await;
    }

    /// Copies all keys to database 1, at one moment.
    pub async fn copy_database(&self) {
        let keys: Vec<String> = self.ask("KEYS", &["*"]).await.expect("KEYS");
        let mut copy = redis::pipe();
        copy.atomic();
        for key in &keys {
            copy.cmd("COPY").arg(key).arg(key).arg("DB").arg(1).arg("REPLACE").ignore();
        }
        self.send(&copy).await
    }

    /// Swaps its data for what [`Node::copy_database`] copied.
    pub async fn swap_databases(&self) {
        self.must("SWAPDB", &["0", "1"]).await;
    }

    /// Dumps all keys, those of each partition at one moment.
    pub async fn dump(&self) -> Vec<Dump> {
        let mut keys: Vec<String> = self.ask("KEYS", &["*"]).await.expect("KEYS");
        keys.sort();
        let mut dumps = Vec::new();
        for keys in keys.chunk_by(|a, b| keys::partition_of(a) == keys::partition_of(b)) {
            let mut pipeline = redis::pipe();
            pipeline.atomic();
            for key in keys {
                pipeline.cmd("DUMP").arg(key);
            }
            let values: Vec<Option<Vec<u8>>> = self.send(&pipeline).await;
            dumps.push(keys.iter().cloned().zip(values).filter_map(|(key, value)| Some((key, value?))).collect());
        }
        dumps
    }

    /// Restores what [`Node::dump`] dumped over what it has, each partition at one moment.
    pub async fn restore(&self, dumps: &[Dump]) {
        for dump in dumps {
            let mut pipeline = redis::pipe();
            pipeline.atomic();
            for (key, value) in dump {
                pipeline.cmd("RESTORE").arg(key).arg(0).arg(value).arg("REPLACE").ignore();
            }
            self.send::<()>(&pipeline).await;
        }
    }

    /// Writes what no publisher would: an address that is none into the journal, and a message that is none for a real
    /// one, which is also pushed.
    pub async fn write_foreign(&self, journal: &str, stream: &str, publish: &str, foreign: Foreign<'_>) {
        // In one go, as publishers do, so that no event comes in between.
        let script = "redis.call('XADD', KEYS[1], '*', 'a', ARGV[1])
            local id = redis.call('XADD', KEYS[1], '*', 'a', ARGV[2])
            redis.call('XADD', KEYS[2], id, 'm', ARGV[3])
            redis.call(ARGV[4], KEYS[2], ARGV[3])";
        let mut connection = self.connection().await.expect("a connection");
        let mut eval = redis::cmd("EVAL");
        eval.arg(script).arg(2).arg(journal).arg(stream);
        eval.arg(foreign.no_address).arg(foreign.address).arg(foreign.no_message).arg(publish);
        eval.query_async::<()>(&mut connection).await.expect("EVAL");
    }

    /// Writes a snapshot to disk.
    pub async fn save(&self) {
        self.must("SAVE", &[]).await;
    }

    /// Loads the snapshot that is on disk in place of its data.
    pub async fn reload(&self) {
        self.must("DEBUG", &["RELOAD", "NOSAVE"]).await;
    }

    /// Sends a pipeline.
    async fn send<T: redis::FromRedisValue>(&self, pipeline: &redis::Pipeline) -> T {
        let mut connection = self.connection().await.expect("a connection");
        pipeline.query_async(&mut connection).await.unwrap_or_else(|e| panic!("{pipeline:?}: {e}"))
    }

    async fn must(&self, command: &str, args: &[&str]) {
        self.ask::<()>(command, args).await.unwrap_or_else(|e| panic!("{command} {args:?}: {e}"));
    }
}
