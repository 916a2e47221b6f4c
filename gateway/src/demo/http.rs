//! The backend's endpoints.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Path, Payload};
use serde::Serialize;

use super::board::Board;
use super::change::Change;
use crate::problem::{Kind, Problem, only};
use crate::request::guard_hosts;

/// An order is some 100 bytes of JSON.
const BODY_BYTES: usize = 4096;

/// Adds the endpoints.
pub fn configure(cfg: &mut web::ServiceConfig) {
    let orders = web::resource("/demo/orders").route(web::get().to(list)).default_service(only("GET"));
    let order = web::resource("/demo/orders/{id}").route(web::get().to(get)).route(web::put().to(put));
    cfg.service(orders).service(order.default_service(only("GET, PUT")).wrap(from_fn(guard_hosts)));
}

async fn list(board: Data<Board>) -> HttpResponse {
    fresh(&board.all())
}

async fn get(board: Data<Board>, id: Path<String>) -> Result<HttpResponse, Problem> {
    let order = number(&id).and_then(|id| board.get(id)).ok_or_else(|| unknown(&id))?;
    Ok(fresh(&order))
}

async fn put(board: Data<Board>, id: Path<String>, body: Payload) -> Result<HttpResponse, Problem> {
    let body = match body.to_bytes_limited(BODY_BYTES).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return Err(Problem::new(Kind::BadRequest, format!("the body could not be read: {error}"))),
        Err(_) => {
            return Err(Problem::new(Kind::PayloadTooLarge, format!("the body is larger than {BODY_BYTES} bytes")));
        }
    };
    let id = number(&id).filter(|id| board.get(*id).is_some()).ok_or_else(|| unknown(&id))?;
    let change = Change::parse(&body)?;
    let order = board.change(id, change).ok_or_else(|| unknown(&id.to_string()))?;
    Ok(fresh(&order))
}

/// An order may have changed by the time it is asked for again: a cached copy would undo what an event is for.
fn fresh(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(body)
}

fn number(id: &str) -> Option<u32> {
    id.parse().ok()
}

fn unknown(id: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("there is no order {id:?}; GET /demo/orders lists them"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use actix_web::http::Method;
    use actix_web::{App, test};
    use serde_json::{Value, json};
    use tidings_shared::Event;

    use super::*;

    /// A board, the service over it, and what it has published so far.
    macro_rules! demo {
        () => {{
            let published = Arc::new(Mutex::new(Vec::<Event>::new()));
            let board = Data::new(Board::new({
                let published = published.clone();
                move |event| published.lock().unwrap().push(event)
            }));
            let app = test::init_service(App::new().configure(|cfg| super::super::configure(cfg, board.clone()))).await;
            (app, board, published)
        }};
    }

    macro_rules! ask {
        ($app:expr, $method:ident $uri:expr, $body:expr) => {{
            let request =
                test::TestRequest::default().method(Method::$method).uri($uri).set_payload($body).to_request();
            let answer = test::call_service(&$app, request).await;
            let status = answer.status().as_u16();
            let body: Value = serde_json::from_slice(&test::read_body(answer).await).unwrap();
            (status, body)
        }};
    }

    fn as_json(events: &Mutex<Vec<Event>>) -> Vec<Value> {
        events.lock().unwrap().iter().map(|event| serde_json::to_value(event).unwrap()).collect()
    }

    #[actix_web::test]
    async fn lists_and_gets() {
        let (app, _, published) = demo!();
        let (status, all) = ask!(app, GET "/demo/orders", "");
        assert_eq!((status, all.as_array().unwrap().len()), (200, 8));
        assert_eq!(all[2]["status"], "new");
        assert_eq!(ask!(app, GET "/demo/orders/3", ""), (200, all[2].clone()));
        assert!(as_json(&published).is_empty());
    }

    #[actix_web::test]
    async fn each_put_bumps_the_version_and_publishes() {
        let (app, board, published) = demo!();
        let (status, order) = ask!(app, PUT "/demo/orders/3", r#"{"quantity":7}"#);
        assert_eq!((status, &order["quantity"], &order["version"]), (200, &json!(7), &json!(2)));
        let (_, order) = ask!(app, PUT "/demo/orders/3", order.to_string().replace("new", "packed"));
        assert_eq!((&order["status"], &order["version"]), (&json!("packed"), &json!(3)));
        assert_eq!(board.get(3).unwrap().version, 3);
        let event =
            |version: &str| json!({"to": "orders/3", "type": "order.updated", "version": version, "coalesce": true});
        assert_eq!(as_json(&published), [event("2"), event("3")]);
    }

    #[actix_web::test]
    async fn refuses_with_field_value_and_what_is_allowed() {
        let (app, board, published) = demo!();
        let (status, problem) = ask!(app, PUT "/demo/orders/3", r#"{"quantity":0}"#);
        assert_eq!((status, &problem["status"]), (400, &json!(400)));
        assert_eq!((&problem["field"], &problem["value"]), (&json!("quantity"), &json!("0")));
        assert_eq!(problem["expected"], "a whole number from 1 to 99");
        for id in ["9", "0", "x", "-1", "99999999999"] {
            let uri = format!("/demo/orders/{id}");
            for (status, problem) in [ask!(app, GET & uri, ""), ask!(app, PUT & uri, r#"{"quantity":1}"#)] {
                let detail = format!("there is no order {id:?}; GET /demo/orders lists them");
                assert_eq!((status, &problem["status"], &problem["detail"]), (404, &json!(404), &json!(detail)));
            }
        }
        let (status, problem) = ask!(app, PUT "/demo/orders/3", " ".repeat(BODY_BYTES + 1));
        assert_eq!((status, &problem["detail"]), (413, &json!("the body is larger than 4096 bytes")));
        assert_eq!(ask!(app, DELETE "/demo/orders/3", "").0, 405);
        assert_eq!(board.get(3).unwrap().version, 1);
        assert!(as_json(&published).is_empty());
    }

    #[actix_web::test]
    async fn announces_all_orders_by_one_event() {
        let (_, board, published) = demo!();
        board.announce();
        let all: Vec<_> = (1..=8).map(|id| format!("orders/{id}")).collect();
        assert_eq!(as_json(&published), [json!({"to": all, "type": "orders.reset", "coalesce": true})]);
    }
}
