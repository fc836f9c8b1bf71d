//! The peers: reverse proxies in front of the same upstream, one worker each.
//!
//! Each has a module that says what it is set to and why that compares.

pub mod bare_pingora;
pub mod haproxy;
pub mod nginx;
pub mod portcullis;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

use crate::certificate::{self, CertificateFiles};

/// A reverse proxy to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// nginx of the system.
    Nginx,
    /// HAProxy of the system.
    Haproxy,
    /// pingora with nothing on it.
    BarePingora,
    /// This project.
    Portcullis,
}

/// Where a peer listens, forwards to, and keeps its files.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// Address to listen on in clear.
    pub listen: SocketAddr,
    /// Address to listen on with TLS, HTTP/2 and HTTP/1.1.
    pub listen_tls: SocketAddr,
    /// The certificate for that, which an upstream over TLS has too.
    pub certificate: &'a CertificateFiles,
    /// The upstream.
    pub upstream: Upstream,
    /// Folder for configuration and logs, empty at the start.
    pub folder: &'a Path,
}

/// What a peer forwards to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it speaks TLS. Then a peer trusts its authority alone, and looks for its name.
    pub tls: bool,
    /// Whether it keeps connections.
    pub kept: bool,
}

impl Peer {
    /// Every peer, in the order of the tables.
    pub const ALL: [Self; 4] = [
        Self::Nginx,
        Self::Haproxy,
        Self::BarePingora,
        Self::Portcullis,
    ];

    /// Returns the name used on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::BarePingora => "bare-pingora",
            Self::Portcullis => "portcullis",
        }
    }

    /// Finds the program.
    ///
    /// # Errors
    ///
    /// When it is not there; the text says how to get it.
    pub fn program(self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Nginx => nginx::program(),
            Self::Haproxy => haproxy::program(),
            Self::BarePingora => bare_pingora::program(),
            Self::Portcullis => portcullis::program(),
        }
    }

    /// Asks the program for its version.
    ///
    /// # Errors
    ///
    /// When it is not there or does not answer.
    pub fn version(self) -> anyhow::Result<String> {
        match self {
            Self::Nginx => version_of(&nginx::program()?, "-v", "nginx version: nginx/"),
            Self::Haproxy => haproxy::version(),
            Self::BarePingora => Ok(bare_pingora::version()),
            Self::Portcullis => version_of(&portcullis::program()?, "--version", "portcullis "),
        }
    }

    /// Writes the configuration and returns the command that starts the peer in
    /// the foreground.
    ///
    /// # Errors
    ///
    /// When the program is not there or the configuration cannot be written.
    pub fn command(self, place: &Place<'_>) -> anyhow::Result<Command> {
        match self {
            Self::Nginx => nginx::command(place),
            Self::Haproxy => haproxy::command(place),
            Self::BarePingora => bare_pingora::command(place),
            Self::Portcullis => portcullis::command(place),
        }
    }
}

/// A configuration of a peer.
#[derive(Clone, Copy, Debug)]
struct Template {
    /// The configuration, with placeholders.
    text: &'static str,
    /// What stands for `{upstream_tls}` where the upstream speaks TLS; nothing else does.
    upstream_tls: &'static str,
}

/// Writes a template with its placeholders filled in.
fn write_config(place: &Place<'_>, name: &str, template: Template) -> anyhow::Result<PathBuf> {
    let file = place.folder.join(name);
    fs::write(&file, fill(place, template)).with_context(|| format!("writing {file:?}"))?;
    Ok(file)
}

fn fill(place: &Place<'_>, template: Template) -> String {
    let (upstream_tls, scheme) = match place.upstream.tls {
        true => (template.upstream_tls, "https"),
        false => ("", "http"),
    };
    let (reuse, retry) = match place.upstream.kept {
        true => ("always", ""),
        false => ("never", "retry-on conn-failure empty-response"),
    };
    template
        .text
        .replace("{upstream_tls}", upstream_tls)
        .replace("{scheme}", scheme)
        .replace("{reuse}", reuse)
        .replace("{retry}", retry)
        .replace(
            "{authority}",
            &place.certificate.authority.to_string_lossy(),
        )
        .replace("{name}", certificate::NAME)
        .replace("{listen}", &place.listen.to_string())
        .replace("{listen_tls}", &place.listen_tls.to_string())
        .replace("{certificate}", &place.certificate.chain.to_string_lossy())
        .replace("{key}", &place.certificate.key.to_string_lossy())
        .replace("{pair}", &place.certificate.pair.to_string_lossy())
        .replace("{upstream}", &place.upstream.address.to_string())
        .replace("{folder}", &place.folder.to_string_lossy())
}

/// Asks a program for its version and takes the `prefix` off the answer.
pub(crate) fn version_of(program: &Path, argument: &str, prefix: &str) -> anyhow::Result<String> {
    let output = Command::new(program)
        .arg(argument)
        .output()
        .with_context(|| format!("asking {program:?} for its version"))?;
    // nginx answers on standard error.
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().trim();
    Ok(line.strip_prefix(prefix).unwrap_or(line).to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example(certificate: &CertificateFiles) -> Place<'_> {
        Place {
            listen: "127.0.0.1:1001".parse().unwrap(),
            listen_tls: "127.0.0.1:1003".parse().unwrap(),
            certificate,
            upstream: Upstream {
                address: "127.0.0.1:1002".parse().unwrap(),
                tls: false,
                kept: true,
            },
            folder: Path::new("/folder"),
        }
    }

    #[test]
    fn every_placeholder_of_the_templates_is_filled() {
        let certificate = CertificateFiles::of(Path::new("/certificates"));
        let mut place = example(&certificate);
        for template in [nginx::TEMPLATE, haproxy::TEMPLATE, portcullis::TEMPLATE] {
            for tls in [false, true] {
                place.upstream.tls = tls;
                let config = fill(&place, template);
                for expected in ["127.0.0.1:1001", "127.0.0.1:1002", "127.0.0.1:1003"] {
                    assert!(config.contains(expected), "{expected} in {config}");
                }
                assert!(config.contains("/certificates/"), "{config}");
                for verified in ["/certificates/ca.crt", certificate::NAME] {
                    assert_eq!(config.contains(verified), tls, "{verified} in {config}");
                }
                for placeholder in [
                    "{listen",
                    "{upstream",
                    "{folder",
                    "{certificate",
                    "{key",
                    "{pair",
                    "{authority",
                    "{name",
                    "{scheme",
                    "{reuse",
                    "{retry",
                ] {
                    // The first comment of each names them.
                    let used = config.lines().filter(|line| !line.starts_with('#'));
                    let left = used.filter(|line| line.contains(placeholder)).count();
                    assert_eq!(left, 0, "{placeholder} in {config}");
                }
            }
        }
    }
}
