//! `portcullis egress selftest`: whether a pod has a way beside the proxy.

mod probes;
mod proxy;

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Args;

use self::{
    probes::{Found, dns, quic, tcp},
    proxy::{Proxy, connect},
};

/// A host that serves TCP on 80, 443 and 853, DNS and QUIC: where it can be reached, it answers.
const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1));

/// Where the pod's own resolvers are told.
const RESOLV_CONF: &str = "/etc/resolv.conf";

#[derive(Args, Debug)]
pub(super) struct SelftestArgs {
    /// The proxy, as `http://10.96.0.7:3128`; user and password are sent to it. Default: the
    /// variable HTTPS_PROXY or https_proxy.
    #[arg(long, value_name = "URL")]
    proxy: Option<Proxy>,
    /// File with a token that the proxy is shown.
    #[arg(long, value_name = "FILE")]
    token_file: Option<std::path::PathBuf>,
    /// Destination that a policy allows: the proxy must answer 200. Default: not asked.
    #[arg(long, value_name = "HOST:PORT")]
    allowed: Option<String>,
    /// Destination that no policy allows: the proxy must answer 403, and so does not look it up.
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "portcullis-selftest.invalid:443"
    )]
    denied: String,
    /// Address outside that is tried without the proxy. It should answer on all ports, or a port
    /// that is silent there seems closed here.
    #[arg(long, value_name = "ADDRESS", default_value_t = TARGET)]
    target_address: IpAddr,
    /// TCP port that is tried there; may be given more than once.
    #[arg(long, value_name = "PORT", default_values_t = [443, 80, 53, 853])]
    port: Vec<u16>,
    /// UDP port that is tried there with QUIC.
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    quic_port: u16,
    /// Resolver of the cluster, with its port; may be given more than once. Default: those of
    /// /etc/resolv.conf.
    #[arg(long, value_name = "ADDRESS:PORT")]
    dns_server: Vec<SocketAddr>,
    /// Resolver outside.
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::new(TARGET, 53))]
    public_dns: SocketAddr,
    /// The resolver of the cluster may answer, as `netpol --allow-dns` has it.
    #[arg(long)]
    allow_dns: bool,
    /// Seconds that each check has. What is silent for so long is closed.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

/// One line of the table.
struct Check {
    what: &'static str,
    target: String,
    expected: &'static str,
    found: String,
    good: bool,
}

/// Tries every way out and prints what was found.
pub(super) fn selftest(args: &SelftestArgs) -> anyhow::Result<ExitCode> {
    let proxy = match &args.proxy {
        Some(proxy) => proxy.clone(),
        None => Proxy::of_environment()?,
    };
    let token = match &args.token_file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .with_context(|| format!("the token {} cannot be read", path.display()))?,
        ),
        None => None,
    };
    let proxy = proxy.with_token(token.as_deref())?;
    let servers = match args.dns_server.as_slice() {
        [] => of_system()?,
        servers => servers.to_vec(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let checks = runtime.block_on(run(args, &proxy, &servers));
    let good = checks.iter().all(|check| check.good);
    print(&mut io::stdout().lock(), &checks)?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn run(args: &SelftestArgs, proxy: &Proxy, servers: &[SocketAddr]) -> Vec<Check> {
    let time = Duration::from_secs(args.timeout);
    let mut checks = Vec::new();
    for port in &args.port {
        let target = SocketAddr::new(args.target_address, *port);
        checks.push(closed(
            "TCP without the proxy",
            target,
            tcp(target, time).await,
        ));
    }
    let target = SocketAddr::new(args.target_address, args.quic_port);
    checks.push(closed(
        "QUIC without the proxy",
        target,
        quic(target, time).await,
    ));
    for server in servers {
        let mut check = closed("DNS of the cluster", *server, dns(*server, time).await);
        if args.allow_dns {
            (check.expected, check.good) = ("any", true);
        }
        checks.push(check);
    }
    let server = args.public_dns;
    checks.push(closed("DNS outside", server, dns(server, time).await));
    let asked = [
        ("proxy, denied", Some(&args.denied), "403", 403),
        ("proxy, allowed", args.allowed.as_ref(), "200", 200),
    ];
    for (what, target, expected, status) in asked {
        let Some(target) = target else { continue };
        let answer = connect(proxy, target, time).await;
        checks.push(Check {
            what,
            target: target.clone(),
            expected,
            good: matches!(answer, Ok(found) if found == status),
            found: answer.map_or_else(|error| format!("{error:#}"), |found| found.to_string()),
        });
    }
    checks
}

/// A check of a way that must be closed.
fn closed(what: &'static str, target: SocketAddr, found: Found) -> Check {
    Check {
        what,
        target: target.to_string(),
        expected: "closed",
        good: matches!(found, Found::Closed(_)),
        found: match found {
            Found::Open => "open".to_owned(),
            Found::Closed(how) => format!("closed ({how})"),
            Found::Untried(error) => format!("not tried: {error}"),
        },
    }
}

/// The resolvers of this machine. Without any a way would go untried.
fn of_system() -> anyhow::Result<Vec<SocketAddr>> {
    let text = std::fs::read_to_string(RESOLV_CONF)
        .with_context(|| format!("{RESOLV_CONF} cannot be read: say --dns-server"))?;
    let servers = resolvers(&text);
    ensure!(
        !servers.is_empty(),
        "{RESOLV_CONF} names no resolver: say --dns-server"
    );
    Ok(servers)
}

/// The resolvers of a resolv.conf(5).
fn resolvers(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "nameserver").then_some(())?;
            Some(SocketAddr::new(words.next()?.parse().ok()?, 53))
        })
        .collect()
}

fn print(out: &mut impl Write, checks: &[Check]) -> io::Result<()> {
    let width = |of: fn(&Check) -> usize| checks.iter().map(of).max().unwrap_or_default();
    let (what, target) = (
        width(|check| check.what.len()),
        width(|check| check.target.len()),
    );
    for check in checks {
        let mark = if check.good { "ok  " } else { "FAIL" };
        writeln!(
            out,
            "{mark}  {:what$}  {:target$}  expected {}: {}",
            check.what, check.target, check.expected, check.found
        )?;
    }
    let failed = checks.iter().filter(|check| !check.good).count();
    match failed {
        0 => writeln!(out, "the proxy is the only way that was found"),
        _ => writeln!(out, "{failed} of {} checks failed", checks.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_those_of_the_file() {
        let text = "# nameserver 9.9.9.9\nsearch a.test\nnameserver 10.96.0.10\nnameserver fd00::a\nnameserver x\nnameserver\n";
        let found: Vec<String> = resolvers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.96.0.10:53", "[fd00::a]:53"]);
    }
}
