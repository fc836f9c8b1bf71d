//! The proxies: what each is set to, and by what it knows a destination.
//!
//! All allow [`DESTINATIONS`] destinations, log each connection to a file, ask no DNS, and dial this machine.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

use super::DESTINATIONS;
use crate::{peers::version_of, programs};

/// The address that names have for Portcullis, which no policy could allow were it one of this machine.
const JUDGED: &str = "93.184.215.14";

/// A forward proxy to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proxy {
    /// This project. Names are answered by its script for tests, judged, and then this machine is dialled.
    Portcullis,
    /// squid of the system. Names are in a file of hosts, which it reads once.
    Squid,
    /// tinyproxy of the system. It knows no file of hosts of its own, and asks the system for each
    /// connection: destinations are addresses of this machine, which costs it the least.
    Tinyproxy,
}

impl Proxy {
    /// Every proxy, in the order of the tables.
    pub const ALL: [Self; 3] = [Self::Portcullis, Self::Squid, Self::Tinyproxy];

    /// Returns the name used on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portcullis => "portcullis",
            Self::Squid => "squid",
            Self::Tinyproxy => "tinyproxy",
        }
    }

    /// Finds the program.
    ///
    /// # Errors
    ///
    /// When it is not there; the text says how to get it.
    pub fn program(self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Portcullis => programs::built("portcullis", "portcullis"),
            Self::Squid | Self::Tinyproxy => programs::system(self.name(), self.name()),
        }
    }

    /// Asks the program for its version.
    ///
    /// # Errors
    ///
    /// When it is not there or does not answer.
    pub fn version(self) -> anyhow::Result<String> {
        let program = self.program()?;
        match self {
            Self::Portcullis => version_of(&program, "--version", "portcullis "),
            Self::Squid => version_of(&program, "-v", "Squid Cache: Version "),
            Self::Tinyproxy => version_of(&program, "-v", "tinyproxy "),
        }
    }

    /// The host of a destination, as clients name it.
    pub fn host(self, destination: usize) -> String {
        let number = destination % DESTINATIONS;
        match self {
            Self::Portcullis | Self::Squid => format!("host-{number}.allowed.test"),
            Self::Tinyproxy => format!("127.0.0.{}", number + 1),
        }
    }

    /// The port of a destination, as clients name it. Portcullis takes what goes to another for no TLS of the web.
    pub fn port(self, target: SocketAddr) -> u16 {
        match self {
            Self::Portcullis => 443,
            Self::Squid | Self::Tinyproxy => target.port(),
        }
    }

    /// Writes the configuration into a folder and returns the command that starts the proxy in the
    /// foreground.
    ///
    /// # Errors
    ///
    /// When the program is not there or the configuration cannot be written.
    pub fn command(
        self,
        listen: SocketAddr,
        target: SocketAddr,
        folder: &Path,
    ) -> anyhow::Result<Command> {
        let hosts = (0..DESTINATIONS).map(|number| self.host(number));
        let lines = |line: &dyn Fn(&str) -> String| -> String {
            hosts.clone().map(|host| line(&host) + "\n").collect()
        };
        let write = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| format!("writing {file:?}"))?;
            Ok(file)
        };
        let config = write("proxy.conf", &self.config(listen, folder))?;
        let mut command = Command::new(self.program()?);
        match self {
            Self::Portcullis => {
                command.args(["run", "--threads", "1", "--config"]);
                command.arg(config);
                for host in hosts {
                    command.args(["--test-dns", &format!("{host}={JUDGED}")]);
                }
                let mapped = format!("{JUDGED}:{}={target}", self.port(target));
                command.args(["--test-address-map", &mapped]);
            }
            Self::Squid => {
                write("names", &lines(&str::to_owned))?;
                write("hosts", &lines(&|host| format!("{} {host}", target.ip())))?;
                // Started by root it goes on as another user, who writes the logs.
                fs::set_permissions(folder, fs::Permissions::from_mode(0o777))
                    .with_context(|| format!("opening {folder:?} to the user of squid"))?;
                command.arg("-N").arg("-f").arg(config);
            }
            Self::Tinyproxy => {
                write(
                    "filter",
                    &lines(&|host| format!("^{}$", host.replace('.', "\\."))),
                )?;
                command.arg("-d").arg("-c").arg(config);
            }
        }
        Ok(command)
    }

    fn config(self, listen: SocketAddr, folder: &Path) -> String {
        let names: Vec<String> = (0..DESTINATIONS).map(|number| self.host(number)).collect();
        let template = match self {
            Self::Portcullis => include_str!("../../configs/egress/portcullis.yaml"),
            Self::Squid => include_str!("../../configs/egress/squid.conf"),
            Self::Tinyproxy => include_str!("../../configs/egress/tinyproxy.conf"),
        };
        template
            .replace("{listen}", &listen.to_string())
            .replace("{address}", &listen.ip().to_string())
            .replace("{port}", &listen.port().to_string())
            .replace("{names}", &names.join(", "))
            .replace("{folder}", &folder.to_string_lossy())
    }
}

#[cfg(test)]
mod tests {
    use portcullis_config::{
        read::{SourceFile, read},
        validate::validate,
    };

    use super::*;

    #[test]
    fn every_placeholder_is_filled() {
        for proxy in Proxy::ALL {
            let config = proxy.config("127.0.0.1:1001".parse().unwrap(), Path::new("/folder"));
            // The comments of the head name them.
            let used = config.lines().filter(|line| !line.starts_with('#'));
            let used: Vec<&str> = used.collect();
            assert!(used.iter().any(|line| line.contains("/folder/")));
            assert!(used.iter().any(|line| line.contains("1001")));
            for placeholder in ["{listen", "{address}", "{port}", "{names}", "{folder"] {
                let left = used.iter().find(|line| line.contains(placeholder));
                assert_eq!(left, None, "{proxy:?}");
            }
        }
    }

    #[test]
    fn the_configuration_has_no_problems() {
        let listen = "127.0.0.1:1001".parse().unwrap();
        let read = read(&[SourceFile {
            name: "proxy.conf".into(),
            text: Proxy::Portcullis.config(listen, Path::new("/folder")),
        }]);
        assert!(read.problems.is_empty(), "{:#?}", read.problems);
        let validated = validate(&read.document, &read.origins);
        assert!(validated.problems.is_empty(), "{:#?}", validated.problems);
        let egress = validated.model.egress.unwrap();
        assert_eq!(egress.policies[0].allow.len(), DESTINATIONS);
    }
}
