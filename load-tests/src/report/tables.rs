//! A report as Markdown.

use std::fmt;

use super::{PeerReport, RatioReport, Report, ScenarioReport, target};
use crate::{machine::Machine, scenario::Connections, stats::Spread};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            processor,
            processors,
            kernel,
            load_average,
        } = &self.machine;
        writeln!(
            f,
            "{}: {processors} x {processor}, Linux {kernel}, load average {load_average} at the start.",
            self.recorded_at
        )?;
        writeln!(
            f,
            "One worker each, {} rounds of {} s after {} s of warm-up; median (min-max).",
            self.rounds, self.seconds, self.warm_up_seconds
        )?;
        if !self.optimised {
            writeln!(f, "Built without optimisation: these numbers mean nothing.")?;
        }
        for scenario in &self.scenarios {
            write!(f, "\n{scenario}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ScenarioReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connections { count, streams } = self.connections;
        let streams = match streams {
            1 => String::new(),
            streams => format!(" of {streams} streams"),
        };
        writeln!(f, "### {}\n", self.scenario.title())?;
        writeln!(f, "{count} connections{streams}.\n")?;
        writeln!(
            f,
            "| peer | CPU us per request | requests per second | busy |"
        )?;
        writeln!(f, "| --- | --- | --- | --- |")?;
        for peer in &self.peers {
            let cpu = numbers(peer.cpu_us_per_request, 1);
            let rate = numbers(peer.requests_per_second, 0);
            let busy = numbers(peer.busy, 2);
            let (name, version) = (peer.peer.name(), &peer.version);
            writeln!(f, "| {name} {version} | {cpu} | {rate} | {busy} |")?;
        }
        if !self.ratios.is_empty() {
            writeln!(f, "\n| ratio of CPU per request | median (min-max) |")?;
            writeln!(f, "| --- | --- |")?;
        }
        for RatioReport { of, to, ratio } in &self.ratios {
            let ratio = numbers(*ratio, 3);
            let target = target(self.scenario, *of, *to)
                .map_or_else(String::new, |most| format!(", target at most {most}"));
            writeln!(f, "| {} / {}{target} | {ratio} |", of.name(), to.name())?;
        }
        self.fmt_cost_of_tls(f)?;
        if !self.profile.is_empty() {
            writeln!(f, "\nMost samples in Portcullis, of their own:\n")?;
        }
        for entry in &self.profile {
            writeln!(f, "    {entry}")?;
        }
        Ok(())
    }
}

impl ScenarioReport {
    /// What each peer spends on TLS towards the backend.
    fn fmt_cost_of_tls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = |peer: &PeerReport| peer.plain.is_some();
        if !self.peers.iter().any(with) {
            return Ok(());
        }
        writeln!(
            f,
            "\n| peer | CPU us, backend in clear | with TLS / in clear | sessions taken up |"
        )?;
        writeln!(f, "| --- | --- | --- | --- |")?;
        for peer in &self.peers {
            let Some(plain) = &peer.plain else { continue };
            let cpu = numbers(plain.cpu_us_per_request, 1);
            let ratio = numbers(plain.tls_to_plain, 3);
            let resumed = peer
                .resumed
                .map_or_else(|| "-".to_owned(), |part| numbers(part, 3));
            let name = peer.peer.name();
            writeln!(f, "| {name} | {cpu} | {ratio} | {resumed} |")?;
        }
        Ok(())
    }
}

fn numbers(spread: Spread, digits: usize) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.digits$} ({min:.digits$}-{max:.digits$})")
}
