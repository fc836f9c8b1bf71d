//! Arguments and subcommands.

mod admin;
mod check;
mod cluster;
mod config;
mod crds;
mod demo;
mod egress;
mod explain;
mod manifests;
mod rbac;
mod run;
mod schema;
mod signals;
mod waf;
mod yaml;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::telemetry::{LogFormat, init_logging};

/// A gateway that guards a cluster in both directions.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Form of the log on standard error.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    log_format: Format,
    /// Log filter, as in `info` or `portcullis=debug`; also PORTCULLIS_LOG.
    #[arg(long, global = true)]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Run(Box<RunArgs>),
    /// Read a configuration and print every problem; exits with 1 when there is one.
    Check(CheckArgs),
    /// Start everything on free ports with a built-in backend, and show each decision.
    Demo(DemoArgs),
    /// Check WAF rules, show them a request, or tell what they inspect.
    Waf(waf::WafArgs),
    /// Tell why a request was refused, and the narrowest exclusion that lets it pass.
    Explain(explain::ExplainArgs),
    /// Around the egress proxy: policies, manifests that leave no way beside it, the relay beside its clients.
    Egress(egress::EgressArgs),
    /// Print the rights that the gateway needs in a Kubernetes cluster, as YAML.
    Rbac(rbac::RbacArgs),
    /// Print the CustomResourceDefinitions of the egress proxy, as YAML.
    Crds,
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
}

#[derive(Args, Clone, Debug)]
struct RunArgs {
    /// Configuration file or folder; may be given more than once. Folders are read without subfolders.
    #[arg(long, short, required_unless_present_any = ["paths", "manifests", "kubernetes"], value_name = "PATH")]
    config: Vec<PathBuf>,
    /// The same without `--config`, as `check` is written.
    #[arg(hide = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Worker threads. Default: the number of CPUs.
    #[arg(long)]
    threads: Option<usize>,
    /// Write the bound addresses to this file, as JSON, whenever they change.
    #[arg(long, value_name = "FILE")]
    bound_file: Option<PathBuf>,
    #[command(flatten)]
    manifests: manifests::ManifestArgs,
    #[command(flatten)]
    cluster: cluster::ClusterArgs,
    #[command(flatten)]
    egress_test: EgressTestArgs,
}

/// Answers for tests that may reach only this machine. Never for production:
/// each use is logged as a warning.
#[derive(Args, Clone, Debug, Default)]
struct EgressTestArgs {
    /// Test only: answer DNS for a name, as `host=ip[,ip...]`; a repeated name gives successive answers.
    #[arg(long, hide = true, value_name = "HOST=IP[,IP]")]
    test_dns: Vec<String>,
    /// Test only: dial another address than the one that was judged, as `ip:port=ip:port`.
    #[arg(long, hide = true, value_name = "IP:PORT=IP:PORT")]
    test_address_map: Vec<String>,
}

#[derive(Args, Debug)]
struct CheckArgs {
    /// Configuration files or folders.
    #[arg(required_unless_present_any = ["config", "manifests"], value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    manifests: manifests::ManifestArgs,
    /// The same with `--config`, as `run` is written.
    #[arg(long, short, hide = true, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// Print nothing but problems.
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Args, Debug)]
struct DemoArgs {
    /// Print the commands to try, and stop after this many seconds. Default: run until Ctrl-C.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = match cli.log_format {
        Format::Text => LogFormat::Text,
        Format::Json => LogFormat::Json,
    };
    let quiet = match &cli.command {
        Command::Run(_) => false,
        Command::Egress(args) => !args.is_server(),
        Command::Demo(_)
        | Command::Check(_)
        | Command::Waf(_)
        | Command::Explain(_)
        | Command::Rbac(_)
        | Command::Crds
        | Command::Schema => true,
    };
    let filter = cli.log.as_deref().or(quiet.then_some("warn"));
    init_logging(format, filter);
    crate::tls::install_provider();
    let result = match cli.command {
        Command::Run(args) => run::run(*args),
        Command::Check(args) => check::check(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::Waf(args) => waf::waf(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Egress(args) => egress::egress(args),
        Command::Rbac(args) => rbac::rbac(&args),
        Command::Crds => crds::crds(),
        Command::Schema => schema::schema(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("portcullis: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The paths of a command line, however they were given.
fn config_paths(paths: &[PathBuf], config: &[PathBuf]) -> Vec<PathBuf> {
    [paths, config].concat()
}
