//! Which `Host` and `Origin` a request may have where a web page could do harm by asking.
//!
//! A page whose name is made to resolve to 127.0.0.1 (DNS rebinding) is of one origin with a listener there, and could
//! read and publish. Its requests carry its own name as `Host`. So a listener answers only to names that are its own.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use actix_web::ResponseError;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use actix_web::http::{Method, Version};
use actix_web::middleware::Next;
use actix_web::web::Data;

use crate::problem::{Kind, Problem};

/// Names by which a listener may be called, besides `localhost` and IP addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostNames(Arc<[Box<str>]>);

/// A text that is no list of host names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}; {found:?} is none of these", HostNames::ALLOWED)]
pub struct WrongHostName {
    found: String,
}

/// The rule of a listener.
#[derive(Debug, Clone)]
pub struct HostRule {
    names: HostNames,
    /// The setting that lists the names, for the problem.
    setting: &'static str,
    scope: RuleScope,
}

/// Which requests a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleScope {
    /// All.
    Everything,
    /// Those that may change something: neither GET nor HEAD.
    Writes,
}

impl HostNames {
    /// What a list may be.
    pub const ALLOWED: &'static str =
        "nothing, or host names without ports, such as tidings.internal, separated by commas";

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

impl FromStr for HostNames {
    type Err = WrongHostName;

    fn from_str(text: &str) -> Result<Self, WrongHostName> {
        let part_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let name = |text: &str| match text.trim() {
            name if !name.is_empty() && name.bytes().all(part_of_name) => Ok(name.to_ascii_lowercase().into()),
            other => Err(WrongHostName { found: other.to_owned() }),
        };
        let names = text.split(',').filter(|_| !text.trim().is_empty());
        names.map(name).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for HostNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl HostRule {
    /// The rule of the admin listener, health and metrics included: they are readable by a page otherwise.
    pub fn admin(names: HostNames) -> Self {
        Self { names, setting: "admin.hosts", scope: RuleScope::Everything }
    }

    /// The rule for writes on the public listener.
    pub fn public(names: HostNames) -> Self {
        Self { names, setting: "server.hosts", scope: RuleScope::Writes }
    }

    /// Checks a request.
    fn check(&self, request: &ServiceRequest) -> Result<(), Problem> {
        let reads = [Method::GET, Method::HEAD].contains(request.method());
        if self.scope == RuleScope::Writes && reads {
            return Ok(());
        }
        let headers = request.headers();
        let host = text(headers, HOST);
        match host {
            // No browser speaks HTTP/1.0, but some health checks do.
            None if request.version() == Version::HTTP_10 && !headers.contains_key(ORIGIN) => return Ok(()),
            Some(host) if self.knows(host) => {}
            host => return Err(self.misdirected(host.unwrap_or_default())),
        }
        match headers.contains_key(ORIGIN) {
            true => check_origin(text(headers, ORIGIN).unwrap_or_default(), host.unwrap_or_default()),
            false => Ok(()),
        }
    }

    fn knows(&self, host: &str) -> bool {
        if let Some(rest) = host.strip_prefix('[') {
            let address = rest.split_once(']').filter(|(_, port)| port.is_empty() || is_port(port));
            return address.is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok());
        }
        let name = match host.find(':') {
            Some(at) if is_port(&host[at..]) => &host[..at],
            Some(_) => return false,
            None => host,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        name.parse::<Ipv4Addr>().is_ok() || name.eq_ignore_ascii_case("localhost") || self.names.has(name)
    }

    fn misdirected(&self, host: &str) -> Problem {
        let setting = self.setting;
        let detail = format!(
            "this listener is not called {host:?}: use an IP address or localhost, or list the name in {setting}"
        );
        Problem::new(Kind::Misdirected, detail)
    }
}

/// A page may ask only where it came from: with `http` or `https`, and the same host and port.
fn check_origin(origin: &str, host: &str) -> Result<(), Problem> {
    let web = origin.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme));
    if web.is_some_and(|(_, page)| page.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    let detail = format!("a page of {origin} may not ask this; services may, and they send no Origin");
    Err(Problem::new(Kind::Forbidden, detail))
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// Middleware that holds requests to the listener's rule, before their body is read.
pub(crate) async fn guard_hosts(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let checked = request.app_data::<Data<HostRule>>().map_or(Ok(()), |rule| rule.check(&request));
    match checked {
        Ok(()) => next.call(request).await,
        Err(problem) => Ok(request.into_response(problem.error_response())),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn check(rule: &HostRule, method: Method, host: Option<&str>, origin: Option<&str>) -> u16 {
        let mut request = TestRequest::default().method(method).uri("/metrics");
        for (name, value) in [(HOST, host), (ORIGIN, origin)] {
            if let Some(value) = value {
                request = request.insert_header((name, value));
            }
        }
        rule.check(&request.to_srv_request()).map_or_else(|problem| problem.kind().status().as_u16(), |()| 200)
    }

    #[test]
    fn a_listener_answers_to_addresses_localhost_and_its_names() {
        let rule = HostRule::admin("tidings.internal, Gateway".parse().unwrap());
        for host in [
            "127.0.0.1",
            "127.0.0.1:9090",
            "10.1.2.3:1",
            "[::1]",
            "[::1]:9090",
            "localhost",
            "LOCALHOST:9090",
            "localhost.",
            "tidings.internal",
            "Tidings.Internal:9090",
            "gateway",
        ] {
            assert_eq!(check(&rule, Method::GET, Some(host), None), 200, "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "x.tidings.internal",
            "127.0.0.1:9090:1",
            "127.0.0.1:x",
            "[::1",
            "[evil.example]",
            "[::1]x",
            "::1",
            "2130706433",
        ] {
            assert_eq!(check(&rule, Method::GET, Some(host), None), 421, "{host}");
        }
        assert_eq!(check(&rule, Method::GET, None, None), 421);
    }

    #[test]
    fn a_page_asks_only_where_it_came_from() {
        let rule = HostRule::admin(HostNames::default());
        let from = |origin| check(&rule, Method::POST, Some("127.0.0.1:9090"), Some(origin));
        for origin in ["http://127.0.0.1:9090", "https://127.0.0.1:9090"] {
            assert_eq!(from(origin), 200, "{origin}");
        }
        for origin in ["null", "", "http://127.0.0.1", "http://evil.example", "ftp://127.0.0.1:9090", "127.0.0.1:9090"]
        {
            assert_eq!(from(origin), 403, "{origin}");
        }
    }

    #[test]
    fn on_the_public_listener_only_writes_are_held_to_it() {
        let rule = HostRule::public(HostNames::default());
        assert_eq!(check(&rule, Method::GET, Some("app.example"), Some("https://app.example")), 200);
        assert_eq!(check(&rule, Method::PUT, Some("app.example"), Some("https://app.example")), 421);
        assert_eq!(check(&rule, Method::POST, Some("localhost"), Some("https://app.example")), 403);
    }

    #[test]
    fn names_are_names() {
        for text in ["", "a", "a.example,b"] {
            assert_eq!(text.parse::<HostNames>().unwrap().to_string(), text);
        }
        for (text, found) in [("a:80", "a:80"), ("a,", ""), ("http://a", "http://a"), ("*", "*"), ("a b", "a b")] {
            assert_eq!(text.parse::<HostNames>().unwrap_err().found, found);
        }
    }
}
