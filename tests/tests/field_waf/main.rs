//! Cases from public reports about the WAF that need the gateway, each named by its id. What
//! is about rules alone is tested in the engine.

mod audit;
mod exclusions;
mod git;
mod streams;

use std::{net::SocketAddr, path::PathBuf};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use portcullis_tests::{Client, Gateway};

/// The rules that name the OWASP CRS, as they stand in a profile; `None` where nobody knows
/// where it is.
fn crs(more: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("PORTCULLIS_CRS").map(PathBuf::from) else {
        println!("skipped: PORTCULLIS_CRS does not say where the OWASP CRS is");
        return None;
    };
    let folder = folder.display();
    Some(format!(
        "{{crs: {{setup: {folder}/crs-setup.conf.example, rules: {folder}/rules{more}}}}}"
    ))
}

/// A gateway with profiles, one backend, and routes.
fn config(backend: SocketAddr, profiles: &str, routes: &str) -> String {
    format!(
        "
listeners: [{{name: http, protocol: http, address: '127.0.0.1:0'}}]
wafProfiles:
{profiles}
backends: [{{name: one, endpoints: [{{address: '{backend}'}}]}}]
routes:
{routes}
"
    )
}

/// A route of one host whose only rule has these policies.
fn route(host: &str, policies: &str) -> String {
    let name = host.split('.').next().unwrap_or(host);
    format!(
        "- {{name: {name}, hosts: [{host}], policies: {policies}, rules: [{{backends: [{{name: one}}]}}]}}\n"
    )
}

/// A request as browsers send it.
fn browser(request: http::request::Builder, host: &str, body: &str) -> Request<Full<Bytes>> {
    request
        .header("host", host)
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)")
        .header("accept", "*/*")
        .body(Full::from(body.to_owned()))
        .expect("a request")
}

async fn send(gateway: &Gateway, request: Request<Full<Bytes>>) -> Response<Bytes> {
    let mut client = Client::h1(gateway.http()).await;
    client.send(request).await.expect("an answer")
}

/// The id of a request, from its answer.
fn id_of(response: &Response<Bytes>) -> String {
    let id = response.headers()["x-request-id"].to_str();
    id.expect("text").to_owned()
}

/// The audit record of a request.
fn record(gateway: &Gateway, id: &str) -> serde_json::Value {
    let find = || {
        let lines = gateway.audit_lines();
        lines.into_iter().find(|line| line["requestId"] == id)
    };
    portcullis_tests::wait_for("the audit record", || find().is_some());
    find().unwrap_or_default()
}
