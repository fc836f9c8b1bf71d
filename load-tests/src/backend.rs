//! The backend of scenarios whose backend speaks TLS: nginx, which answers by itself.
//!
//! In: a certificate and a folder. Out: an address for each way to be connected to, and
//! how many of the connections took up a session. The same nginx answers in clear, so
//! that what a peer spends more on TLS is all that differs.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, ensure};

use crate::{
    certificate::CertificateFiles,
    peers::{Upstream, nginx},
    process::{Running, free_address},
    upstream,
};

/// The configuration, with placeholders.
const TEMPLATE: &str = include_str!("../configs/backend.conf");

/// Time after which the log has what happened: above its `flush`.
const FLUSHED: Duration = Duration::from_millis(300);

/// What a backend does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// Keeps them.
    Kept,
    /// Closes each behind its answer, and lets the next take up its session.
    Each,
    /// Closes each, and takes up no session.
    EachUnresumed,
}

impl Connect {
    /// Whether connections are made all the time.
    pub fn is_new(self) -> bool {
        self != Self::Kept
    }
}

/// A running backend; dropping it stops it.
#[derive(Debug)]
pub struct Backend {
    addresses: Addresses,
    log: PathBuf,
    _process: Running,
}

/// Where it listens.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    kept: SocketAddr,
    kept_tls: SocketAddr,
    closed: SocketAddr,
    closed_tls: SocketAddr,
    unresumed_tls: SocketAddr,
}

impl Backend {
    /// Starts one, with its files in a folder.
    ///
    /// # Errors
    ///
    /// When nginx is not installed or does not start.
    pub async fn start(certificate: &CertificateFiles, folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir(&folder).with_context(|| format!("creating {folder:?}"))?;
        let addresses = Addresses {
            kept: free_address()?,
            kept_tls: free_address()?,
            closed: free_address()?,
            closed_tls: free_address()?,
            unresumed_tls: free_address()?,
        };
        let file = folder.join("backend.conf");
        let mut config = fill(addresses, certificate);
        config = config.replace("{folder}", &folder.to_string_lossy());
        fs::write(&file, config).with_context(|| format!("writing {file:?}"))?;
        let mut command = Command::new(nginx::program()?);
        command.arg("-p").arg(&folder).arg("-c").arg(&file);
        command.args(["-e", "stderr"]);
        let mut process = Running::start("the nginx backend", command, folder.join("out"))?;
        process.wait_until_ready(addresses.kept).await?;
        Ok(Self {
            addresses,
            log: folder.join("resumed.log"),
            _process: process,
        })
    }

    /// Where it is over TLS.
    pub fn tls(&self, connect: Connect) -> Upstream {
        let address = match connect {
            Connect::Kept => self.addresses.kept_tls,
            Connect::Each => self.addresses.closed_tls,
            Connect::EachUnresumed => self.addresses.unresumed_tls,
        };
        Upstream {
            address,
            tls: true,
            kept: !connect.is_new(),
        }
    }

    /// Where it is in clear.
    pub fn plain(&self, connect: Connect) -> Upstream {
        let address = match connect {
            Connect::Kept => self.addresses.kept,
            Connect::Each | Connect::EachUnresumed => self.addresses.closed,
        };
        Upstream {
            address,
            tls: false,
            kept: !connect.is_new(),
        }
    }

    /// Looks where the log ends, once it has all that happened before.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn mark(&self) -> anyhow::Result<usize> {
        Ok(self.read_log().await?.len())
    }

    /// The part of the connections since a mark that took up a session.
    ///
    /// # Errors
    ///
    /// When the log cannot be read, or has no connection.
    pub async fn resumed_since(&self, mark: usize) -> anyhow::Result<f64> {
        let log = self.read_log().await?;
        resumed(log.get(mark..).unwrap_or_default())
    }

    async fn read_log(&self) -> anyhow::Result<String> {
        tokio::time::sleep(FLUSHED).await;
        let log = &self.log;
        fs::read_to_string(log).with_context(|| format!("reading {log:?}"))
    }
}

fn fill(addresses: Addresses, certificate: &CertificateFiles) -> String {
    let Addresses {
        kept,
        kept_tls,
        closed,
        closed_tls,
        unresumed_tls,
    } = addresses;
    TEMPLATE
        .replace("{kept}", &kept.to_string())
        .replace("{kept_tls}", &kept_tls.to_string())
        .replace("{closed}", &closed.to_string())
        .replace("{closed_tls}", &closed_tls.to_string())
        .replace("{unresumed_tls}", &unresumed_tls.to_string())
        .replace("{certificate}", &certificate.chain.to_string_lossy())
        .replace("{key}", &certificate.key.to_string_lossy())
        // nginx reads the two characters as an end of line.
        .replace("{reply}", &upstream::reply_body(0).replace('\n', "\\n"))
}

/// The part of lines that are `r`; `.` is a whole handshake (nginx, `$ssl_session_reused`).
fn resumed(log: &str) -> anyhow::Result<f64> {
    let count = |letter: &str| log.lines().filter(|line| *line == letter).count();
    let (resumed, whole) = (count("r"), count("."));
    ensure!(resumed + whole > 0, "the backend saw no handshake");
    Ok(resumed as f64 / (resumed + whole) as f64)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_placeholder_is_filled() {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses {
            kept: address(1001),
            kept_tls: address(1002),
            closed: address(1003),
            closed_tls: address(1004),
            unresumed_tls: address(1005),
        };
        let config = fill(addresses, &CertificateFiles::of(Path::new("/certificates")));
        for port in 1001..=1005 {
            let listens = format!("listen 127.0.0.1:{port}");
            assert!(config.contains(&listens), "{listens} in {config}");
        }
        let directives = config.lines().filter(|line| !line.starts_with('#'));
        for line in directives {
            let left = line.replace("{folder}", "");
            assert!(!left.contains('{') || left.ends_with('{'), "{line}");
        }
        assert!(config.contains(r#"return 200 "received 0 bytes of body\n";"#));
    }

    #[test]
    fn connections_that_took_up_a_session_are_counted() {
        assert_eq!(resumed("r\n.\nr\nr\n").unwrap(), 0.75);
        // In clear there is nothing to take up.
        assert!(resumed("-\n-\n").is_err());
    }
}
