//! The proxy shows itself that it refuses, before it is ready.
//!
//! ```text
//! a proxy of its own on loopback, with a policy of its own
//!     <- CONNECT of what that allows:        200, and bytes go both ways
//!     <- CONNECT of what it does not allow:  403
//!     <- CONNECT of what it allows and nothing opens, loopback by name and by address:  403
//! ```
//!
//! It is the code of this binary that is tried, from the socket to the dial, as it came to be with
//! its libraries; not the configuration, whose policies may let pass whatever their modes say. No
//! client can use it: what it lets through leads to a listener that it brings along, and it is gone after that.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use portcullis_config::{
    model::LogSink,
    read::{SourceFile, read},
    validate::{Made, validate_again},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{EgressServers, EgressServices, TestAnswers};
use crate::{
    files::Contents,
    inspect::BodyBudget,
    snapshot::{Live, Reads, Snapshot, compile},
    telemetry::{AuditLog, Decisions, LogWriter, Metrics},
    tls::Tls,
};

/// Time for all of it, on a machine that is busy.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What is sent through a tunnel, and for how long it is waited for.
const PING: &[u8; 16] = b"portcullis ping\n";
const PATIENCE: Duration = Duration::from_secs(1);
/// Most bytes of the head of an answer.
const MAX_HEAD: usize = 4096;
/// Both of these names have this address, which is replaced by one of loopback and never dialled.
const PUBLIC: &str = "1.1.1.1";
const ALLOWED: &str = "allowed.portcullis-selftest.invalid";
const DENIED: &str = "denied.portcullis-selftest.invalid";
/// This one is allowed, and its address is never reached. The target is behind that too, so that it
/// would be reached if it were not refused.
const BLOCKED: &str = "blocked.portcullis-selftest.invalid";
const LOOPBACK: &str = "127.0.0.1";
/// What allows that by address, in a network that an entry may name.
const AROUND_LOOPBACK: &str = "126.0.0.0/7";

/// What the test shows, where it does not show that the proxy refuses; in words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It does something else than it must.
    Wrong(String),
    /// It could not be tried, as on a machine without free sockets.
    Untried(String),
}

impl Failed {
    /// By a status that is another than it should be. One of trouble is told by a machine without room.
    fn by(status: u16, what: &str) -> Self {
        let text = format!("{what} got {status}");
        match status {
            500.. => Self::Untried(text),
            _ => Self::Wrong(text),
        }
    }
}

/// What comes of one step: where that is an error, it says nothing of what is refused.
impl From<String> for Failed {
    fn from(reason: String) -> Self {
        Self::Untried(reason)
    }
}

/// Tries what must be let through and what must be refused.
///
/// # Errors
/// See [`Failed`].
pub(crate) async fn self_test() -> Result<(), Failed> {
    let tried = timeout(TIMEOUT, attempt()).await;
    tried.map_err(|_| format!("no answer in {} s", TIMEOUT.as_secs()))?
}

async fn attempt() -> Result<(), Failed> {
    let failed = |error: std::io::Error| error.to_string();
    let target = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let behind = target.local_addr().map_err(failed)?;
    let proxy = Trial::start(behind)?;
    let at = proxy.address()?;
    let (answer, mut client) = ask(at, &format!("{ALLOWED}:443")).await?;
    if answer.status != 200 {
        return Err(Failed::by(answer.status, "what is allowed"));
    }
    client.write_all(PING).await.map_err(failed)?;
    // Others of this machine may come as well.
    let mut bytes = [0; PING.len()];
    let mut server = loop {
        let mut server = target.accept().await.map_err(failed)?.0;
        let read = timeout(PATIENCE, server.read_exact(&mut bytes)).await;
        if matches!(read, Ok(Ok(_))) && bytes == *PING {
            break server;
        }
    };
    server.write_all(&bytes).await.map_err(failed)?;
    client.read_exact(&mut bytes).await.map_err(failed)?;
    if bytes != *PING {
        let reason = "a tunnel carried something else than was sent";
        return Err(Failed::Wrong(reason.into()));
    }
    for (host, reason) in [
        (DENIED, "not_allowed"),
        (BLOCKED, "always_blocked"),
        (LOOPBACK, "always_blocked"),
    ] {
        let (answer, _) = ask(at, &format!("{host}:443")).await?;
        if answer.status != 403 {
            let what = format!("what is to be refused as {reason}");
            return Err(Failed::by(answer.status, &what));
        }
        // Refused for something else, it shows nothing of this.
        if !answer.is_for(reason) {
            let text = format!("what is to be refused as {reason} is refused for something else");
            return Err(Failed::Wrong(text));
        }
    }
    Ok(())
}

/// A proxy with a policy of its own, which ends with this.
struct Trial {
    servers: EgressServers,
}

impl Trial {
    fn start(behind: SocketAddr) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let names = [(ALLOWED, PUBLIC), (DENIED, PUBLIC), (BLOCKED, LOOPBACK)];
        let names = names.map(|(name, address)| format!("{name}={address}"));
        let map = [PUBLIC, LOOPBACK].map(|address| format!("{address}:443={behind}"));
        let snapshot = snapshot()?;
        let egress = snapshot.model.egress.clone();
        let writer = LogWriter::start("self-test-log", LogSink::Off).map_err(failed)?;
        let servers = EgressServers::new(EgressServices {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            metrics: Arc::new(Metrics::new()),
            audit_log: Arc::new(AuditLog::new(writer, 0, 0)),
            tls: Arc::new(Tls::new().map_err(failed)?),
            decisions: Decisions::default(),
            pods: None,
            budget: BodyBudget::new(0),
            reviewer: None,
            test: TestAnswers::parse(&names, &map)?,
        });
        let told = |problems: Vec<_>| format!("{problems:?}");
        let plan = servers.plan(egress.as_ref()).map_err(told)?;
        servers.commit(plan);
        Ok(Self { servers })
    }

    fn address(&self) -> Result<SocketAddr, String> {
        let bound = self.servers.bound();
        let first = bound.first().map(|(_, address)| *address);
        first.ok_or_else(|| "it does not listen".to_owned())
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.servers.stop();
    }
}

/// A configuration of one listener on loopback, and a policy that allows one name, and what nothing
/// opens.
fn snapshot() -> Result<Snapshot, String> {
    let text = format!(
        "egress:\n  listeners: [{{name: self-test, address: '127.0.0.1:0'}}]\n  policies:\n  - name: self-test\n    \
         subjects: [{{addresses: [127.0.0.0/8]}}]\n    allow:\n    - {{host: {ALLOWED}, ports: [443], raw: true}}\n    \
         - {{host: {BLOCKED}, ports: [443], private: true, raw: true}}\n    \
         - {{cidr: {AROUND_LOOPBACK}, ports: [443], private: true, raw: true}}\n"
    );
    let mut read = read(&[SourceFile {
        name: "self-test".into(),
        text,
    }]);
    let document = Arc::new(std::mem::take(&mut read.document));
    let (validated, made) = validate_again(&document, &read.origins, &Made::default());
    if let Some(problem) = read.problems.iter().chain(&validated.problems).next() {
        return Err(problem.to_string());
    }
    let (live, metrics) = (Live::default(), Metrics::new());
    let reads = Reads::of(Contents::default());
    let compiled = compile(
        (made, validated.model),
        None,
        &read.origins,
        (&live, &metrics),
        &reads,
    );
    let (snapshot, _) = compiled.map_err(|problems| format!("{problems:?}"))?;
    Ok(snapshot)
}

/// The head of an answer.
struct Answer {
    status: u16,
    head: String,
}

impl Answer {
    fn is_for(&self, reason: &str) -> bool {
        let field = format!("x-portcullis-reason: egress/{reason}");
        self.head.lines().any(|line| line == field)
    }
}

/// Asks for a tunnel: the answer, and what is open where that is 200.
async fn ask(proxy: SocketAddr, target: &str) -> Result<(Answer, TcpStream), String> {
    let asking = async {
        let mut client = TcpStream::connect(proxy).await?;
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        client.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") && answer.len() < MAX_HEAD {
            answer.push(client.read_u8().await?);
        }
        std::io::Result::Ok((answer, client))
    };
    let asked = asking.await;
    let (answer, client) = asked.map_err(|error| format!("{target}: {error}"))?;
    let head = String::from_utf8_lossy(&answer).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("{target}: no status in the answer"))?;
    Ok((Answer { status, head }, client))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_proxy_of_this_binary_refuses() {
        assert_eq!(self_test().await, Ok(()));
    }
}
