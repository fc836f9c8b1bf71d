//! Answers that are there before their request is: who has not read one yet, when the last of its
//! request is sent, gets it whole.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use portcullis_tests::{Authority, Backend, status_of};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, sink},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    inspected::Inspected,
    site::{PUBLIC, Site, allow},
};

/// Some of these lengths fill what the system holds for a client that does not read, and leave the
/// end of the answer to the proxy.
fn lengths() -> impl Iterator<Item = usize> {
    (16..=56).map(|part| part * (96 << 10))
}

/// Answers by the head alone, with as many bytes as its path says, and takes what comes behind it.
async fn destination(tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    Some(tls) => answer(tls.accept(stream).await?).await,
                    None => answer(stream).await,
                }
            });
        }
    });
    address
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> io::Result<()> {
    let head = head(&mut stream).await?;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let length: usize = path.trim_start_matches('/').parse().expect("a length");
    let (mut reading, mut writing) = tokio::io::split(stream);
    let taking = tokio::spawn(async move { tokio::io::copy(&mut reading, &mut sink()).await });
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    writing.write_all(head.as_bytes()).await?;
    writing.write_all(&vec![b'x'; length]).await?;
    writing.flush().await?;
    taking.await.expect("it reads").map(|_| ())
}

/// What stands before the empty line, byte by byte.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// A connection whose system holds little of what it does not read.
async fn connect(proxy: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a size");
    socket.connect(proxy).await.expect("it listens")
}

/// Sends half of a request, the rest when the answer has come as far as it can, and reads that.
async fn whole(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    target: &str,
    length: usize,
    connection: &str,
) -> io::Result<()> {
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: api.example\r\nContent-Length: 2000\r\n\
         Connection: {connection}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    for _ in 0..2 {
        stream.write_all(&[b'y'; 1000]).await?;
        stream.flush().await?;
        sleep(Duration::from_millis(500)).await;
    }
    let head = head(&mut stream).await?;
    assert_eq!(status_of(&head), 200, "{length}: {head}");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map(|_| ())
}

/// Those of the lengths whose answer is not whole, and why.
async fn failed(wholes: JoinSet<(usize, io::Result<()>)>) -> Vec<(usize, io::Error)> {
    let all = timeout(Duration::from_secs(60), wholes.join_all());
    let all = all.await.expect("all are answered").into_iter();
    let mut failed: Vec<_> = all
        .filter_map(|(length, whole)| Some((length, whole.err()?)))
        .collect();
    failed.sort_by_key(|(length, _)| *length);
    failed
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_clear_comes_whole() {
    let public = format!("{PUBLIC}:80");
    let dns = format!("api.example={PUBLIC}");
    let map = [(&*public, destination(None).await)];
    let site = Site::start(&allow("[api.example]"), &[&dns], &map);
    for connection in ["close", "close\r\nUpgrade: h2c"] {
        let mut wholes = JoinSet::new();
        for length in lengths() {
            let proxy = site.proxy();
            wholes.spawn(async move {
                let target = format!("http://api.example/{length}");
                let stream = connect(proxy).await;
                (length, whole(stream, &target, length, connection).await)
            });
        }
        let failed = failed(wholes).await;
        assert!(failed.is_empty(), "{connection}: {failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_looked_into_comes_whole() {
    let authority = Authority::named("authority of destinations");
    let tls = TlsAcceptor::from(authority.server(&["api.example"], &["http/1.1"]));
    let mut backend = Backend::start("one").await;
    backend.address = destination(Some(tls)).await;
    let policies = allow("[{host: api.example, inspect: true}]");
    let proxy = Inspected::with(&policies, backend, &[("trust.crt", &authority.pem())]);
    let tls = TlsConnector::from(proxy.authority.client(&["http/1.1"]));
    // hyper gives a connection away that may become another protocol.
    for connection in ["close", "keep-alive", "keep-alive\r\nUpgrade: h2c"] {
        let mut wholes = JoinSet::new();
        for length in lengths() {
            let (address, tls) = (proxy.site.proxy(), Arc::clone(tls.config()));
            let tls = TlsConnector::from(tls);
            wholes.spawn(async move {
                let mut tunnel = connect(address).await;
                let asked = b"CONNECT api.example:443 HTTP/1.1\r\nHost: x\r\n\r\n";
                tunnel.write_all(asked).await.expect("it is sent");
                let answer = head(&mut tunnel).await.expect("an answer");
                assert_eq!(status_of(&answer), 200, "{answer}");
                let name = "api.example".try_into().expect("a name");
                let stream = tls.connect(name, tunnel).await.expect("a handshake");
                let target = format!("/{length}");
                (length, whole(stream, &target, length, connection).await)
            });
        }
        let failed = failed(wholes).await;
        assert!(failed.is_empty(), "{connection}: {failed:?}");
    }
}

/// Bytes of an upload, more than what lies on the way can hold.
const UPLOAD: usize = 24 << 20;

/// Answers by the head alone, and then takes the body; tells how much of it came.
async fn answers_at_once(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    told: &UnboundedSender<usize>,
) -> io::Result<()> {
    loop {
        let head = head(&mut stream).await?;
        let length = head.lines().find_map(|line| {
            let line = line.to_ascii_lowercase();
            line.strip_prefix("content-length: ")?.parse().ok()
        });
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer).await?;
        stream.flush().await?;
        let mut body = (&mut stream).take(length.unwrap_or(0));
        let taken = tokio::io::copy(&mut body, &mut sink()).await?;
        let _ = told.send(usize::try_from(taken).expect("it fits"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_looked_into_goes_on_behind_its_answer() {
    let authority = Authority::named("authority of destinations");
    let tls = TlsAcceptor::from(authority.server(&["api.example"], &["http/1.1"]));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut backend = Backend::start("one").await;
    backend.address = listener.local_addr().expect("an address");
    let (told, mut taken) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = tls.accept(stream).await.expect("a handshake");
            // It ends when the tunnel does.
            let _ = answers_at_once(stream, &told).await;
        }
    });
    let policies = allow("[{host: api.example, inspect: true}]");
    let proxy = Inspected::with(&policies, backend, &[("trust.crt", &authority.pem())]);
    let mut tunnel = connect(proxy.site.proxy()).await;
    let asked = b"CONNECT api.example:443 HTTP/1.1\r\nHost: x\r\n\r\n";
    tunnel.write_all(asked).await.expect("it is sent");
    head(&mut tunnel).await.expect("an answer");
    let tls = TlsConnector::from(proxy.authority.client(&["http/1.1"]));
    let name = "api.example".try_into().expect("a name");
    let mut stream = tls.connect(name, tunnel).await.expect("a handshake");
    // The second one shows that the tunnel is good for more.
    for _ in 0..2 {
        let request = format!(
            "POST /upload HTTP/1.1\r\nHost: api.example\r\nContent-Length: {UPLOAD}\r\n\r\n"
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it is sent");
        stream.flush().await.expect("it is sent");
        let answer = head(&mut stream).await.expect("an answer");
        assert_eq!(status_of(&answer), 200, "{answer}");
        stream.read_exact(&mut [0; 2]).await.expect("a body");
        sleep(Duration::from_millis(300)).await;
        let body = vec![b'y'; UPLOAD];
        stream.write_all(&body).await.expect("it is taken");
        stream.flush().await.expect("it is taken");
        let taken = timeout(Duration::from_secs(30), taken.recv()).await;
        assert_eq!(taken.expect("all comes"), Some(UPLOAD));
        let line = proxy.site.told("api.example", "path", "/upload");
        assert_eq!(line["bytesUp"], UPLOAD, "{line}");
    }
}
