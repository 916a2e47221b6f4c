//! The page's files, compiled in, and the headers that they are served with.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpResponse, web};

use crate::problem::only;

struct Asset {
    path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: [Asset; 8] = [
    Asset { path: "/", content_type: "text/html; charset=utf-8", content: include_str!("../../web/index.html") },
    Asset {
        path: "/demo/demo.css",
        content_type: "text/css; charset=utf-8",
        content: include_str!("../../web/demo.css"),
    },
    Asset { path: "/demo/icon.svg", content_type: "image/svg+xml", content: include_str!("../../web/icon.svg") },
    Asset { path: "/demo/demo.js", content_type: SCRIPT, content: include_str!("../../web/demo.js") },
    Asset { path: "/demo/stream.js", content_type: SCRIPT, content: include_str!("../../web/stream.js") },
    Asset { path: "/demo/board.js", content_type: SCRIPT, content: include_str!("../../web/board.js") },
    Asset { path: "/demo/card.js", content_type: SCRIPT, content: include_str!("../../web/card.js") },
    Asset { path: "/demo/log.js", content_type: SCRIPT, content: include_str!("../../web/log.js") },
];

/// Everything the page needs comes from its own origin, and it needs no inline script or style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Serves each file at its path.
pub fn configure(cfg: &mut web::ServiceConfig) {
    for asset in &ASSETS {
        let serve = move || async move { response(asset) };
        let resource = web::resource(asset.path).route(web::get().to(serve)).route(web::head().to(serve));
        cfg.service(resource.default_service(only("GET, HEAD")));
    }
}

fn response(asset: &'static Asset) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, asset.content_type))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .body(asset.content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::App;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    #[actix_web::test]
    async fn serves_every_file_the_page_names() {
        let app = init_service(App::new().configure(configure)).await;
        let page = include_str!("../../web/index.html");
        for asset in &ASSETS {
            let answer = call_service(&app, TestRequest::get().uri(asset.path).to_request()).await;
            assert_eq!(answer.status(), 200, "{}", asset.path);
            assert_eq!(answer.headers().get(CONTENT_TYPE).unwrap(), asset.content_type);
            assert_eq!(answer.headers().get(CACHE_CONTROL).unwrap(), "no-cache");
            assert!(answer.headers().contains_key(CONTENT_SECURITY_POLICY));
            assert_eq!(read_body(answer).await, asset.content);
        }
        let named = page.split('"').filter(|text| text.starts_with("/demo/"));
        let missing: Vec<_> = named.filter(|path| !ASSETS.iter().any(|asset| asset.path == *path)).collect();
        assert!(missing.is_empty(), "the page names {missing:?}");
    }

    /// Imports are relative, so that the modules load wherever they are mounted.
    #[test]
    fn serves_every_module_that_is_imported() {
        for asset in ASSETS.iter().filter(|asset| asset.content_type == SCRIPT) {
            let imports = asset.content.lines().filter(|line| line.starts_with("import "));
            for module in imports.filter_map(|line| line.split("'./").nth(1)?.split('\'').next()) {
                let path = format!("/demo/{module}");
                assert!(ASSETS.iter().any(|asset| asset.path == path), "{} imports {module}", asset.path);
            }
        }
    }
}
