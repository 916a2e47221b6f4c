//! How one server is connected to: login, database, TLS.

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, RedisError,
};
use rustls::crypto::{CryptoProvider, ring};
use tidings_shared::store_url::{Login, Secret, Server};

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

/// What a server said or did, and which it was.
#[derive(Debug, thiserror::Error)]
#[error("{server}: {}", words(source))]
struct At {
    server: Server,
    source: RedisError,
}

/// An answer in the server's own words, which people look up; anything else as the client library tells it.
fn words(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("{code} {}", error.detail().unwrap_or_default()),
        None => error.to_string(),
    }
}

impl Access {
    /// Connects and logs in. How long that may take is for `config` to say.
    pub(super) async fn connect(
        &self,
        server: &Server,
        protocol: ProtocolVersion,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Error> {
        let client = self.client(server, protocol)?;
        client.get_multiplexed_async_connection_with_config(config).await.map_err(|error| failure(server, error))
    }

    /// A client of the server, with the certificates as their files are now.
    pub(super) fn client(&self, server: &Server, protocol: ProtocolVersion) -> Result<Client, Error> {
        // A user with few rights may not tell the library's name, and each try would stand in the server's ACL LOG.
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        let mut settings = settings.set_db(i64::from(self.database)).set_protocol(protocol);
        if let Some(user) = &self.login.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.login.password {
            settings = settings.set_password(Secret::expose(password));
        }
        let Server { host, port } = server.clone();
        let address = match self.tls {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        };
        let wrong = |error| Error::new(ErrorKind::InvalidUrl, At { server: server.clone(), source: error });
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
    let kind = Verdict::of(&error, server).kind();
    Error::new(kind, At { server: server.clone(), source: error })
}
