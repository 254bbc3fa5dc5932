//! The HTTP side: `/metrics` and `/healthz`.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use super::collect;
use crate::numbers::Numbers;

/// Media type of the OpenMetrics text format (OpenMetrics 1.0, "Protocol Negotiation").
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens at `address`.
///
/// # Errors
/// The address is taken or is not this machine's; the text names the key of the configuration.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("metrics_address: cannot listen at {address}"))
}

/// Answers until the process ends.
///
/// # Errors
/// The socket failed.
pub async fn serve(listener: TcpListener, numbers: Numbers) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .with_state(Arc::new(numbers));
    axum::serve(listener, router).await
}

async fn metrics(State(numbers): State<Arc<Numbers>>) -> Response {
    let text = match numbers.read().await {
        Ok(stats) => collect::text(stats).map_err(|error| error.to_string()),
        Err(status) => Err(status.message().to_owned()),
    };
    match text {
        Ok(text) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
    }
}

/// Well is who can read the metadata and has a live FUSE connection.
async fn health(State(numbers): State<Arc<Numbers>>) -> Response {
    match numbers.health().await {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}
