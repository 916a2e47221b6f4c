//! How one server is connected to: login, database, TLS.

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind as RedisKind, IntoConnectionInfo, Pipeline,
    ProtocolVersion, RedisConnectionInfo, RedisError,
};
use rustls::crypto::{CryptoProvider, ring};
use tidings_shared::store_url::{Login, Secret, Server};

use super::peer::{Peer, first_of, resolve};
use super::refusal::Refusal;
use super::tls::TlsFiles;
use super::verdict::Verdict;
use crate::{Error, ErrorKind};

/// What all servers of a kind have in common.
pub(super) struct Access {
    pub(super) login: Login,
    pub(super) database: u16,
    /// The files of TLS, if it is to be used.
    pub(super) tls: Option<TlsFiles>,
}

/// What a server said or did, which it was, and to which command.
#[derive(Debug, thiserror::Error)]
#[error("{server}: {}{}{}", of(command), words(source), advice(source))]
struct At {
    server: Server,
    /// Empty where it is not known.
    command: &'static str,
    source: RedisError,
}

fn of(command: &str) -> String {
    if command.is_empty() { String::new() } else { format!("{command}: ") }
}

/// An answer in the server's own words, which people look up; anything else as the client library tells it.
fn words(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("{code} {}", error.detail().unwrap_or_default()),
        None => error.to_string(),
    }
}

/// What would help, if the refusal is known.
fn advice(error: &RedisError) -> String {
    let refusal = match error.kind() {
        RedisKind::RESP3NotSupported => Some(Refusal::NoResp3),
        _ => error.code().and_then(|code| Refusal::of(code, error.detail().unwrap_or_default())),
    };
    refusal.map(|refusal| format!("; {}", refusal.remedy())).unwrap_or_default()
}

impl Access {
    /// Connects to the first address of the server's name that answers, and logs in. How long that may take is for
    /// `config` to say.
    pub(super) async fn connect(
        &self,
        server: &Server,
        protocol: ProtocolVersion,
        config: &AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, Peer), Error> {
        let addresses = resolve(server).await?;
        let connect = async |address| {
            let peer = Peer::new(server.clone(), address);
            self.connect_to(&peer, protocol, config).await.map(|connection| (connection, peer))
        };
        first_of(&addresses, connect).await
    }

    /// Connects to the server at that address, and logs in.
    pub(super) async fn connect_to(
        &self,
        peer: &Peer,
        protocol: ProtocolVersion,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Error> {
        let server = peer.server();
        let client = self.client(server, protocol, 0)?;
        let config = peer.pin(config.clone());
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        let first = if protocol.supports_resp3() { "HELLO" } else { "connecting" };
        let mut connection = connected.map_err(|error| command_failure(server, first, error))?;
        self.log_in(&mut connection, server, protocol).await?;
        Ok(connection)
    }

    /// Sends what the client library would send too, but the library hides the server's answers: a full server and a
    /// wrong password look alike then.
    async fn log_in(
        &self,
        connection: &mut MultiplexedConnection,
        server: &Server,
        protocol: ProtocolVersion,
    ) -> Result<(), Error> {
        let mut commands = Vec::new();
        if let (Some(password), false) = (&self.login.password, self.library_logs_in(protocol)) {
            let mut auth = redis::cmd("AUTH");
            auth.arg(self.login.user.as_deref()).arg(Secret::expose(password));
            commands.push(("AUTH", auth));
        }
        if self.database != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(self.database);
            commands.push(("SELECT", select));
        }
        let mut pipeline = Pipeline::with_capacity(commands.len());
        let names: Vec<&'static str> = commands.iter().map(|(name, _)| *name).collect();
        for (_, command) in commands {
            pipeline.add_command(command);
        }
        let Some(first) = names.first() else { return Ok(()) };
        let answers = connection.send_packed_commands(&pipeline, 0, names.len()).await;
        let answers = answers.map_err(|error| command_failure(server, first, error))?;
        for (name, answer) in names.into_iter().zip(answers) {
            answer.extract_error().map_err(|error| command_failure(server, name, error))?;
        }
        Ok(())
    }

    /// Whether the client library sends the login itself. HELLO carries it. Over TLS 1.3 a server refuses our certificate
    /// only after the handshake, and only the library's own first read shows that refusal.
    fn library_logs_in(&self, protocol: ProtocolVersion) -> bool {
        protocol.supports_resp3() || self.tls.is_some()
    }

    /// A client that does all of the login by itself, for a pool of connections.
    pub(super) fn pool_client(&self, server: &Server) -> Result<Client, Error> {
        self.client(server, ProtocolVersion::RESP3, self.database)
    }

    /// A client of the server, with the certificates as their files are now.
    fn client(&self, server: &Server, protocol: ProtocolVersion, database: u16) -> Result<Client, Error> {
        // A user with few rights may not tell the library's name, and each try would stand in the server's ACL LOG.
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        let mut settings = settings.set_protocol(protocol).set_db(i64::from(database));
        if self.library_logs_in(protocol) {
            if let Some(user) = &self.login.user {
                settings = settings.set_username(user);
            }
            if let Some(password) = &self.login.password {
                settings = settings.set_password(Secret::expose(password));
            }
        }
        let Server { host, port } = server.clone();
        let address = match self.tls {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        };
        let wrong =
            |error| Error::new(ErrorKind::InvalidUrl, At { server: server.clone(), command: "", source: error });
        let info = address.into_connection_info().map_err(wrong)?;
        let info = info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true));
        match &self.tls {
            Some(files) => {
                choose_crypto();
                let certificates = files.read().map_err(|error| Error::new(ErrorKind::InvalidTls, error))?;
                Client::build_with_tls(info, certificates).map_err(wrong)
            }
            None => Client::open(info).map_err(wrong),
        }
    }
}

/// Takes ring where the program has chosen no other: rustls panics if several are compiled in and none is chosen.
fn choose_crypto() {
    if CryptoProvider::get_default().is_none() {
        // Only another thread can have been faster, and then there is one.
        let _ = ring::default_provider().install_default();
    }
}

/// What a failure of this server means to a caller.
pub fn failure(server: &Server, error: RedisError) -> Error {
    command_failure(server, "", error)
}

/// The same, naming the command that failed.
pub fn command_failure(server: &Server, command: &'static str, error: RedisError) -> Error {
    let kind = Verdict::of(&error, server).kind();
    Error::new(kind, At { server: server.clone(), command, source: error })
}
