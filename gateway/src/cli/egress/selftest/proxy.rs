//! What the proxy answers.

use std::{str::FromStr, time::Duration};

use anyhow::{Context, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Largest head of an answer that is read.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Where the proxy is, and what it is shown.
#[derive(Clone)]
pub(super) struct Proxy {
    /// Host and port.
    at: String,
    /// Value of `Proxy-Authorization`.
    credentials: Option<String>,
}

/// Credentials are in no message.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("at", &self.at).finish()
    }
}

impl FromStr for Proxy {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let bad = || "the proxy is named as http://HOST:PORT".to_owned();
        let rest = url.strip_prefix("http://").ok_or_else(bad)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, at) = match rest.rsplit_once('@') {
            Some((user, at)) => (Some(user), at),
            None => (None, rest),
        };
        let (host, port) = at.rsplit_once(':').ok_or_else(bad)?;
        if host.is_empty() || port.parse::<u16>().is_err() || at.contains(['/', ' ']) {
            return Err(bad());
        }
        let credentials = user.map(|user| {
            let plain: Vec<u8> = percent_encoding::percent_decode_str(user).collect();
            format!("Basic {}", BASE64_STANDARD.encode(plain))
        });
        Ok(Self {
            at: at.to_owned(),
            credentials,
        })
    }
}

impl Proxy {
    /// The proxy that the environment names.
    pub(super) fn of_environment() -> anyhow::Result<Self> {
        let names = ["HTTPS_PROXY", "https_proxy"];
        let found = names.iter().find_map(|name| std::env::var(name).ok());
        let url = found.context("no HTTPS_PROXY is set: say --proxy http://HOST:PORT")?;
        url.parse().map_err(anyhow::Error::msg)
    }

    /// Shows a token in place of what the URL has.
    pub(super) fn with_token(mut self, token: Option<&str>) -> anyhow::Result<Self> {
        if let Some(token) = token {
            let token = token.trim();
            ensure!(
                !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()),
                "the file of the token has something else in it"
            );
            self.credentials = Some(format!("Bearer {token}"));
        }
        Ok(self)
    }
}

/// Asks for a tunnel and returns the status of the answer.
///
/// # Errors
/// A proxy that cannot be reached, does not answer in time, or answers something else than HTTP.
pub(super) async fn connect(proxy: &Proxy, target: &str, time: Duration) -> anyhow::Result<u16> {
    ensure!(
        target.bytes().all(|byte| byte.is_ascii_graphic()),
        "{target:?} is not HOST:PORT"
    );
    let asked = timeout(time, ask(proxy, target)).await;
    asked.with_context(|| format!("no answer in {} s", time.as_secs()))?
}

async fn ask(proxy: &Proxy, target: &str) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(&proxy.at)
        .await
        .with_context(|| format!("{} is not reached", proxy.at))?;
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(credentials) = &proxy.credentials {
        head.push_str(&format!("Proxy-Authorization: {credentials}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        ensure!(answer.len() < MAX_HEAD_BYTES, "the answer has no end");
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(&answer) {
        Ok(httparse::Status::Complete(_)) => {}
        _ => bail!("the answer is not HTTP"),
    }
    response.code.context("the answer has no status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_by_its_url() {
        for (url, at, credentials) in [
            ("http://10.0.0.1:3128", "10.0.0.1:3128", None),
            ("http://[fd00::1]:3128/", "[fd00::1]:3128", None),
            ("http://token:a%2Eb@p:1", "p:1", Some("Basic dG9rZW46YS5i")),
        ] {
            let proxy: Proxy = url.parse().expect(url);
            assert_eq!(proxy.at, at);
            assert_eq!(proxy.credentials.as_deref(), credentials);
            assert!(!format!("{proxy:?}").contains("Basic"));
        }
        for url in [
            "10.0.0.1:3128",
            "https://p:1",
            "http://p",
            "http://:1",
            "http://p:x",
            "http://p:1/x",
        ] {
            assert!(url.parse::<Proxy>().is_err(), "{url}");
        }
        let proxy: Proxy = "http://p:1".parse().expect("a URL");
        let shown = proxy.clone().with_token(Some("a.b.c\n")).expect("a token");
        assert_eq!(shown.credentials.as_deref(), Some("Bearer a.b.c"));
        for token in ["", "a b", "a\r\nX: y"] {
            assert!(proxy.clone().with_token(Some(token)).is_err(), "{token:?}");
        }
    }
}
