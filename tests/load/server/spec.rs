//! How a server is spoken to: the request for a stream, and the request that publishes. All servers are described this
//! way, ours too; that of a further peer is read from a TOML file.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::options::Over;

/// A server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What reports call it.
    pub name: String,
    /// Where streams are asked for.
    pub address: SocketAddrV4,
    /// Its processes; their children count too.
    #[serde(default)]
    pub pids: Vec<u32>,
    /// How to ask for a stream.
    pub stream: Stream,
    /// How to publish.
    pub publish: Publish,
}

/// How to ask for a stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Path and query; `{addresses}` stands for what the connection follows.
    pub path: String,
    /// How one of the addresses is written; `{address}` stands for it, `{address_url}` for it percent-encoded.
    #[serde(default = "as_it_is")]
    pub address: String,
    /// What comes between two.
    #[serde(default)]
    pub join: String,
    /// Text of the line with which a stream is live; without it, it is live with the end of the head.
    #[serde(default)]
    pub ready: String,
    /// Further headers, `Name: value`.
    #[serde(default)]
    pub headers: Vec<String>,
    /// What it comes over.
    #[serde(default)]
    pub way: Way,
}

/// What streams come over.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Way {
    /// The protocol.
    pub over: Over,
    /// Streams on each connection, which HTTP/2 alone may have more than one of.
    pub streams: u32,
    /// The certificate to trust, in DER, for `localhost`.
    pub certificate: Vec<u8>,
}

impl Default for Way {
    fn default() -> Self {
        Self { over: Over::Plain, streams: 1, certificate: Vec::new() }
    }
}

/// How to publish an event.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The method.
    #[serde(default = "post")]
    pub method: String,
    /// The URL. Here and in the body `{address}` and `{data}` stand for those of the event, with `_url` for them
    /// percent-encoded, and `{data_string}` for the data as a JSON string, quotes included.
    pub url: String,
    /// Further headers, `Name: value`.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The body. The data is a JSON object, and must reach clients as it is.
    pub body: String,
    /// Several events at once are one request, whose body is an array.
    #[serde(default)]
    pub array: bool,
}

fn as_it_is() -> String {
    "{address}".to_owned()
}

fn post() -> String {
    "POST".to_owned()
}

impl Spec {
    /// Reads one from a file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let spec: Self = toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        if spec.stream.way.streams == 0 {
            return Err(format!("{}: stream.way.streams is 0: a connection has 1 or more", path.display()));
        }
        if spec.pids.is_empty() {
            return Err(format!("{}: pids is empty: name the processes whose CPU and memory count", path.display()));
        }
        Ok(spec)
    }

    /// A server on this machine whose port is yet to be found.
    pub fn local(name: &str, port: u16, stream: Stream, publish: Publish) -> Self {
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        Self { name: name.to_owned(), address, pids: Vec::new(), stream, publish }
    }
}

/// What every browser says with a request for a stream.
const BROWSER: [(&str, &str); 4] = [
    ("Accept", "text/event-stream"),
    ("Cache-Control", "no-cache"),
    ("User-Agent", "load"),
    ("Accept-Encoding", "gzip, deflate, br"),
];

impl Stream {
    /// The request of a connection that follows these, from this cursor on unless it is empty.
    pub fn request(&self, server: SocketAddrV4, follows: &[String], cursor: &str) -> String {
        let mut request = format!("GET {} HTTP/1.1\r\nHost: {server}\r\n", self.target(follows));
        for (name, value) in self.headers(cursor) {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request + "\r\n"
    }

    /// Path and query for a connection that follows these.
    pub fn target(&self, follows: &[String]) -> String {
        let one = |address: &String| fill(&self.address, address, "");
        let addresses = follows.iter().map(one).collect::<Vec<_>>().join(&self.join);
        self.path.replace("{addresses}", &addresses)
    }

    /// The headers of its request, as a browser sends them.
    pub fn headers<'a>(&'a self, cursor: &'a str) -> Vec<(&'a str, &'a str)> {
        let further = self.headers.iter().filter_map(|header| header.split_once(':'));
        let mut headers: Vec<_> = BROWSER.into_iter().collect();
        headers.extend(further.map(|(name, value)| (name, value.trim())));
        headers.extend((!cursor.is_empty()).then_some(("Last-Event-ID", cursor)));
        headers
    }
}

/// A template with an event's values.
pub fn fill(template: &str, address: &str, data: &str) -> String {
    let url = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let values: [(&str, &dyn Fn() -> String); 5] = [
        ("{address}", &|| address.to_owned()),
        ("{data}", &|| data.to_owned()),
        ("{address_url}", &|| url(address)),
        ("{data_url}", &|| url(data)),
        ("{data_string}", &|| serde_json::Value::from(data).to_string()),
    ];
    let mut filled = template.to_owned();
    for (name, value) in values {
        if filled.contains(name) {
            filled = filled.replace(name, &value());
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_takes_values_as_its_server_wants_them() {
        let filled = |template| fill(template, "t/1", "{\"a\":1}");
        assert_eq!(filled("{address}: {data}"), "t/1: {\"a\":1}");
        assert_eq!(filled("topic={address_url}&data={data_url}"), "topic=t%2F1&data=%7B%22a%22%3A1%7D");
        assert_eq!(filled("{\"data\":{data_string}}"), "{\"data\":\"{\\\"a\\\":1}\"}");
    }

    #[test]
    fn a_request_names_what_is_followed_and_the_cursor() {
        let stream = Stream {
            path: "/events?{addresses}".to_owned(),
            address: "topic={address_url}".to_owned(),
            join: "&".to_owned(),
            headers: vec!["Authorization: Bearer x".to_owned()],
            ready: String::new(),
            way: Way::default(),
        };
        let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
        let follows = ["t/1".to_owned(), "@u".to_owned()];
        let request = stream.request(server, &follows, "c.1");
        assert!(request.starts_with("GET /events?topic=t%2F1&topic=%40u HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with("Authorization: Bearer x\r\nLast-Event-ID: c.1\r\n\r\n"), "{request}");
        assert!(!stream.request(server, &follows, "").contains("Last-Event-ID"));
    }
}
