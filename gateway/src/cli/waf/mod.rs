//! `portcullis waf`: what WAF rules say, and what they do to a request, without a gateway.

mod check;
mod eval;
mod print;
mod raw_http;
mod report;
mod request;
mod rules;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

#[derive(Args, Debug)]
pub(super) struct WafArgs {
    #[command(subcommand)]
    command: WafCommand,
}

#[derive(Debug, Subcommand)]
enum WafCommand {
    /// Read SecLang rules and print every problem; exits with 1 when there is one.
    Check(CheckArgs),
    /// Show one request to the rules: verdict, score and every match; exits with 3 where it is refused.
    Eval(EvalArgs),
    /// Tell what each route inspects and what it leaves out, as an auditor asks for it.
    Report(ReportArgs),
}

#[derive(Args, Debug)]
struct CheckArgs {
    /// SecLang files and folders, in the order in which they are to be read; `baseline` is the built-in rules.
    #[arg(required = true, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// Print nothing but problems.
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Args, Debug)]
struct EvalArgs {
    /// The request as it would be sent: request line, headers, an empty line, body. `-` is standard input.
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// A response, for the rules that look at one.
    #[arg(long, value_name = "FILE")]
    response: Option<PathBuf>,
    /// SecLang files and folders, in order; `baseline` is the built-in rules. Default: `baseline`.
    #[arg(long, num_args = 1.., value_name = "PATH", conflicts_with_all = ["config", "route", "profile"])]
    rules: Vec<PathBuf>,
    /// Take profile, mode and limits from a configuration, of the rule that the request leads to.
    #[arg(long, short, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// The route, or `route/index` for one of its rules, in place of the one that the request leads to.
    #[arg(long, requires = "config", value_name = "NAME")]
    route: Option<String>,
    /// The profile, in place of that of a route.
    #[arg(
        long,
        requires = "config",
        conflicts_with = "route",
        value_name = "NAME"
    )]
    profile: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct ReportArgs {
    /// Configuration file or folder; may be given more than once.
    #[arg(long, short, required = true, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// Admin listener of the gateway that serves it, for counts of its traffic: `http://127.0.0.1:9091` or `unix:/path`.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn waf(args: &WafArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        WafCommand::Check(args) => check::check(args),
        WafCommand::Eval(args) => eval::eval(args),
        WafCommand::Report(args) => report::report(args),
    }
}
