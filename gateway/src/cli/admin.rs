//! Questions to the admin listener of a running gateway.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::Value;

/// Time that the gateway has for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest answer that is read.
const MAX_BYTES: u64 = 64 << 20;

/// Gets a path; `None` where there is nothing.
///
/// # Errors
/// An address that is none, a gateway that does not answer, and an answer that is no JSON.
pub(super) fn get(url: &str, path: &str) -> anyhow::Result<Option<Value>> {
    let answer = ask(url, path).with_context(|| format!("asking the gateway at {url}"))?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("{url} does not answer as an admin listener does");
    };
    match head.split(' ').nth(1) {
        Some("200") => serde_json::from_str(body)
            .map(Some)
            .with_context(|| format!("{url}{path} is not JSON")),
        Some("404") => Ok(None),
        _ => bail!(
            "{url}{path} answers {:?}",
            head.lines().next().unwrap_or_default()
        ),
    }
}

fn ask(url: &str, path: &str) -> anyhow::Result<String> {
    if let Some(socket) = url.strip_prefix("unix:") {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        return exchange(stream, "localhost", path);
    }
    let authority = url.strip_prefix("http://").unwrap_or(url);
    let authority = authority.split('/').next().unwrap_or_default();
    let address: SocketAddr = authority
        .to_socket_addrs()
        .with_context(|| {
            format!("{url:?} is no address: write http://127.0.0.1:9091 or unix:/path/to/socket")
        })?
        .next()
        .context("the name has no address")?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    exchange(stream, authority, path)
}

fn exchange(mut stream: impl Read + Write, host: &str, path: &str) -> anyhow::Result<String> {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8(answer)?)
}
