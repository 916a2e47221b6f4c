//! A reverse proxy in front of a gateway, as a child process with a folder and a port of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::port::Port;
use crate::process::Process;
use crate::wait::{PATIENCE, eventually};

/// A reverse proxy that Debian packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReverseProxy {
    /// Varnish, which passes every request on and caches nothing.
    Varnish,
    /// nghttpx of nghttp2, over HTTP/1.1 on both sides.
    Nghttpx,
    /// nginx, with the blocks of its `http` block.
    Nginx(String),
    /// haproxy, with its sections.
    Haproxy(String),
}

/// A running reverse proxy. Dropping it ends it.
#[derive(Debug)]
pub struct Front {
    process: Process,
    port: Port,
    _folder: TempDir,
}

impl ReverseProxy {
    fn program(&self) -> &'static str {
        match self {
            Self::Varnish => "/usr/sbin/varnishd",
            Self::Nghttpx => "/usr/sbin/nghttpx",
            Self::Nginx(_) => "/usr/sbin/nginx",
            Self::Haproxy(_) => "/usr/sbin/haproxy",
        }
    }

    /// Writes the configuration into `folder`. `{listen}` and `{gateway}` stand for addresses in it.
    fn command(&self, folder: &Path, listen: SocketAddr, gateway: SocketAddr) -> Command {
        let file = folder.join("configuration");
        let text = match self {
            Self::Varnish => VARNISH.to_owned(),
            Self::Nghttpx => "workers=1\n".to_owned(),
            Self::Nginx(blocks) => NGINX.replace("{blocks}", blocks),
            Self::Haproxy(sections) => sections.clone(),
        };
        let text = text
            .replace("{folder}", &folder.display().to_string())
            .replace("{listen}", &listen.to_string())
            .replace("{host}", &gateway.ip().to_string())
            .replace("{port}", &gateway.port().to_string())
            .replace("{gateway}", &gateway.to_string());
        std::fs::write(&file, text).expect("a file");
        let mut command = Command::new(self.program());
        match self {
            Self::Varnish => command.args(["-F", "-j", "none", "-s", "malloc,32m", "-a"]).arg(listen.to_string()),
            Self::Nghttpx => command.arg(format!("--frontend={},{};no-tls", listen.ip(), listen.port())),
            Self::Nginx(_) | Self::Haproxy(_) => &mut command,
        };
        match self {
            Self::Varnish => command.arg("-n").arg(folder.join("work")).arg("-f").arg(file),
            Self::Nghttpx => command
                .arg(format!("--backend={},{}", gateway.ip(), gateway.port()))
                .arg(format!("--errorlog-file={}", folder.join("error.log").display()))
                .arg(format!("--conf={}", file.display())),
            Self::Nginx(_) => command.arg("-p").arg(folder).arg("-c").arg(file).arg("-e").arg(folder.join("error.log")),
            Self::Haproxy(_) => command.arg("-db").arg("-f").arg(file),
        };
        command
    }

    /// Starts one and waits until it listens.
    pub async fn start(&self, gateway: SocketAddr) -> Front {
        let program = self.program();
        assert!(Path::new(program).exists(), "{program} is missing; tests/run installs it");
        let (folder, port) = (TempDir::with_prefix("tidings-front-").expect("a folder"), Port::free());
        let listen = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let mut command = self.command(folder.path(), listen, gateway);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let front = Front { process: Process::start(&mut command), port, _folder: folder };
        let listens = async || TcpStream::connect(front.addr()).await.is_ok();
        eventually("the reverse proxy listens", PATIENCE, listens).await;
        front
    }
}

impl Front {
    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number()).into()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Their main processes end their children when they are asked to end, not when they are killed.
        self.process.signal(Signal::TERM);
        let _status = self.process.child().wait();
    }
}

const VARNISH: &str = "vcl 4.1;
backend default { .host = \"{host}\"; .port = \"{port}\"; }
sub vcl_recv { return (pass); }
";

const NGINX: &str = "daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log warn;
events { worker_connections 500; }
http {
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{blocks}
}
";
