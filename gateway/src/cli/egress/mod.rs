//! `portcullis egress`: what is to be done around the egress proxy.

mod clients;
mod decision;
mod logs;
mod netpol;
mod propose;
mod relay;
mod review;
mod selftest;

use std::process::ExitCode;

use clap::{Args, Subcommand};

#[derive(Args, Debug)]
pub(super) struct EgressArgs {
    #[command(subcommand)]
    command: EgressCommand,
}

#[derive(Debug, Subcommand)]
enum EgressCommand {
    /// Print the smallest policy of each workload that covers what the audit log has of it.
    Propose(propose::ProposeArgs),
    /// List policies and entries that the audit log does not use, and entries that have ended.
    Review(review::ReviewArgs),
    /// Explain what the proxy decides on destinations of a client; exits with 1 when one is refused.
    Test(Box<decision::TestArgs>),
    /// Print manifests that let pods reach the proxy and nothing else.
    Netpol(netpol::NetpolArgs),
    /// Try every way out of a pod, and the proxy; exits with 1 when something is open beside it.
    Selftest(selftest::SelftestArgs),
    /// Print what programs need to go through the proxy: variables, properties, settings.
    Clients(clients::ClientsArgs),
    /// Run beside the clients of a pod, and show its token to the egress proxy for them.
    Relay(Box<relay::RelayArgs>),
}

impl EgressArgs {
    /// Whether it runs until it is ended, as a server does.
    pub(super) fn is_server(&self) -> bool {
        matches!(self.command, EgressCommand::Relay(_))
    }
}

pub(super) fn egress(args: EgressArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        EgressCommand::Propose(args) => propose::propose(&args),
        EgressCommand::Review(args) => review::review(&args),
        EgressCommand::Test(args) => decision::test(&args),
        EgressCommand::Netpol(args) => netpol::netpol(&args),
        EgressCommand::Selftest(args) => selftest::selftest(&args),
        EgressCommand::Clients(args) => clients::clients(&args),
        EgressCommand::Relay(args) => relay::relay(*args),
    }
}
