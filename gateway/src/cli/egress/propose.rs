//! `portcullis egress propose`.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use portcullis_config::access::AddressSet;

use super::logs::{read_admin, read_files};
use crate::egress_tools::{self, Collector, DEFAULT_MAX_ENTRIES, LineCounts, Mode, Options, write};

#[derive(Args, Debug)]
pub(super) struct ProposeArgs {
    /// Audit logs, in JSON lines; `-` is standard input.
    #[arg(required_unless_present = "admin", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Admin listener of a gateway, to be asked for the records that it keeps:
    /// `http://127.0.0.1:9091` or `unix:/path`.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// What is printed: `resource` are objects of the kind EgressPolicy, `document` is the section
    /// `egress.policies` of a configuration.
    #[arg(long = "as", value_enum, default_value_t = Form::Resource, value_name = "FORM")]
    form: Form,
    /// Mode of the policies. `auto` is `report` for a workload that was let pass without an entry,
    /// and `enforce` for the others, so that nothing opens that was not open.
    #[arg(long, value_enum, default_value_t = ModeChoice::Auto, value_name = "MODE")]
    mode: ModeChoice,
    /// Join names below one parent to `*.parent` where there are so many with the same ports.
    /// Never below a public suffix. Default: names stay apart.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    wildcard_from: Option<u32>,
    /// Propose destinations at private addresses too, with `private: true`.
    #[arg(long)]
    private: bool,
    /// Propose what enforced policies have refused too, where an entry could let it pass.
    #[arg(long)]
    denied: bool,
    /// Range of the cluster, as in `egress.clusterRanges`: it counts as private. May be given more
    /// than once.
    #[arg(long, value_name = "CIDR")]
    cluster_range: Vec<IpNet>,
    /// Distinct destinations that are kept; with more of them nothing is proposed.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_ENTRIES)]
    max_entries: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Resource,
    Document,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeChoice {
    Auto,
    Report,
    Enforce,
}

/// Prints policies that cover what was seen.
pub(super) fn propose(args: &ProposeArgs) -> anyhow::Result<ExitCode> {
    let mut collector = Collector::new(args.options());
    let mut counts = LineCounts::default();
    read_files(&args.files, &mut counts, |record| {
        Ok(collector.add(&record)?)
    })?;
    if let Some(url) = &args.admin {
        read_admin(url, &mut counts, |record| Ok(collector.add(&record)?))?;
    }
    let form = match args.form {
        Form::Resource => egress_tools::Form::Resource,
        Form::Document => egress_tools::Form::Document,
    };
    write!(std::io::stdout(), "{}", write(&collector, &counts, form))?;
    Ok(ExitCode::SUCCESS)
}

impl ProposeArgs {
    fn options(&self) -> Options {
        let mut cluster_ranges = AddressSet::default();
        for range in &self.cluster_range {
            cluster_ranges.insert(*range);
        }
        Options {
            // Where it does not fit, it is more than there can be.
            wildcard_from: self
                .wildcard_from
                .map(|from| usize::try_from(from).unwrap_or(usize::MAX)),
            private: self.private,
            denied: self.denied,
            mode: match self.mode {
                ModeChoice::Auto => None,
                ModeChoice::Report => Some(Mode::Report),
                ModeChoice::Enforce => Some(Mode::Enforce),
            },
            cluster_ranges,
            max_entries: self.max_entries,
        }
    }
}
