//! How one server is connected to: login, database, TLS.

use std::net::SocketAddr;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind as RedisKind, IntoConnectionInfo, Pipeline,
    ProtocolVersion, RedisConnectionInfo, RedisError, Value,
};
use rustls::crypto::{CryptoProvider, ring};
use tidings_shared::store_url::{Login, Secret, Server};

use super::peer::{HEAD_START, Peer, first_of, resolve};
use super::refusal::Refusal;
use super::tls::TlsReader;
use super::verdict::Verdict;
use crate::{Error, ErrorKind};

/// What all servers of a kind have in common.
pub(super) struct Access {
    pub(super) login: Login,
    pub(super) database: u16,
    /// The files of TLS, if it is to be used.
    pub(super) tls: Option<TlsReader>,
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
        self.connect_among(&resolve(server).await?, server, protocol, config).await
    }

    /// The same, among these addresses.
    async fn connect_among(
        &self,
        addresses: &[SocketAddr],
        server: &Server,
        protocol: ProtocolVersion,
        config: &AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, Peer), Error> {
        let connect = async |address| {
            let peer = Peer::new(server.clone(), address);
            let mut connection = self.connect_to(&peer, protocol, config).await?;
            if addresses.len() > 1 && !protocol.supports_resp3() {
                greet(&mut connection, server).await?;
            }
            Ok((connection, peer))
        };
        first_of(addresses, HEAD_START, connect).await
    }

    /// Connects to the server at that address, and logs in.
    pub(super) async fn connect_to(
        &self,
        peer: &Peer,
        protocol: ProtocolVersion,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Error> {
        let server = peer.server();
        let client = self.client(server, protocol, 0).await?;
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
    pub(super) async fn pool_client(&self, server: &Server) -> Result<Client, Error> {
        self.client(server, ProtocolVersion::RESP3, self.database).await
    }

    /// A client of the server, with the certificates as their files are now.
    async fn client(&self, server: &Server, protocol: ProtocolVersion, database: u16) -> Result<Client, Error> {
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
                let certificates = files.read().await?;
                Client::build_with_tls(info, certificates).map_err(wrong)
            }
            None => Client::open(info).map_err(wrong),
        }
    }
}

/// Has the server say something, whatever it is. A frozen one accepts connections too, and a login for RESP2 that has
/// neither password nor database sends nothing that shows it. HELLO needs no right and no login.
async fn greet(connection: &mut MultiplexedConnection, server: &Server) -> Result<(), Error> {
    let answer: Result<Value, RedisError> = redis::cmd("HELLO").arg(2).query_async(connection).await;
    let Err(error) = answer else { return Ok(()) };
    // A server in protected mode closes the connection after this answer.
    let is_denied = error.code() == Some("DENIED");
    let error = command_failure(server, "HELLO", error);
    // Any other refusal is an answer: what is asked for next will tell what it means.
    if is_denied || error.is_retryable() { Err(error) } else { Ok(()) }
}

/// Takes ring where the program has chosen no other: rustls panics if several are compiled in and none is chosen.
fn choose_crypto() {
    if CryptoProvider::get_default().is_none() {
        // Only another thread can have been faster, and then there is one.
        let _ = ring::default_provider().install_default();
    }
}

/// What a failure of `command` at this server means to a caller. The text of the error names both.
pub fn command_failure(server: &Server, command: &'static str, error: RedisError) -> Error {
    let kind = Verdict::of(&error, server).kind();
    Error::new(kind, At { server: server.clone(), command, source: error })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Without a login, for RESP2 in database 0: nothing of it needs an answer.
    fn silent() -> Access {
        Access { login: Login::default(), database: 0, tls: None }
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Gives this answer to whatever comes first.
    async fn answer_once(listener: TcpListener, answer: &'static [u8]) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 512];
        assert_ne!(stream.read(&mut asked).await.unwrap(), 0);
        stream.write_all(answer).await.unwrap();
        while stream.read(&mut asked).await.is_ok_and(|read| read > 0) {}
    }

    async fn connect(addresses: &[SocketAddr]) -> Result<SocketAddr, Error> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let (access, server) = (silent(), Server::new("many.test", 1));
        let connecting = access.connect_among(addresses, &server, ProtocolVersion::RESP2, &config);
        timeout(PATIENCE, connecting).await.expect("in time").map(|(_, peer)| peer.address())
    }

    #[tokio::test]
    async fn an_address_that_only_accepts_is_not_the_first_that_answers() {
        let (_frozen, first) = listener().await;
        for answer in [&b"*0\r\n"[..], b"-ERR unknown command\r\n", b"-NOAUTH log in first\r\n"] {
            let (live, second) = listener().await;
            let answering = tokio::spawn(answer_once(live, answer));
            assert_eq!(connect(&[first, second]).await.unwrap(), second);
            answering.abort();
        }
    }

    #[tokio::test]
    async fn who_speaks_no_resp3_is_told_that_it_is_needed() {
        for answer in [
            &b"-NOPROTO unsupported protocol version\r\n"[..],
            b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n",
            b"-ERR unknown command 'hello'\r\n",
        ] {
            let (listener, address) = listener().await;
            let answering = tokio::spawn(answer_once(listener, answer));
            let config = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE));
            let peer = Peer::new(Server::new("proxy.test", 1), address);
            let connecting = silent().connect_to(&peer, ProtocolVersion::RESP3, &config).await;
            let error = connecting.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Refused);
            assert!(error.to_string().contains("HELLO: ") && error.to_string().contains("RESP3 is needed"), "{error}");
            answering.abort();
        }
    }

    #[tokio::test]
    async fn a_full_server_is_not_the_first_that_answers() {
        let (full, first) = listener().await;
        let (live, second) = listener().await;
        let full = tokio::spawn(answer_once(full, b"-ERR max number of clients reached\r\n"));
        let live = tokio::spawn(answer_once(live, b"*0\r\n"));
        assert_eq!(connect(&[first, second]).await.unwrap(), second);
        full.abort();
        live.abort();
    }
}
