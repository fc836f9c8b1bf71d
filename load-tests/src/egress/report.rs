//! What was found, as tables to read and JSON to keep, and whether targets are met.

use std::fmt;

use serde::Serialize;

use super::{Bulk, Connect, Idle, Proxy, Settings};
use crate::{machine::Machine, stats::Spread};

/// One of the numbers that are told of each proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// CPU time of a tunnel that is opened and closed, in microseconds.
    ConnectCpu,
    /// Such tunnels in a second.
    ConnectRate,
    /// CPU seconds for each GiB to the client.
    DownCpu,
    /// GiB in a second to the client.
    DownRate,
    /// CPU seconds for each GiB to the target.
    UpCpu,
    /// GiB in a second to the target.
    UpRate,
    /// Bytes of memory of an idle tunnel.
    IdleMemory,
    /// MiB of memory with 100,000 idle tunnels.
    IdleMemoryOf100000,
}

/// A bar for Portcullis.
#[derive(Clone, Copy, Debug)]
struct Goal {
    quantity: Quantity,
    /// In parts of whose; of nobody's where it is a number by itself.
    to: Option<Proxy>,
    limit: Limit,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

const GOALS: [Goal; 6] = [
    goal(
        Quantity::ConnectCpu,
        Some(Proxy::Tinyproxy),
        Limit::AtMost(0.75),
    ),
    goal(Quantity::DownCpu, Some(Proxy::Squid), Limit::AtMost(0.5)),
    goal(Quantity::UpCpu, Some(Proxy::Squid), Limit::AtMost(0.5)),
    goal(Quantity::DownRate, Some(Proxy::Squid), Limit::AtLeast(1.0)),
    goal(Quantity::UpRate, Some(Proxy::Squid), Limit::AtLeast(1.0)),
    goal(Quantity::IdleMemory, None, Limit::AtMost(4096.0)),
];

const fn goal(quantity: Quantity, to: Option<Proxy>, limit: Limit) -> Goal {
    Goal {
        quantity,
        to,
        limit,
    }
}

/// Everything of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// When it was made, RFC 3339.
    pub recorded_at: String,
    /// On which machine.
    pub machine: Machine,
    /// Whether the programs were built with optimisation.
    pub optimised: bool,
    /// How much was measured.
    pub settings: Settings,
    /// The numbers of each proxy.
    pub proxies: Vec<ProxyReport>,
}

/// The numbers of one proxy, one sample for each round.
#[derive(Clone, Debug, Serialize)]
pub struct ProxyReport {
    /// Who.
    pub proxy: Proxy,
    /// Which version.
    pub version: String,
    /// Tunnels opened and closed.
    pub connect: Vec<Connect>,
    /// Data through a tunnel.
    pub bulk: Vec<Bulk>,
    /// Idle tunnels.
    pub idle: Vec<Idle>,
}

impl Report {
    /// Starts a report without numbers.
    pub fn new(settings: Settings, machine: Machine, proxies: Vec<(Proxy, String)>) -> Self {
        let proxies = proxies.into_iter().map(|(proxy, version)| ProxyReport {
            proxy,
            version,
            connect: Vec::new(),
            bulk: Vec::new(),
            idle: Vec::new(),
        });
        Self {
            recorded_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            machine,
            optimised: !cfg!(debug_assertions),
            settings,
            proxies: proxies.collect(),
        }
    }

    /// The targets that are missed, or that nothing was measured for.
    pub fn missed(&self) -> Vec<String> {
        let missed = GOALS.iter().filter_map(|goal| {
            let found = self.found(goal.quantity, goal.to);
            let is_met = found.is_some_and(|found| goal.limit.is_met(found.median));
            let found = found.map_or_else(|| "not measured".to_owned(), numbers);
            (!is_met).then(|| format!("{goal}: {found}"))
        });
        missed.collect()
    }

    fn found(&self, quantity: Quantity, to: Option<Proxy>) -> Option<Spread> {
        let samples = |proxy| {
            let mut proxies = self.proxies.iter();
            let found = proxies.find(|report| report.proxy == proxy)?;
            Some(found.samples(quantity))
        };
        let own = samples(Proxy::Portcullis)?;
        match to {
            Some(to) => Spread::of_ratios(&own, &samples(to)?),
            None => Spread::of(&own),
        }
    }
}

impl ProxyReport {
    fn samples(&self, quantity: Quantity) -> Vec<f64> {
        let connect = |of: fn(&Connect) -> f64| self.connect.iter().map(of).collect();
        let bulk = |of: fn(&Bulk) -> f64| self.bulk.iter().map(of).collect();
        let idle = |of: fn(&Idle) -> f64| self.idle.iter().map(of).collect();
        match quantity {
            Quantity::ConnectCpu => connect(|sample| sample.cpu_us),
            Quantity::ConnectRate => connect(|sample| sample.per_second),
            Quantity::DownCpu => bulk(|sample| sample.down.cpu_seconds_per_gib),
            Quantity::DownRate => bulk(|sample| sample.down.gib_per_second),
            Quantity::UpCpu => bulk(|sample| sample.up.cpu_seconds_per_gib),
            Quantity::UpRate => bulk(|sample| sample.up.gib_per_second),
            Quantity::IdleMemory => idle(|sample| sample.bytes_per_tunnel),
            Quantity::IdleMemoryOf100000 => idle(|sample| sample.with_100000 / f64::from(1 << 20)),
        }
    }
}

impl Quantity {
    const ALL: [Self; 8] = [
        Self::ConnectCpu,
        Self::ConnectRate,
        Self::DownCpu,
        Self::DownRate,
        Self::UpCpu,
        Self::UpRate,
        Self::IdleMemory,
        Self::IdleMemoryOf100000,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::ConnectCpu => "CPU us per CONNECT",
            Self::ConnectRate => "CONNECT per second",
            Self::DownCpu => "CPU s per GiB down",
            Self::DownRate => "GiB/s down",
            Self::UpCpu => "CPU s per GiB up",
            Self::UpRate => "GiB/s up",
            Self::IdleMemory => "bytes per idle tunnel",
            Self::IdleMemoryOf100000 => "MiB with 100,000 of them",
        }
    }
}

impl Limit {
    fn is_met(self, found: f64) -> bool {
        match self {
            Self::AtMost(most) => found <= most,
            Self::AtLeast(least) => found >= least,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.quantity.title())?;
        if let Some(to) = self.to {
            write!(f, ", portcullis / {}", to.name())?;
        }
        match self.limit {
            Limit::AtMost(most) => write!(f, ", target at most {most}"),
            Limit::AtLeast(least) => write!(f, ", target at least {least}"),
        }
    }
}

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
        if !self.optimised {
            writeln!(f, "Built without optimisation: these numbers mean nothing.")?;
        }
        let rounds = self.settings.rounds;
        writeln!(f, "{rounds} rounds, one worker each; median (min-max).\n")?;
        write!(f, "| what |")?;
        for report in &self.proxies {
            write!(f, " {} {} |", report.proxy.name(), report.version)?;
        }
        writeln!(f, "\n| --- |{}", " --- |".repeat(self.proxies.len()))?;
        for quantity in Quantity::ALL {
            let spreads = self
                .proxies
                .iter()
                .map(|report| Spread::of(&report.samples(quantity)));
            let spreads: Vec<Option<Spread>> = spreads.collect();
            if spreads.iter().all(Option::is_none) {
                continue;
            }
            write!(f, "| {} |", quantity.title())?;
            for spread in spreads {
                write!(f, " {} |", spread.map_or_else(|| "-".to_owned(), numbers))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "\n| target | median (min-max) |\n| --- | --- |")?;
        for goal in GOALS {
            if let Some(found) = self.found(goal.quantity, goal.to) {
                writeln!(f, "| {goal} | {} |", numbers(found))?;
            }
        }
        Ok(())
    }
}

/// Three digits that count.
fn numbers(spread: Spread) -> String {
    let digits = match spread.median {
        small if small < 10.0 => 3,
        middle if middle < 100.0 => 1,
        _ => 0,
    };
    let Spread { median, min, max } = spread;
    format!("{median:.digits$} ({min:.digits$}-{max:.digits$})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::measure::Flow;

    /// A report of two rounds, the second one on a machine that is three times as slow.
    fn report(connect_us: f64, cpu: f64, rate: f64, bytes: f64) -> Report {
        let proxies = Proxy::ALL.map(|proxy| (proxy, "1".to_owned())).to_vec();
        let settings = Settings {
            rounds: 2,
            seconds: 1,
            gib: 1,
            tunnels: vec![1, 2],
        };
        let mut report = Report::new(settings, Machine::read(), proxies);
        for proxy in &mut report.proxies {
            let is_own = proxy.proxy == Proxy::Portcullis;
            let of = |own: f64, other: f64| if is_own { own } else { other };
            for slow in [1.0, 3.0] {
                proxy.connect.push(Connect {
                    tunnels: 1,
                    cpu_us: slow * of(connect_us, 100.0),
                    per_second: 1.0 / slow,
                });
                let flow = Flow {
                    cpu_seconds_per_gib: slow * of(cpu, 1.0),
                    gib_per_second: of(rate, 1.0) / slow,
                };
                proxy.bulk.push(Bulk {
                    down: flow,
                    up: flow,
                });
                proxy.idle.push(Idle {
                    without: 0,
                    with: Vec::new(),
                    bytes_per_tunnel: of(bytes, 1.0),
                    with_100000: 0.0,
                });
            }
        }
        report
    }

    #[test]
    fn targets_that_are_met_are_not_told() {
        assert_eq!(report(75.0, 0.5, 1.0, 4096.0).missed(), [""; 0]);
    }

    #[test]
    fn each_target_that_is_missed_is_told() {
        for (report, missed) in [
            (report(76.0, 0.5, 1.0, 4096.0), "CPU us per CONNECT"),
            (report(75.0, 0.51, 1.0, 4096.0), "CPU s per GiB"),
            (report(75.0, 0.5, 0.99, 4096.0), "GiB/s"),
            (report(75.0, 0.5, 1.0, 4097.0), "bytes per idle tunnel"),
        ] {
            let found = report.missed();
            assert!(!found.is_empty(), "{missed}");
            assert!(
                found.iter().all(|told| told.starts_with(missed)),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_was_not_measured_misses_its_target() {
        let mut report = report(75.0, 0.5, 1.0, 4096.0);
        report.proxies.retain(|proxy| proxy.proxy != Proxy::Squid);
        let missed = report.missed();
        assert_eq!(missed.len(), 4);
        assert!(missed.iter().all(|told| told.ends_with("not measured")));
        assert!(!report.to_string().contains("portcullis / squid"));
    }
}
