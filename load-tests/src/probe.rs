//! One request, to see that a peer forwards what it should before it is measured.
//!
//! A peer that answers by itself, or drops the body, would be fast and useless:
//! the upstream says how many body bytes reached it, and the probe compares.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::upstream;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends one request in clear, with a body of that many bytes (0: a GET), and checks
/// that it reached the upstream whole.
///
/// # Errors
///
/// When there is no answer within 5 s, the status is not 200, or the upstream
/// did not count the same number of bytes.
pub async fn send(address: SocketAddr, body_bytes: usize) -> anyhow::Result<()> {
    let answer = timeout(TIMEOUT, exchange(address, body_bytes))
        .await
        .context("no answer within 5 s")??;
    judge(&answer, body_bytes)
}

async fn exchange(address: SocketAddr, body_bytes: usize) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await.context("connecting")?;
    stream
        .write_all(&request(body_bytes))
        .await
        .context("sending a request")?;
    let mut answer = Vec::new();
    stream
        .take(64 * 1024)
        .read_to_end(&mut answer)
        .await
        .context("reading the answer")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn request(body_bytes: usize) -> Vec<u8> {
    let method = if body_bytes == 0 { "GET" } else { "POST" };
    let length = match body_bytes {
        0 => String::new(),
        bytes => format!("Content-Length: {bytes}\r\n"),
    };
    let head =
        format!("{method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}\r\n");
    let mut request = head.into_bytes();
    request.resize(request.len() + body_bytes, b'x');
    request
}

fn judge(answer: &str, body_bytes: usize) -> anyhow::Result<()> {
    let status_line = answer.lines().next().unwrap_or_default();
    ensure!(
        status_line.starts_with("HTTP/1.1 200"),
        "the answer begins with {status_line:?} and not with a 200"
    );
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    if !body.contains(&upstream::reply_body(body_bytes as u64)) {
        bail!(
            "the upstream should have counted {body_bytes} body bytes, but the answer is {body:?}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_200_with_the_right_count_passes() {
        let good = format!(
            "HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}",
            upstream::reply_body(8192)
        );
        assert!(judge(&good, 8192).is_ok());
        assert!(judge(&good, 0).is_err());
        assert!(judge(&good.replace("200", "403"), 8192).is_err());
        assert!(judge("", 0).is_err());
    }

    #[test]
    fn a_request_carries_its_whole_body() {
        let request = request(10);
        assert!(request.starts_with(b"POST / HTTP/1.1\r\n"));
        assert!(request.ends_with(b"\r\n\r\nxxxxxxxxxx"));
    }
}
