//! A gateway for bodies, and the ways in which a client sends one to it.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use portcullis_tests::{Authority, Client, Gateway, h2c};

pub(crate) const KIB_64: usize = 64 << 10;

/// Policies of a route: bodies are held for a rule, or streamed.
pub(crate) const HELD: &str = "{waf: {profile: evil}}";
pub(crate) const HELD_OR_STREAMED: [&str; 2] = [HELD, "{}"];

/// Ways a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length,
    /// Chunked over HTTP/1; DATA frames without a length over HTTP/2.
    Streamed,
}

/// Ways to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    H1,
    H1Tls,
    H2,
    H2c,
}

/// A body and how it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) way: Way,
    pub(crate) framing: Framing,
    pub(crate) len: usize,
}

impl Cell {
    /// Every way and framing, with each of these sizes.
    pub(crate) fn all(sizes: &[usize]) -> Vec<Self> {
        let ways = [Way::H1, Way::H1Tls, Way::H2, Way::H2c];
        let framings = [Framing::Length, Framing::Streamed];
        ways.into_iter()
            .flat_map(|way| framings.map(|framing| (way, framing)))
            .flat_map(|(way, framing)| sizes.iter().map(move |&len| Self { way, framing, len }))
            .collect()
    }
}

/// A form whose one field has words that no rule objects to, and no two places alike.
pub(crate) fn text(len: usize) -> Bytes {
    let mut text = String::from("f=");
    let mut n = 0;
    while text.len() < len {
        text.push_str(&format!("word{n}+"));
        n += 1;
    }
    text.truncate(len);
    text.into()
}

pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) authority: Authority,
}

impl Site {
    /// Starts a gateway; the profile `evil` denies forms that say so.
    pub(crate) fn start(backends: &str, policies: &str) -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().expect("a temporary folder");
        authority.write(folder.path(), "any", &["any.example"]);
        let yaml = format!(
            r#"
listeners:
- {{name: http, protocol: http, address: '127.0.0.1:0'}}
- {{name: https, protocol: https, address: '127.0.0.1:0'}}
certificates: [{{name: any, certificate: any.crt, key: any.key}}]
wafProfiles:
- {{name: baseline, bodyLimit: 2MiB}}
- {{name: prefix, bodyLimit: 100kB, overLimit: inspect-prefix}}
- {{name: skip, bodyLimit: 100kB, overLimit: skip}}
- {{name: small, bodyLimit: 100kB}}
- name: evil
  bodyLimit: 4MiB
  rules:
  - inline: |
      SecRule REQUEST_URI "@contains evil" "id:10001,phase:1,deny,status:403"
      SecRule ARGS "@contains evil" "id:10002,phase:2,deny,status:403"
accessLists: [{{name: nobody, allow: []}}]
backends:
{backends}
routes:
- name: any
  hosts: [any.example]
  policies: {policies}
  rules: [{{backends: [{{name: one}}]}}]
"#
        );
        Self {
            gateway: Gateway::start_in(folder, &yaml, &[]),
            authority,
        }
    }

    pub(crate) async fn client(&self, way: Way) -> Client {
        match way {
            Way::H1 => Client::h1(self.gateway.http()).await,
            Way::H2c => h2c(self.gateway.http()).await,
            Way::H1Tls | Way::H2 => Client::tls(
                self.gateway.https(),
                &self.authority,
                "any.example",
                way == Way::H2,
            )
            .await
            .expect("a connection"),
        }
    }

    /// Posts a body on a new connection: the status, or 0 and a line of why.
    pub(crate) async fn post(&self, cell: Cell, bytes: &Bytes) -> u16 {
        let mut client = self.client(cell.way).await;
        self.send(Method::POST, cell, &mut client, bytes).await
    }

    /// Sends a body as the cell says, on a connection of its way.
    pub(crate) async fn send(
        &self,
        method: Method,
        cell: Cell,
        client: &mut Client,
        bytes: &Bytes,
    ) -> u16 {
        let request = Request::builder()
            .method(method)
            .uri(client.uri("any.example", "/upload"))
            .header("host", "any.example")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body(bytes, cell.framing))
            .expect("a request");
        match client.send(request).await {
            Ok(response) => {
                // HTTP/1 gives up a connection where it does not want the rest of a body.
                let closes = |value: &http::HeaderValue| value == "close";
                if response.headers().get("connection").is_some_and(closes) {
                    *client = self.client(cell.way).await;
                }
                response.status().as_u16()
            }
            Err(error) => {
                eprintln!("{cell:?}: no answer: {error:?}");
                0
            }
        }
    }
}

fn body(bytes: &Bytes, framing: Framing) -> UnsyncBoxBody<Bytes, Infallible> {
    match framing {
        Framing::Length => Full::new(bytes.clone()).boxed_unsync(),
        Framing::Streamed => {
            let parts: Vec<_> = bytes
                .chunks(10_000)
                .map(|part| Ok(Frame::data(Bytes::copy_from_slice(part))))
                .collect();
            BodyExt::boxed_unsync(StreamBody::new(futures_util::stream::iter(parts)))
        }
    }
}

/// The backend of the route, with this endpoint.
pub(crate) fn one(address: SocketAddr, protocol: &str) -> String {
    format!("- {{name: one, protocol: {protocol}, endpoints: [{{address: {address}}}]}}")
}
