use actix_web::http::header::{ALLOW, CACHE_CONTROL};
use actix_web::{HttpResponse, Resource, Route, guard, web};
use serde::{Deserialize, Serialize};

use super::{BuildInfo, Health};
use crate::telemetry::MetricsHandle;

/// The paths that [`routes`] serves, none of which needs a key.
pub const PATHS: [&str; 4] = ["/health", "/health/live", "/health/ready", "/version"];

/// The path that [`metrics_route`] serves.
pub const METRICS_PATH: &str = "/metrics";

/// Serves [`PATHS`]: `App::new().configure(routes(health, build))`.
pub fn routes(health: Health, build: BuildInfo) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static {
    move |app| {
        let health = health.clone();
        app.service(page("/health", get().to(alive)))
            .service(page("/health/live", get().to(alive)))
            .service(page(
                "/health/ready",
                get().to(move |asked| ready(health.clone(), asked)),
            ))
            .service(page("/version", get().to(move || async move { fresh().json(build) })));
    }
}

/// Serves [`METRICS_PATH`], apart from the others because not every listener may show it.
pub fn metrics_route(metrics: MetricsHandle) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static {
    move |app| {
        let metrics = metrics.clone();
        let render = move || {
            let text = metrics.render();
            async move {
                fresh()
                    .content_type("text/plain; version=0.0.4; charset=utf-8")
                    .body(text)
            }
        };
        app.service(page(METRICS_PATH, get().to(render)));
    }
}

/// A page at its path with and without a slash at the end, and nothing but a page.
fn page(path: &str, route: Route) -> Resource {
    let refuse = || async {
        HttpResponse::MethodNotAllowed()
            .insert_header((ALLOW, "GET, HEAD"))
            .finish()
    };
    web::resource([path.to_owned(), format!("{path}/")])
        .route(route)
        .default_service(web::to(refuse))
}

fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// An answer that holds for this moment only.
fn fresh() -> actix_web::HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "no-store"));
    answer
}

#[derive(Serialize)]
struct Alive {
    status: &'static str,
}

async fn alive() -> HttpResponse {
    fresh().json(Alive { status: "ok" })
}

#[derive(Deserialize)]
struct Asked {
    /// The only check to be made. Who hands out traffic asks for what a process cannot do without, which need not
    /// be everything that it uses.
    only: Option<String>,
}

async fn ready(health: Health, asked: web::Query<Asked>) -> HttpResponse {
    let report = match &asked.only {
        None => health.ready().await,
        Some(name) => match health.ready_as_to(name).await {
            Some(report) => report,
            None => return HttpResponse::NotFound().finish(),
        },
    };
    let mut answer = fresh();
    if !report.is_ready() {
        answer.status(actix_web::http::StatusCode::SERVICE_UNAVAILABLE);
    }
    answer.json(report)
}
