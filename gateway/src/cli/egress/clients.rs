//! `portcullis egress clients`.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use portcullis_config::egress::{NoProxy, NoProxyEntry, ProxyUrl};

use crate::{
    cli::{cluster::api_server, config::load},
    egress_clients::{Assumed, ClientSettings, Unable},
    snapshot::parse_certificates,
};

#[derive(Args, Debug)]
pub(super) struct ClientsArgs {
    /// The proxy, or the relay before it, as programs reach it: `http://HOST:PORT` or `https://HOST:PORT`, without a
    /// password; port 3128 where none is named.
    #[arg(
        required_unless_present = "config",
        conflicts_with = "config",
        value_name = "URL"
    )]
    proxy: Option<String>,
    /// Configuration of the proxy, for what `egress.workloads.injection` gives to pods; may be given more than once.
    #[arg(long, short, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// What it is printed for. Programs that read variables may be named as well, as `npm`: they are `shell`.
    #[arg(long = "for", value_enum, default_value_t = For::Shell, value_name = "PROGRAM")]
    program: For,
    /// Destination that programs reach without the proxy: a name, `.suffix`, an address or a range of IPv4; may be given
    /// more than once.
    #[arg(long, value_delimiter = ',', value_name = "ENTRY")]
    no_proxy: Vec<NoProxyEntry>,
    /// PEM file of authorities that programs are to trust, where the proxy looks into TLS. With `--config` a shell is told
    /// of none without it: the file that pods have is not elsewhere.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File with a token that programs show the proxy. It is read where the lines run, and not here; only a shell can.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum For {
    /// `export` lines: for curl, wget, git over https, pip, npm, Yarn, cargo, Go, Python and Node.
    #[value(aliases = ["curl", "wget", "git", "pip", "npm", "yarn", "cargo", "go", "python", "node"])]
    Shell,
    /// A file of variables, for Docker, systemd and ConfigMaps.
    #[value(aliases = ["docker", "systemd"])]
    Env,
    /// `env` of a container.
    #[value(alias = "pod")]
    Kubernetes,
    /// An argument file, with properties.
    Java,
    /// settings.xml.
    #[value(alias = "mvn")]
    Maven,
    /// gradle.properties.
    Gradle,
    /// Lines for the end of an ssh_config, also for git over ssh.
    #[value(alias = "git-ssh")]
    Ssh,
    /// All of these, one after the other, to be read.
    All,
}

/// Prints what programs need to go through the proxy.
pub(super) fn clients(args: &ClientsArgs) -> anyhow::Result<ExitCode> {
    let settings = args.settings()?;
    let text = match args.program {
        For::All => all(&settings)?,
        one => one.print(&settings).map_err(|unable| {
            let name = one.name();
            anyhow!("--for {name}: {name} {unable}")
        })?,
    };
    write!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

/// All that can be said, with who is left out.
fn all(settings: &ClientSettings) -> anyhow::Result<String> {
    let mut text = String::new();
    let kinds = For::value_variants().iter();
    for one in kinds.filter(|one| **one != For::All) {
        let name = one.name();
        match one.print(settings) {
            Ok(of_one) => writeln!(text, "#### {name}\n{of_one}")?,
            Err(unable) => writeln!(text, "#### {name}: none; {name} {unable}\n")?,
        }
    }
    Ok(text)
}

impl For {
    fn print(self, settings: &ClientSettings) -> Result<String, Unable> {
        match self {
            Self::Shell | Self::All => Ok(settings.shell()),
            Self::Env => settings.env_file(),
            Self::Kubernetes => settings.kubernetes(),
            Self::Java => settings.java(),
            Self::Maven => settings.maven(),
            Self::Gradle => settings.gradle(),
            Self::Ssh => settings.ssh(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Env => "env",
            Self::Kubernetes => "kubernetes",
            Self::Java => "java",
            Self::Maven => "maven",
            Self::Gradle => "gradle",
            Self::Ssh => "ssh",
            Self::All => "all",
        }
    }
}

impl ClientsArgs {
    fn settings(&self) -> anyhow::Result<ClientSettings> {
        let mut settings = match &self.proxy {
            Some(url) => ClientSettings {
                proxy: proxy(url)?,
                no_proxy: NoProxy::loopback(),
                trust: None,
                token_file: None,
                assumed: Vec::new(),
            },
            None => of_configuration(&self.config)?,
        };
        for entry in &self.no_proxy {
            settings.no_proxy.add(entry.clone());
        }
        if let Some(file) = &self.ca {
            let pem = fs::read(file).with_context(|| format!("--ca {}", file.display()))?;
            parse_certificates(file, &pem).map_err(|error| anyhow!("--ca {error}"))?;
            settings.trust = Some(absolute("--ca", file)?);
            settings.assumed.retain(|one| *one != Assumed::Trust);
        }
        if let Some(file) = &self.token_file {
            settings.token_file = Some(absolute("--token-file", file)?);
            settings.assumed.retain(|one| *one != Assumed::Token);
        }
        Ok(settings)
    }
}

/// The proxy that a URL names. The message has nothing of a URL with a password.
fn proxy(url: &str) -> anyhow::Result<ProxyUrl> {
    if url.contains('@') {
        bail!(
            "the URL of the proxy has a user or a password, which whoever sees this command or its output would know: name the proxy alone, and a token with --token-file, or a relay (`portcullis egress relay`)"
        );
    }
    let parsed = url.parse();
    parsed.with_context(|| format!("the URL of the proxy, {url:?}"))
}

/// What the configuration gives to pods.
fn of_configuration(paths: &[PathBuf]) -> anyhow::Result<ClientSettings> {
    let snapshot = load(paths)?;
    let egress = snapshot.model.egress.as_ref();
    let workloads = egress.and_then(|egress| egress.workloads.as_ref());
    let injection = workloads.and_then(|workloads| workloads.injection.as_ref());
    let injection = injection.context(
        "the configuration has no `egress.workloads.injection`: say the URL of the proxy instead",
    )?;
    Ok(ClientSettings::of_pods(injection, None, api_server()))
}

/// A file by a path that means it everywhere, in one line.
fn absolute(argument: &str, file: &Path) -> anyhow::Result<String> {
    let path = std::path::absolute(file);
    let path = path.with_context(|| format!("{argument} {}", file.display()))?;
    let text = path
        .to_str()
        .filter(|text| !text.contains(char::is_control));
    let Some(text) = text else {
        bail!("{argument} {path:?}: the path is no line of text");
    };
    ensure!(!file.as_os_str().is_empty(), "{argument}: no path");
    Ok(text.to_owned())
}
