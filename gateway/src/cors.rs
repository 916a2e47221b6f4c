//! CORS: which pages of other origins may read what this gateway answers, as the Fetch standard has it. Pure.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use url::Url;

/// The origins whose pages may read. The gateway's own needs no entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origins {
    /// No other.
    #[default]
    None,
    /// Every one, but none with the cookies of its user.
    Any,
    /// These, also with cookies.
    Listed(Arc<[Arc<str>]>),
}

/// A text that is no list of origins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}; {found:?} is none of these", Origins::ALLOWED)]
pub struct WrongOrigin {
    found: String,
}

/// What one request is granted, for the headers of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// CORS is not in use.
    Silent,
    /// To read, whoever asks.
    Any,
    /// To read, for pages of this origin.
    Listed(Arc<str>),
    /// Nothing, while others may: caches are told that the answer depends on who asks.
    Unlisted,
}

/// How long a browser may remember the answer to a preflight, in seconds. No browser takes more.
const MAX_AGE: &str = "7200";
/// What scripts may send besides what any page may send anyway.
const HEADERS: &str = "authorization, cache-control, last-event-id";

impl Origins {
    /// What a list may be.
    pub const ALLOWED: &'static str =
        "nothing, origins such as https://app.example.com, separated by commas, or * alone";

    /// What a request is granted, by its `Origin` header.
    pub fn grant(&self, origin: Option<&str>) -> Grant {
        match self {
            Self::None => Grant::Silent,
            Self::Any => Grant::Any,
            Self::Listed(all) => match all.iter().find(|one| Some(&***one) == origin) {
                Some(one) => Grant::Listed(one.clone()),
                None => Grant::Unlisted,
            },
        }
    }
}

impl Grant {
    /// The headers of any answer, problems too: a page that may not read a problem does not learn what is wrong.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let origin = match self {
            Self::Any => Some("*"),
            Self::Listed(origin) => Some(&**origin),
            Self::Silent | Self::Unlisted => None,
        };
        let listed = matches!(self, Self::Listed(_));
        let varies = matches!(self, Self::Listed(_) | Self::Unlisted);
        let origin = origin.map(|origin| ("access-control-allow-origin", origin));
        // Never beside `*`, where browsers would refuse both.
        let credentials = listed.then_some(("access-control-allow-credentials", "true"));
        origin.into_iter().chain(credentials).chain(varies.then_some(("vary", "Origin")))
    }

    /// The headers that answer a preflight on top; none if nothing is granted.
    pub fn preflight(&self, methods: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
        let granted = matches!(self, Self::Any | Self::Listed(_));
        let headers = [
            ("access-control-allow-methods", methods),
            ("access-control-allow-headers", HEADERS),
            ("access-control-max-age", MAX_AGE),
        ];
        headers.into_iter().filter(move |_| granted)
    }
}

impl FromStr for Origins {
    type Err = WrongOrigin;

    fn from_str(text: &str) -> Result<Self, WrongOrigin> {
        match text.trim() {
            "" => Ok(Self::None),
            "*" => Ok(Self::Any),
            list => list.split(',').map(|one| origin(one.trim())).collect::<Result<_, _>>().map(Self::Listed),
        }
    }
}

/// An origin as browsers write it: in lower case, its host in ASCII, without the port that its scheme has anyway.
fn origin(text: &str) -> Result<Arc<str>, WrongOrigin> {
    let web = |url: &Url| matches!(url.scheme(), "http" | "https") && !text.contains('*');
    let bare = |url: &Url| {
        let rest = &url[url::Position::BeforePath..];
        matches!(rest, "" | "/") && url.username().is_empty() && url.password().is_none()
    };
    let url = Url::parse(text).ok().filter(|url| web(url) && bare(url));
    let url = url.ok_or_else(|| WrongOrigin { found: text.to_owned() })?;
    Ok(url.origin().ascii_serialization().into())
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Any => f.write_str("*"),
            Self::Listed(all) => f.write_str(&all.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origins: &str, origin: Option<&str>) -> String {
        let grant = origins.parse::<Origins>().unwrap().grant(origin);
        let all: Vec<_> = grant.headers().map(|(name, value)| format!("{name}: {value}")).collect();
        all.join("\n").replace("access-control-allow-", "")
    }

    #[test]
    fn what_is_granted_to_whom() {
        let list = "https://app.example.com, http://localhost:3000";
        let (app, local) = (Some("https://app.example.com"), Some("http://localhost:3000"));
        assert_eq!(headers(list, app), "origin: https://app.example.com\ncredentials: true\nvary: Origin");
        assert_eq!(headers(list, local), "origin: http://localhost:3000\ncredentials: true\nvary: Origin");
        for other in [
            None,
            Some("null"),
            Some(""),
            Some("*"),
            Some("http://app.example.com"),
            Some("https://app.example.com:8443"),
            Some("https://app.example.com.evil.example"),
            Some("https://APP.example.com"),
            Some(list),
        ] {
            assert_eq!(headers(list, other), "vary: Origin", "{other:?}");
        }
        assert_eq!([headers("*", app), headers("*", None)], ["origin: *", "origin: *"]);
        assert_eq!([headers("", app), headers("", None)], ["", ""]);
    }

    #[test]
    fn only_who_is_granted_something_gets_more_in_a_preflight() {
        let preflight = |origins: &str| {
            let grant = origins.parse::<Origins>().unwrap().grant(Some("https://a.example"));
            grant.preflight("GET").collect::<Vec<_>>()
        };
        let granted = [
            ("access-control-allow-methods", "GET"),
            ("access-control-allow-headers", "authorization, cache-control, last-event-id"),
            ("access-control-max-age", "7200"),
        ];
        assert_eq!(preflight("https://a.example"), granted);
        assert_eq!(preflight("*"), granted);
        assert_eq!(preflight("https://b.example"), []);
        assert_eq!(preflight(""), []);
    }

    #[test]
    fn origins_are_kept_as_browsers_write_them() {
        for (text, kept) in [
            ("", ""),
            (" * ", "*"),
            ("HTTPS://App.Example.com:443/", "https://app.example.com"),
            ("http://localhost:3000,https://bücher.example", "http://localhost:3000, https://xn--bcher-kva.example"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            let origins: Origins = text.parse().unwrap();
            assert_eq!(origins.to_string(), kept);
            assert_eq!(kept.parse(), Ok(origins));
        }
    }

    #[test]
    fn what_is_no_origin_is_named() {
        for (text, found) in [
            ("https://a.example, *", "*"),
            ("https://*.example.com", "https://*.example.com"),
            ("https://a.example/app", "https://a.example/app"),
            ("https://a.example?x", "https://a.example?x"),
            ("https://user@a.example", "https://user@a.example"),
            ("a.example", "a.example"),
            ("null", "null"),
            ("ftp://a.example", "ftp://a.example"),
            ("https://a.example,", ""),
        ] {
            let error = text.parse::<Origins>().unwrap_err();
            assert_eq!(error.found, found);
            assert!(error.to_string().ends_with(&format!("{found:?} is none of these")), "{error}");
        }
    }
}
