//! Connections and requests.

use std::{convert::Infallible, io, sync::Arc};

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::TryStreamExt as _;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Response, StatusCode,
    body::{Frame, Incoming},
    client, header, server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{State, body::Body, fault::Fault, log::Request};

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// Takes connections until the task is aborted; its connections end with it.
pub(super) async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        connections.spawn(connection(stream, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

/// The first byte of a TLS handshake record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

async fn connection(mut stream: TcpStream, state: Arc<State>) {
    let mut first = [0];
    // containerd 2.x tries loopback registries with TLS first and falls back when the answer is plain HTTP; hyper
    // would only close.
    if stream.peek(&mut first).await.is_ok_and(|count| count == 1) && first[0] == TLS_HANDSHAKE {
        let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nplain HTTP is spoken here\n").await;
        return;
    }
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, Arc::clone(&state)));
    // An error is a client that went away or a fault that a test asked for.
    let _ = server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: hyper::Request<Incoming>, state: Arc<State>) -> Result<Answer, io::Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let seen = Request::new(request.method(), path, request.headers());
    let entry = state.log.add(seen.clone());
    if let Some(refusal) = refuse(&state, request.headers()) {
        entry.answered(refusal.status().as_u16());
        return Ok(refusal);
    }
    state.holds.pass(&seen).await;
    let fault = state.faults.take(&seen);
    let answer = match &fault {
        // hyper closes the connection without a word when the service fails.
        Some(Fault::Disconnect) => return Err(io::Error::other("disconnected by a test")),
        Some(Fault::Status(code, headers)) => {
            state.link.latency().await;
            with_status(*code, headers)
        }
        Some(Fault::Answer(body)) => {
            state.link.latency().await;
            Response::new(Full::new(body.clone().into()).map_err(|never| match never {}).boxed_unsync())
        }
        _ => {
            let ignore_range = matches!(fault, Some(Fault::IgnoreRange));
            let upstream = forward(request, &state, ignore_range).await;
            state.link.latency().await;
            match upstream {
                Ok(upstream) => upstream.map(|incoming| {
                    let base = if ignore_range { None } else { seen.range.map(|range| range.start) };
                    let body =
                        Body::new(Arc::clone(&state), Arc::clone(&entry), incoming, base.unwrap_or(0), fault);
                    StreamBody::new(body.into_stream().map_ok(Frame::data)).boxed_unsync()
                }),
                Err(error) => {
                    tracing::debug!("the registry behind the proxy: {error:#}");
                    with_status(StatusCode::BAD_GATEWAY.as_u16(), &[])
                }
            }
        }
    };
    entry.answered(answer.status().as_u16());
    Ok(answer)
}

async fn forward(
    mut request: hyper::Request<Incoming>,
    state: &State,
    ignore_range: bool,
) -> Result<Response<Incoming>> {
    if ignore_range {
        request.headers_mut().remove(header::RANGE);
    }
    // The registry asks for no credentials; the ones that the proxy checked end here.
    request.headers_mut().remove(header::AUTHORIZATION);
    let stream = TcpStream::connect(state.upstream).await.context("connecting")?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

fn refuse(state: &State, headers: &HeaderMap) -> Option<Answer> {
    let wanted = state.credentials.lock().clone()?;
    let sent = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    if sent == Some(wanted.as_bytes()) {
        return None;
    }
    let challenge = ("WWW-Authenticate", r#"Basic realm="test""#.to_owned());
    Some(with_status(StatusCode::UNAUTHORIZED.as_u16(), &[challenge]))
}

/// The value of an Authorization header.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

fn with_status(code: u16, headers: &[(&'static str, String)]) -> Answer {
    let empty = Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync();
    let mut answer = Response::new(empty);
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            answer.headers_mut().append(*name, value);
        }
    }
    answer
}
