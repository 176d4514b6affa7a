//! The dashboard: files without data. What they show they ask of the API,
//! with the key that the operator types in.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

/// Nothing from outside, and nothing that stands in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; form-action 'none'; base-uri 'none'; \
    frame-ancestors 'none'";

pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|| async { Redirect::permanent("/dashboard/") }))
        .route(
            "/dashboard",
            get(|| async { Redirect::permanent("/dashboard/") }),
        )
        .route(
            "/dashboard/",
            get(|| file("text/html", include_str!("index.html"))),
        )
        .route(
            "/dashboard/style.css",
            get(|| file("text/css", include_str!("style.css"))),
        )
        .route(
            "/dashboard/script.js",
            get(|| file("text/javascript", include_str!("script.js"))),
        )
        .route(
            "/dashboard/chart.js",
            get(|| file("text/javascript", include_str!("chart.js"))),
        )
        .route(
            "/dashboard/forms.js",
            get(|| file("text/javascript", include_str!("forms.js"))),
        )
        .route(
            "/dashboard/top.js",
            get(|| file("text/javascript", include_str!("top.js"))),
        )
        .route(
            "/dashboard/text.js",
            get(|| file("text/javascript", include_str!("text.js"))),
        )
}

async fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        // Another version may serve the next request.
        (CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, text).into_response()
}
