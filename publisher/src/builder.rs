//! How a publisher is configured.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tidings_shared::keys::Namespace;
use tidings_shared::{Partitions, limits};

use crate::sender::Sender;
use crate::store::{Primaries, RedisUrl, TlsFiles};
use crate::transport::{Http, KeyAges, Redis, Transport, Way};
use crate::{Error, Publisher};

/// Settings of a [`Publisher`]; each has a default.
#[derive(Clone)]
#[must_use]
pub struct Builder {
    url: String,
    namespace: Namespace,
    partitions: Option<Partitions>,
    tls: TlsFiles,
    retries: u32,
    retry_for: Duration,
    timeout: Duration,
    notify_bytes: usize,
    key_age: Duration,
    retry_age: Option<Duration>,
}

/// Made-up keys are remembered at least this long, whatever the timeouts.
const SHORTEST_RETRY_AGE: Duration = Duration::from_secs(10);

impl Builder {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: Namespace::default(),
            partitions: None,
            tls: TlsFiles::default(),
            retries: 3,
            retry_for: Duration::MAX,
            timeout: Duration::from_secs(2),
            notify_bytes: 1024 * 1024,
            key_age: Duration::from_millis(limits::KEY_AGE_MS),
            retry_age: None,
        }
    }

    /// The name that all keys of the installation share. Default: `tidings`. Only for Redis.
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = namespace;
        self
    }

    /// How many partitions the namespace has, as far as is known. Default: 16 on a cluster, else 1. What the gateways have
    /// set in the store wins: with another count the first event costs a second round trip, and no more. Only for Redis.
    pub fn partitions(mut self, partitions: Partitions) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// The authorities to trust, in a PEM file, instead of those of the system. Only for `rediss` URLs.
    pub fn tls_ca(mut self, ca: impl Into<PathBuf>) -> Self {
        self.tls.ca = Some(ca.into());
        self
    }

    /// The client certificate and its key, in PEM files, for servers that ask for one. They are read again with each
    /// connection, so a renewed one is taken. Only for `rediss` URLs.
    pub fn tls_certificate(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        (self.tls.cert, self.tls.key) = (Some(cert.into()), Some(key.into()));
        self
    }

    /// All files of TLS at once.
    pub fn tls(mut self, files: TlsFiles) -> Self {
        self.tls = files;
        self
    }

    /// How often a publish that failed for a passing reason is tried again. Default: 3. With 0, events without a key of
    /// their own carry none, which saves Redis a little memory and time for each.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How long after the first attempt of a publish another one may begin. Default: no limit but
    /// [`Builder::retries`].
    pub fn retry_for(mut self, time: Duration) -> Self {
        self.retry_for = time;
        self
    }

    /// How long one attempt may take, connecting included. Default: 2 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How much memory, in bytes, events may take that wait in [`Publisher::notify`]'s queue or are on their way from
    /// it. Default: 1 MiB.
    pub fn notify_bytes(mut self, bytes: usize) -> Self {
        self.notify_bytes = bytes;
        self
    }

    /// How long Redis remembers the idempotency keys that callers give. Default: 10 minutes. Only for Redis.
    pub fn key_age(mut self, age: Duration) -> Self {
        self.key_age = age;
        self
    }

    /// How long Redis remembers the keys that are made up for the retries of events without one; about 200 bytes of
    /// Redis memory each. Default: twice the longest that all attempts of one call can take, about 20 s, so that no
    /// retry comes after its key is forgotten. Only for Redis.
    pub fn retry_age(mut self, age: Duration) -> Self {
        self.retry_age = Some(age);
        self
    }

    /// Connects, for programs that must not start without the store. Fails with a retryable error
    /// if Redis is away: a service uses [`Builder::lazy`], so that it starts and publishes once
    /// Redis is back. For `http://` the URL is checked, and nothing sent.
    pub async fn connect(self) -> Result<Publisher, Error> {
        Error::unless_in_runtime()?;
        let publisher = self.lazy()?;
        publisher.reach().await?;
        Ok(publisher)
    }

    /// A publisher that connects with its first event, and again whenever the connection is lost.
    /// Fails only for a URL or files of TLS that are not valid.
    pub fn lazy(self) -> Result<Publisher, Error> {
        let transport = match Way::of(&self.url)? {
            Way::Redis(url) => Transport::Redis(Box::new(self.redis(&url)?)),
            Way::Http => Transport::Http(Http::new(&self.url, self.timeout)?),
        };
        let sender = Sender::new(transport, self.retries, self.retry_for);
        Ok(Publisher::new(sender, self.notify_bytes))
    }

    fn redis(&self, url: &RedisUrl) -> Result<Redis, Error> {
        let primaries = Primaries::new(url, self.tls.clone(), self.timeout)?;
        let partitions = self.partitions.unwrap_or_else(|| url.partitions());
        let ages = KeyAges { given: self.key_age, made_up: self.retry_age.unwrap_or_else(|| self.default_retry_age()) };
        Ok(Redis::new(primaries, self.namespace.clone(), partitions, ages, self.timeout))
    }

    fn default_retry_age(&self) -> Duration {
        let longest =
            self.timeout.saturating_mul(self.retries.saturating_add(1)) + Sender::backoff().total(self.retries);
        longest.saturating_mul(2).max(SHORTEST_RETRY_AGE)
    }
}

/// The URL may hold a password, so it is left out.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("namespace", &self.namespace)
            .field("partitions", &self.partitions)
            .field("tls", &self.tls)
            .field("retries", &self.retries)
            .field("retry_for", &self.retry_for)
            .field("timeout", &self.timeout)
            .field("notify_bytes", &self.notify_bytes)
            .field("key_age", &self.key_age)
            .field("retry_age", &self.retry_age)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_default_key_outlives_the_last_retry() {
        let age = Builder::new("redis://h").default_retry_age();
        assert!(age > Duration::from_secs(18) && age < Duration::from_secs(25), "{age:?}");
        assert_eq!(
            Builder::new("redis://h").retries(0).timeout(Duration::ZERO).default_retry_age(),
            SHORTEST_RETRY_AGE
        );
    }

    #[tokio::test]
    async fn secrets_stay_out_of_debug_and_errors() {
        let builder = Builder::new("redis://user:geheim@127.0.0.1:1/0").retries(0);
        let publisher = builder.clone().lazy().unwrap();
        let error = builder.clone().connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let wrong = Builder::new("redis://user:geheim@h/no-number").lazy().unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::InvalidUrl);
        let http = Builder::new("http://user:geheim@127.0.0.1:1").retries(0).lazy().unwrap();
        let refused = http.publish(crate::Event::refresh("a")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        let text =
            format!("{builder:?} {publisher:?} {error} {error:?} {wrong} {wrong:?} {http:?} {refused} {refused:?}");
        assert!(!text.contains("geheim"), "{text}");
    }
}
