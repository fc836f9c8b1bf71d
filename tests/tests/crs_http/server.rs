//! A backend that takes any request the gateway passes on, and answers as the tests ask.
//!
//! A library would refuse targets that the tests send and the gateway passes.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::backend;

/// Starts it.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // The gateway may be gone already; its answer tells.
                let _ = serve(stream).await;
            });
        }
    });
    address
}

/// Answers one request.
async fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next(), words.next());
    let (Some(method), Some(target)) = (method, target) else {
        return Ok(());
    };
    let body = body(&mut stream).await?;
    let response = backend::answer(method, target, &body);
    let mut bytes = format!(
        "HTTP/1.1 {} Answer\r\nConnection: close\r\n",
        response.status
    );
    for (name, value) in &response.headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    bytes.push_str("\r\n");
    let mut bytes = bytes.into_bytes();
    if method != b"HEAD" {
        bytes.extend(&response.body);
    }
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}

/// Reads fields and body.
async fn body(stream: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let (mut length, mut chunked) = (0, false);
    loop {
        let field = text_line(stream).await?.to_ascii_lowercase();
        match field.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().unwrap_or(0),
            Some(("transfer-encoding", _)) => chunked = true,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    while chunked {
        let size = text_line(stream).await?;
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).await?;
        chunked = size > 0;
        body.extend(&chunk[..size]);
    }
    Ok(body)
}

async fn text_line(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}
