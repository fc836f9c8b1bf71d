//! Relays between two sockets.
//!
//! What is small goes through memory: one call reads it, one writes it, and nothing is held between. Where a
//! read fills all of that memory there is more than it is good for, and what follows goes through a pipe of
//! the kernel, if one is free, until little comes.

use std::io;

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::coop::consume_budget,
};

#[cfg(target_os = "linux")]
use super::pipes::POOL;
use super::{CHUNK, RelayLimits, SCRATCH, Traffic, Way, over};

/// Relays both ways until both sides closed, a limit is reached, or `cut` says
/// why it must end. Returns why, where neither side closed.
pub(crate) async fn relay(
    client: &mut TcpStream,
    upstream: &mut TcpStream,
    limits: RelayLimits,
    traffic: &Traffic,
    cut: impl FnMut() -> Option<&'static str>,
) -> Option<&'static str> {
    let (client_read, client_write) = client.split();
    let (upstream_read, upstream_write) = upstream.split();
    let (up, down) = traffic.ways();
    let both = async {
        tokio::join!(
            copy(client_read, upstream_write, up),
            copy(upstream_read, client_write, down),
        )
    };
    tokio::select! {
        _ = both => None,
        reason = over(limits, traffic, cut) => Some(reason),
    }
}

/// What became of a look at the source.
pub(super) enum Moved {
    /// It has nothing more, ever.
    End,
    /// So many bytes are in the sink.
    Bytes(usize),
}

/// Copies one way; the end of the source closes the sink's direction alone.
async fn copy(from: ReadHalf<'_>, mut to: WriteHalf<'_>, way: Way<'_>) -> io::Result<()> {
    let result = carry(from.as_ref(), to.as_ref(), way).await;
    // The other side may be gone already.
    let _ = to.shutdown().await;
    result
}

async fn carry(from: &TcpStream, to: &TcpStream, way: Way<'_>) -> io::Result<()> {
    let mut last = 0;
    loop {
        // Neither buffer nor pipe while nothing comes: idle tunnels are many.
        from.readable().await?;
        // Calls on a socket that is ready take nothing of it by themselves.
        consume_budget().await;
        let moved = match last >= CHUNK {
            true => much(from, to, way).await?,
            false => through_memory(from, to, way).await?,
        };
        let Moved::Bytes(moved) = moved else {
            return Ok(());
        };
        last = moved;
        if moved >= CHUNK {
            // Others of its thread are not kept waiting by one that always has much.
            tokio::task::yield_now().await;
        }
    }
}

/// Carries what comes where much came before.
#[cfg(target_os = "linux")]
async fn much(from: &TcpStream, to: &TcpStream, way: Way<'_>) -> io::Result<Moved> {
    match POOL.take() {
        Some(pipe) => pipe.carry(from, to, way).await,
        None => through_memory(from, to, way).await,
    }
}

/// Carries what comes where much came before.
#[cfg(not(target_os = "linux"))]
async fn much(from: &TcpStream, to: &TcpStream, way: Way<'_>) -> io::Result<Moved> {
    through_memory(from, to, way).await
}

/// Carries what one read gives; nothing where the source has nothing now.
async fn through_memory(from: &TcpStream, to: &TcpStream, way: Way<'_>) -> io::Result<Moved> {
    let read = SCRATCH.with_borrow_mut(|scratch| {
        let read = from.try_read(scratch)?;
        let bytes = &scratch[..read];
        if !way.admits(read) {
            return Ok((read, None));
        }
        let sent = match to.try_write(bytes) {
            Err(error) if is_not_ready(&error) => 0,
            sent => sent?,
        };
        way.count(sent);
        // Only what the sink has no room for is kept, while the scratch serves others.
        Ok((read, Some(Box::<[u8]>::from(&bytes[sent..]))))
    });
    let (read, rest) = match read {
        Err(error) if is_not_ready(&error) => return Ok(Moved::Bytes(0)),
        read => read?,
    };
    if read == 0 {
        return Ok(Moved::End);
    }
    let Some(rest) = rest else {
        return std::future::pending().await;
    };
    let mut rest = &rest[..];
    while !rest.is_empty() {
        to.writable().await?;
        let sent = match to.try_write(rest) {
            Err(error) if is_not_ready(&error) => 0,
            sent => sent?,
        };
        way.count(sent);
        rest = &rest[sent..];
    }
    Ok(Moved::Bytes(read))
}

/// Whether a call may succeed later.
pub(super) fn is_not_ready(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, two) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap(), two.unwrap().0)
    }

    /// A pipe does not see past an urgent byte, and takes what is there for nothing, or the end.
    #[tokio::test]
    async fn what_comes_behind_an_urgent_byte_is_carried_too() {
        #[cfg(target_os = "linux")]
        POOL.set_limit(8);
        let ((mut client, mut from), (mut to, mut target)) = (pair().await, pair().await);
        let (before, behind) = (vec![b'a'; 300_000], vec![b'b'; 300_000]);
        let expected = [before.as_slice(), behind.as_slice()].concat();
        let sending = tokio::spawn(async move {
            client.write_all(&before).await.unwrap();
            SockRef::from(&client).send_out_of_band(b"!").unwrap();
            client.write_all(&behind).await.unwrap();
            client.shutdown().await.unwrap();
            client
        });
        let taking = tokio::spawn(async move {
            let mut taken = Vec::new();
            target.read_to_end(&mut taken).await.unwrap();
            target.shutdown().await.unwrap();
            taken
        });
        let limits = RelayLimits {
            idle: None,
            lifetime: None,
        };
        let traffic = Traffic::default();
        let relayed = relay(&mut from, &mut to, limits, &traffic, || None);
        let ended = timeout(Duration::from_secs(20), relayed).await;
        assert_eq!(ended.expect("both sides end"), None);
        let taken = taking.await.unwrap();
        assert!(taken == expected, "{} of {}", taken.len(), expected.len());
        drop(sending.await.unwrap());
    }

    /// A source that always has a little must not keep the others of its thread from their turn.
    #[tokio::test]
    async fn a_relay_that_is_always_ready_gives_way() {
        use std::io::{Read, Write};

        let ((client, from), (to, target)) = (pair().await, pair().await);
        let blocking = |stream: TcpStream| {
            let stream = stream.into_std().unwrap();
            stream.set_nonblocking(false).unwrap();
            stream
        };
        let (mut client, mut target) = (blocking(client), blocking(target));
        client.set_nodelay(true).unwrap();
        let writing = std::thread::spawn(move || while client.write_all(&[7; 512]).is_ok() {});
        let reading = std::thread::spawn(move || {
            let mut bytes = vec![0; 1 << 20];
            while matches!(target.read(&mut bytes), Ok(1..)) {}
        });
        let (mut from, mut to) = (from, to);
        let limits = RelayLimits {
            idle: None,
            lifetime: Some(Duration::from_secs(2)),
        };
        let traffic = Traffic::default();
        let relayed = relay(&mut from, &mut to, limits, &traffic, || None);
        let began = std::time::Instant::now();
        assert_eq!(relayed.await, Some("max_lifetime"));
        assert!(began.elapsed() < Duration::from_secs(10), "it is looked at");
        drop((from, to));
        writing.join().unwrap();
        reading.join().unwrap();
    }
}
