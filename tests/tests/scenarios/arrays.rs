//! Arrays at `/v1/publish`: bounded, in turns with health, and one by one where that is asked for.

use std::time::{Duration, Instant};

use reqwest::{Client as Http, Response};
use serde_json::{Value, json};
use tidings_tests::wait::PATIENCE;
use tidings_tests::{Client, Gateway, eventually};

use crate::{Stage, memory};

async fn post(gateway: &Gateway, query: &str, body: String) -> Response {
    let url = format!("http://{}/v1/publish{query}", gateway.admin());
    Http::new().post(url).header("content-type", "application/json").body(body).send().await.unwrap()
}

async fn answer(gateway: &Gateway, query: &str, body: String) -> (u16, Value) {
    let response = post(gateway, query, body).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn are_bounded_in_number() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let body = |events: usize| format!("[{}]", vec![r#"{"to":"a"}"#; events].join(","));
    for query in ["", "?partial=true"] {
        let (status, problem) = answer(&gateway, query, body(300_000)).await;
        assert_eq!(status, 413, "{:.300}", problem.to_string());
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("300000") && detail.contains("10000"), "{detail}");
    }
    let (status, outcomes) = answer(&gateway, "", body(10_000)).await;
    assert_eq!((status, outcomes.as_array().unwrap().len()), (200, 10_000));
}

#[tokio::test]
async fn leave_turns_to_health() {
    let (gateway, _, _) = memory(|setup| setup).await;
    let to: Vec<String> = (0..100).map(|n| format!("topics/number/{n}")).collect();
    let event = json!({ "to": to, "coalesce": false }).to_string();
    let body = format!("[{}]", vec![event; 1_000].join(","));
    let publish = async {
        let start = Instant::now();
        let status = post(&gateway, "", body).await.status().as_u16();
        (status, start.elapsed())
    };
    let mut publish = std::pin::pin!(publish);
    let http = Http::new();
    let mut longest = Duration::ZERO;
    let (status, took) = loop {
        let start = Instant::now();
        let livez = http.get(format!("http://{}/livez", gateway.admin())).send();
        let mut livez = std::pin::pin!(livez);
        tokio::select! {
            livez = &mut livez => {
                assert_eq!(livez.unwrap().status(), 200);
                longest = longest.max(start.elapsed());
            }
            done = &mut publish => {
                // The probe that waited for the publish counts as well.
                assert_eq!(livez.await.unwrap().status(), 200);
                longest = longest.max(start.elapsed());
                break done;
            }
        }
    };
    assert_eq!(status, 200);
    assert!(longest < took / 2, "a probe waited {longest:?} of {took:?}");
}

async fn one_by_one(gateway: &Gateway, client: &Client) {
    client.ready().await;
    let body = r#"[{"to":"a","data":{"n":1}},{"to":["a","b c"]},{"to":"a","tpye":"x"},7,{"to":"a","data":{"n":2}}]"#;
    let (status, problem) = answer(gateway, "", body.to_owned()).await;
    assert_eq!((status, &problem["field"]), (400, &"[1].to[1]".into()), "{problem}");
    let (status, outcomes) = answer(gateway, "?partial=true", body.to_owned()).await;
    assert_eq!(status, 207, "{outcomes}");
    let outcomes = outcomes.as_array().unwrap();
    let errors: Vec<&Value> = outcomes.iter().map(|outcome| &outcome["error"]).collect();
    assert_eq!(errors.len(), 5);
    assert!(errors[0].is_null() && errors[4].is_null(), "{outcomes:?}");
    assert!(outcomes[0]["ids"]["a"].is_string() && outcomes[4]["ids"]["a"].is_string(), "{outcomes:?}");
    let field = &errors[1]["field"];
    assert_eq!((field, &errors[1]["status"]), (&"[1].to[1]".into(), &400.into()), "{outcomes:?}");
    for error in &errors[2..4] {
        assert_eq!(error["status"], 400, "{outcomes:?}");
    }
    // Nothing of the array that was refused came before.
    eventually("both came", PATIENCE, async || client.record().messages().len() == 2).await;
    let (status, _) = answer(gateway, "?partial=true", r#"[{"to":"a"}]"#.to_owned()).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn are_taken_in_part_where_that_is_asked_for() {
    let (gateway, _, _) = memory(|setup| setup).await;
    one_by_one(&gateway, &Client::open("client", &[gateway.public()], &["a"])).await;
    let stage = Stage::of(1).await;
    let gateway = &stage.gateways[0];
    one_by_one(gateway, &Client::open("client", &[gateway.public()], &["a"])).await;
}

#[tokio::test]
async fn know_one_parameter() {
    let (gateway, _, _) = memory(|setup| setup).await;
    for (query, field) in [("?partial=maybe", "partial"), ("?partail=true", "partail"), ("?partial", "partial")] {
        let (status, problem) = answer(&gateway, query, "[]".to_owned()).await;
        assert_eq!((status, problem["field"].as_str()), (400, Some(field)), "{problem}");
    }
    for query in ["?partial=false", "?partial=true", ""] {
        assert_eq!(answer(&gateway, query, "[]".to_owned()).await, (200, json!([])));
    }
}
