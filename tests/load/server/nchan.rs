//! nchan, an nginx module, as Debian packages it: one worker, a configuration and a folder of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tidings_tests::port::Port;
use tidings_tests::process::Process;
use tidings_tests::wait::{PATIENCE, eventually};

use super::spec::{Publish, Spec, Stream, Way};

const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
const NGINX: &str = "/usr/sbin/nginx";

/// A running nginx. Dropping it ends it.
pub struct Nchan {
    process: Process,
    port: Port,
    _folder: TempDir,
}

impl Nchan {
    /// Starts one; `None` where it is not installed.
    pub async fn start() -> Option<Self> {
        if !Path::new(MODULE).exists() || !Path::new(NGINX).exists() {
            return None;
        }
        let (folder, port) = (TempDir::with_prefix("tidings-nchan-").expect("a folder"), Port::free());
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration(folder.path(), port.number())).expect("a file");
        let mut command = Command::new(NGINX);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).arg("-e").arg(folder.path().join("error.log"));
        let process = Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
        let address = ("127.0.0.1", port.number());
        let answers = async || tokio::net::TcpStream::connect(address).await.is_ok();
        eventually("nginx listens", PATIENCE, answers).await;
        Some(Self { process, port, _folder: folder })
    }

    /// How it is spoken to.
    pub fn spec(&self) -> Spec {
        let stream = Stream {
            path: "/follow/{addresses}".to_owned(),
            address: "{address}".to_owned(),
            join: ",".to_owned(),
            ready: ": hi".to_owned(),
            headers: Vec::new(),
            way: Way::default(),
        };
        let publish = Publish {
            method: "POST".to_owned(),
            url: format!("http://127.0.0.1:{}/publish/{{address}}", self.port.number()),
            headers: Vec::new(),
            body: "{data}".to_owned(),
            array: false,
        };
        let mut spec = Spec::local("nchan, 1 worker", self.port.number(), stream, publish);
        spec.pids = vec![self.process.id()];
        spec
    }
}

impl Drop for Nchan {
    fn drop(&mut self) {
        // The master ends its worker only when it is asked to end, not when it is killed.
        self.process.signal(rustix::process::Signal::TERM);
        let _ = self.process.child().wait();
    }
}

/// History as the gateway keeps it by default: 1,000 events for an hour, and no event that is older than the stream.
fn configuration(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    format!(
        "load_module {MODULE};
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 19900; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    nchan_shared_memory_size 512M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/follow/(.+)$ {{
            nchan_subscriber eventsource;
            nchan_channel_id $1;
            nchan_channel_id_split_delimiter \",\";
            nchan_subscriber_first_message newest;
            nchan_eventsource_ping_interval 0;
        }}
        location ~ ^/publish/(.+)$ {{
            nchan_publisher;
            nchan_channel_id $1;
            nchan_message_buffer_length 1000;
            nchan_message_timeout 1h;
        }}
    }}
}}
"
    )
}
