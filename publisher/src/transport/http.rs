//! Publishing through a gateway: `POST /v1/publish`.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, ClientBuilder, Url, redirect};
use serde::Deserialize;

use super::problem::Problem;
use crate::parcel::{Key, Parcel};
use crate::{Error, ErrorKind, Receipt};

/// How long an idle connection is kept: shorter than a gateway keeps it (`server.keep_alive`, 90 s), as one that it is
/// just closing takes no request.
const POOL_IDLE: Duration = Duration::from_secs(60);

/// A gateway's publish API.
pub(crate) struct Http {
    client: Client,
    publish: Url,
}

/// What a list answers for one event.
#[derive(Deserialize)]
#[serde(untagged)]
enum Outcome {
    Done(Receipt),
    Failed { error: Problem },
}

impl Http {
    /// The API at `url`, which may have a path that `/v1/publish` is put behind. Nothing is sent yet. An answer that
    /// takes longer than `timeout` is given up.
    pub(crate) fn new(url: &str, timeout: Duration) -> Result<Self, Error> {
        let publish = endpoint(url, "v1/publish")?;
        let client = client().timeout(timeout).build().map_err(failure)?;
        Ok(Self { client, publish })
    }

    /// Sends the parcels once. Should the gateway refuse a list for one bad event, they go one by one, so that only
    /// the bad one fails.
    pub(crate) async fn attempt(&self, parcels: &[&Parcel]) -> Result<Vec<Result<Receipt, Error>>, Error> {
        if let [one] = parcels {
            return Ok(vec![self.one(one).await]);
        }
        match self.many(parcels).await {
            Err(error) if error.kind() == ErrorKind::InvalidEvent => {
                let mut receipts = Vec::with_capacity(parcels.len());
                for parcel in parcels {
                    receipts.push(self.one(parcel).await);
                }
                Ok(receipts)
            }
            other => other,
        }
    }

    async fn one(&self, parcel: &Parcel) -> Result<Receipt, Error> {
        let answer = self.post(parcel.body.clone()).await?;
        let receipt = serde_json::from_slice(&answer).map_err(|error| Error::new(ErrorKind::Protocol, error))?;
        Ok(honest(receipt, parcel))
    }

    async fn many(&self, parcels: &[&Parcel]) -> Result<Vec<Result<Receipt, Error>>, Error> {
        let bodies: Vec<&str> = parcels.iter().map(|parcel| parcel.body.as_str()).collect();
        let answer = self.post(format!("[{}]", bodies.join(","))).await?;
        let outcomes: Vec<Outcome> =
            serde_json::from_slice(&answer).map_err(|error| Error::new(ErrorKind::Protocol, error))?;
        if outcomes.len() != parcels.len() {
            let told = format!("{} outcomes came for {} events", outcomes.len(), parcels.len());
            return Err(Error::told(ErrorKind::Protocol, told));
        }
        let receipts = outcomes.into_iter().zip(parcels).map(|(outcome, parcel)| match outcome {
            Outcome::Done(receipt) => Ok(honest(receipt, parcel)),
            Outcome::Failed { error } => Err(error.into_error()),
        });
        Ok(receipts.collect())
    }

    async fn post(&self, body: String) -> Result<Vec<u8>, Error> {
        let request = self.client.post(self.publish.clone()).header(CONTENT_TYPE, "application/json").body(body);
        let response = request.send().await.map_err(failure)?;
        if !response.status().is_success() {
            return Err(Problem::read(response).await);
        }
        Ok(response.bytes().await.map_err(failure)?.to_vec())
    }
}

/// With a key that was made up here, a "duplicate" can only be an earlier attempt of the same call.
fn honest(mut receipt: Receipt, parcel: &Parcel) -> Receipt {
    receipt.duplicate &= matches!(parcel.key, Some(Key::Given(_)));
    receipt
}

/// `url` with `path` put behind its own.
pub(crate) fn endpoint(url: &str, path: &str) -> Result<Url, Error> {
    let parsed = Url::parse(url).ok().filter(|url| url.host().is_some());
    let mut endpoint = parsed.ok_or_else(|| Error::told(ErrorKind::InvalidUrl, "use http://host[:port]"))?;
    endpoint.set_path(&format!("{}/{path}", endpoint.path().trim_end_matches('/')));
    endpoint.set_query(None);
    endpoint.set_fragment(None);
    Ok(endpoint)
}

/// What clients of gateways have in common: they are near, so no proxy of the environment stands between, and they never redirect.
pub(crate) fn client() -> ClientBuilder {
    Client::builder().no_proxy().redirect(redirect::Policy::none()).pool_idle_timeout(POOL_IDLE)
}

/// What a failure of the HTTP client means. The URL, which may hold a password, is taken out.
pub(crate) fn failure(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let kind = match &error {
        e if e.is_builder() => ErrorKind::InvalidUrl,
        e if e.is_timeout() => ErrorKind::Timeout,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, Causes(error))
}

/// reqwest's own text says only "error sending request"; what happened stands further down.
#[derive(Debug)]
struct Causes(reqwest::Error);

impl std::fmt::Display for Causes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)?;
        let mut cause = std::error::Error::source(&self.0);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Causes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_goes_behind_that_of_the_url() {
        let at = |url| endpoint(url, "v1/publish").unwrap().to_string();
        assert_eq!(at("http://h:1"), "http://h:1/v1/publish");
        assert_eq!(at("http://h:1/hub/?x#y"), "http://h:1/hub/v1/publish");
        assert!(endpoint("http://", "v1/publish").is_err());
    }
}
