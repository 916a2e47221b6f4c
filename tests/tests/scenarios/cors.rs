//! What pages of other origins may do: the same over every way to a gateway.

use tidings_tests::Gateway;
use tidings_tests::http::{Session, Transport};

use crate::memory;

const APP: &str = "https://app.example.com";
const EVIL: &str = "https://evil.example.com";

/// The CORS headers of the answer to a GET by each way: allowed origin, credentials, vary.
async fn granted(gateway: &Gateway, target: &str, status: u16, origin: Option<&str>) -> [Option<String>; 3] {
    let headers: Vec<_> = origin.map(|origin| ("Origin", origin)).into_iter().collect();
    let mut all = Vec::new();
    for way in Transport::PLAIN {
        let response = way.get(gateway.public(), None, target, &headers).await.unwrap();
        assert_eq!(response.status, status, "{way:?} {target}");
        let header = |name: &str| response.header(name).map(str::to_owned);
        all.push(["access-control-allow-origin", "access-control-allow-credentials", "vary"].map(header));
    }
    assert!(all.iter().all(|one| *one == all[0]), "{target} from {origin:?}: {all:?}");
    all.remove(0)
}

const ANSWERS: [(&str, u16); 4] =
    [("/v1/events?topic=a", 200), ("/v1/events?topic=a%20b", 400), ("/v1/poll?topic=a", 200), ("/v1/poll", 400)];

#[tokio::test]
async fn every_answer_says_who_may_read_it() {
    let (listed, _, _) = memory(|setup| {
        setup.with("cors.origins", &format!("{APP}, http://localhost:3000")).with("limits.streams", "1")
    })
    .await;
    let (any, _, _) = memory(|setup| setup.with("cors.origins", "*")).await;
    let (none, _, _) = memory(|setup| setup).await;
    let some = |text: &str| Some(text.to_owned());
    for (target, status) in ANSWERS {
        let of = async |gateway, origin| granted(gateway, target, status, origin).await;
        for origin in [APP, "http://localhost:3000"] {
            assert_eq!(of(&listed, Some(origin)).await, [some(origin), some("true"), some("Origin")], "{target}");
        }
        for origin in [Some(EVIL), Some("null"), None] {
            assert_eq!(of(&listed, origin).await, [None, None, some("Origin")], "{target}");
        }
        for origin in [Some(APP), None] {
            assert_eq!(of(&any, origin).await, [some("*"), None, None], "{target}");
            assert_eq!(of(&none, origin).await, [None, None, None], "{target}");
        }
    }
    // A stream that is refused must be readable too, or an EventSource takes it for its end.
    let session = Session::open(listed.public()).await.unwrap();
    let _first = session.get("/v1/events?topic=a", &[("origin", APP)]).await.unwrap();
    let refused = session.get("/v1/events?topic=a", &[("origin", APP)]).await.unwrap();
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (200, Some(APP)));
}

#[tokio::test]
async fn a_preflight_is_answered() {
    let (listed, _, _) = memory(|setup| setup.with("cors.origins", APP)).await;
    let (none, _, _) = memory(|setup| setup).await;
    let http = reqwest::Client::new();
    let ask = async |gateway: &Gateway, path: &str, origin: &str| {
        let request = http.request(reqwest::Method::OPTIONS, format!("http://{}{path}", gateway.public()));
        let request = request.header("origin", origin).header("access-control-request-method", "GET");
        request.header("access-control-request-headers", "last-event-id").send().await.unwrap()
    };
    for path in ["/v1/events?topic=a", "/v1/poll?topic=a"] {
        let response = ask(&listed, path, APP).await;
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(response.status(), 204);
        assert_eq!(header("access-control-allow-origin"), Some(APP));
        assert_eq!(header("access-control-allow-credentials"), Some("true"));
        assert_eq!(header("access-control-allow-methods"), Some("GET"));
        let headers = header("access-control-allow-headers").unwrap();
        for needed in ["last-event-id", "authorization", "cache-control"] {
            assert!(headers.split(", ").any(|one| one == needed), "{needed} is not in {headers}");
        }
        assert_eq!(header("vary"), Some("Origin"));

        let refused = ask(&listed, path, EVIL).await;
        assert_eq!((refused.status().as_u16(), refused.headers().get("access-control-allow-origin")), (403, None));
        assert!(refused.text().await.unwrap().contains("cors.origins does not list"));
        assert_eq!(ask(&none, path, APP).await.status(), 405);
    }
}
