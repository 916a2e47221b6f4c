//! What a client is told when a request fails: an RFC 9457 problem, and the one table from kind to status.

use std::fmt;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError, Route, web};
use serde::Serialize;
use tidings_shared::Invalid;

/// What went wrong, and so whose turn it is to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong as it is.
    BadRequest,
    /// Who asks must show it in another way.
    Unauthorized,
    /// Whoever asks may not.
    Forbidden,
    /// There is nothing at this path.
    NotFound,
    /// There is, but not for this method.
    MethodNotAllowed,
    /// The body is larger than allowed.
    PayloadTooLarge,
    /// The body is not of a type that is understood.
    UnsupportedMediaType,
    /// The listener is not called as the request calls it.
    Misdirected,
    /// The request did not come in time.
    RequestTimeout,
    /// The client expects what is not there.
    ExpectationFailed,
    /// The head of the request is larger than allowed.
    HeadTooLarge,
    /// The store is away, or too many are here; the same request may work later, when `Retry-After` says.
    Unavailable,
    /// A mistake of ours.
    Internal,
}

impl Kind {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn title(self) -> &'static str {
        self.status().canonical_reason().unwrap_or("Error")
    }
}

/// A problem. As an error, a response or an item of a list it is the same JSON object.
///
/// Never for the stream, where any status but 200 ends an `EventSource` for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    detail: String,
    culprit: Option<Culprit>,
    allow: Option<&'static str>,
    /// In how many seconds to come back, if it is a matter of time.
    later: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Culprit {
    field: String,
    value: String,
    expected: String,
}

/// The type of every problem's body.
pub const CONTENT_TYPE: &str = "application/problem+json";

impl Problem {
    /// A problem; `detail` is a sentence for people about this very request.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), culprit: None, allow: None, later: 1 }
    }

    /// The same, to be tried again only after this time instead of a second; of use where that may help at all.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self { later: later.as_secs_f64().ceil() as u16, ..self }
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The field of the request that is to blame, if one is.
    pub fn field(&self) -> Option<&str> {
        self.culprit.as_ref().map(|culprit| culprit.field.as_str())
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let culprit = Culprit {
            field: invalid.field().into(),
            value: invalid.value().into(),
            expected: invalid.expected().into(),
        };
        Self { culprit: Some(culprit), ..Self::new(Kind::BadRequest, invalid.to_string()) }
    }
}

/// JSON that does not parse; its text ends in the place, as in `at line 1 column 7`.
impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Kind::BadRequest, format!("the body is not valid JSON: {error}"))
    }
}

/// The object of RFC 9457: `type`, `title`, `status`, `detail`, and `field`, `value`, `expected` where one field is to blame.
impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            title: &'static str,
            status: u16,
            detail: &'a str,
            #[serde(flatten)]
            culprit: &'a Option<Culprit>,
        }
        let (title, status) = (self.kind.title(), self.kind.status().as_u16());
        Body { r#type: "about:blank", title, status, detail: &self.detail, culprit: &self.culprit }
            .serialize(serializer)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.kind.status());
        if self.kind == Kind::Unauthorized {
            // RFC 9110, section 11.6.1: there must be one.
            response.insert_header((WWW_AUTHENTICATE, "Bearer error=\"invalid_request\""));
        }
        if self.kind == Kind::Unavailable {
            response.insert_header((RETRY_AFTER, self.later.to_string()));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, allow));
        }
        response.content_type(CONTENT_TYPE).json(self)
    }
}

impl Responder for Problem {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse<BoxBody> {
        self.error_response()
    }
}

/// The default service of an app: 404.
pub async fn not_found(request: HttpRequest) -> Problem {
    Problem::new(Kind::NotFound, format!("there is nothing at {}", request.path()))
}

/// The last route of a resource: 405, naming the methods it has, as in `GET, HEAD`.
pub fn only(methods: &'static str) -> Route {
    web::to(move |request: HttpRequest| async move {
        let detail = format!("{} takes {methods}, not {}", request.path(), request.method());
        Problem { allow: Some(methods), ..Problem::new(Kind::MethodNotAllowed, detail) }
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
    use actix_web::{App, http::header::CONTENT_TYPE as TYPE};
    use serde_json::{Value, json};

    use super::*;

    /// The status, the headers of note and the body that a small app gives.
    async fn ask(request: TestRequest) -> (u16, Vec<(&'static str, String)>, Value) {
        let away = || async { Err::<HttpResponse, _>(Problem::new(Kind::Unavailable, "the store is away")) };
        let app = App::new()
            .route("/away", web::get().to(away))
            .service(web::resource("/body").default_service(only("POST")))
            .default_service(web::to(not_found));
        let response = call_service(&init_service(app).await, request.to_request()).await;
        let status = response.status().as_u16();
        let header = |name: &'static str| {
            let value = response.headers().get(name)?;
            Some((name, value.to_str().ok()?.to_owned()))
        };
        let headers = ["allow", "retry-after"].into_iter().filter_map(header).collect();
        assert_eq!(response.headers().get(TYPE).unwrap(), CONTENT_TYPE, "{status}");
        let body: Value = read_body_json(response).await;
        assert_eq!((&body["type"], &body["status"]), (&json!("about:blank"), &json!(status)));
        (status, headers, body)
    }

    #[actix_web::test]
    async fn the_body_is_that_of_the_rfc() {
        let invalid = "a b".parse::<tidings_shared::Topic>().unwrap_err().of("topic");
        let body = serde_json::to_string(&Problem::from(invalid.clone())).unwrap();
        let head = r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"topic \"a b\" is not valid: "#;
        assert!(body.starts_with(head), "{body}");
        let tail = format!(r#","field":"topic","value":"a b","expected":"{}"}}"#, invalid.expected());
        assert!(body.ends_with(&tail), "{body}");
        let bare = serde_json::to_value(Problem::new(Kind::Internal, "x")).unwrap();
        assert_eq!(bare, json!({"type":"about:blank","title":"Internal Server Error","status":500,"detail":"x"}));
    }

    #[actix_web::test]
    async fn unknown_paths_and_methods() {
        let (status, _, body) = ask(TestRequest::get().uri("/v1/evnts?access_token=x")).await;
        assert_eq!((status, &body["detail"]), (404, &json!("there is nothing at /v1/evnts")));
        let (status, headers, body) = ask(TestRequest::delete().uri("/body")).await;
        assert_eq!((status, headers), (405, vec![("allow", "POST".to_owned())]));
        assert_eq!(body["detail"], "/body takes POST, not DELETE");
    }

    #[actix_web::test]
    async fn away_says_when_to_come_back() {
        let (status, headers, _) = ask(TestRequest::get().uri("/away")).await;
        assert_eq!((status, headers), (503, vec![("retry-after", "1".to_owned())]));
    }
}
