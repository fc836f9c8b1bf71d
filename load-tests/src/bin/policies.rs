//! `policies`: what a decision of the egress proxy costs among many policies.
//!
//! Makes policies for the ServiceAccounts of many namespaces, each with some entries, and floors
//! of the cluster before them; then decides on names that are allowed, denied and unknown, for
//! clients that each has its own policies. Finding the policies of a client is a part of it;
//! looking a name up and connecting are not.

use std::{
    fmt::Write as _,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, ensure};
use clap::Parser;
use portcullis_config::{
    access::AddressSet,
    egress::{Authority, Client, Identity, Request, Selected, decide, judge_addresses},
    model::Egress,
    read::{SourceFile, read},
    validate::validate,
};
use portcullis_load_tests::{cpu, stats::Spread};

/// What a decision of the egress proxy costs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Policies, half of them for ServiceAccounts and half for addresses.
    #[arg(long, default_value_t = 10_000)]
    policies: usize,
    /// Entries of each.
    #[arg(long, default_value_t = 20)]
    entries: usize,
    /// Decisions of a round.
    #[arg(long, default_value_t = 100_000)]
    decisions: usize,
    /// Rounds.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Exit with 1 when the median is above so many microseconds of CPU time.
    #[arg(long)]
    check: Option<f64>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let began = cpu::own()?;
    let egress = egress(&arguments)?;
    let made = cpu::own()? - began;
    let questions = questions(&arguments)?;
    let mut times = Vec::new();
    let mut allowed = 0;
    for round in 0..=arguments.rounds {
        let before = cpu::own()?;
        allowed = 0;
        for number in 0..arguments.decisions {
            let question = &questions[number % questions.len()];
            allowed += usize::from(black_box(question.ask(&egress)));
        }
        let spent = cpu::own()? - before;
        // The first warms up.
        if round > 0 {
            times.push(spent.as_secs_f64() * 1e6 / arguments.decisions as f64);
        }
    }
    let expected = questions
        .iter()
        .filter(|question| question.is_allowed)
        .count();
    ensure!(
        allowed * questions.len() == expected * arguments.decisions,
        "{allowed} of {} were allowed, and {expected} of {} should be",
        arguments.decisions,
        questions.len()
    );
    let spread = Spread::of(&times).context("no round was run")?;
    println!("policies                       {}", arguments.policies);
    println!("entries of each                {}", arguments.entries);
    println!(
        "CPU to make them, ms           {:.0}",
        made.as_secs_f64() * 1e3
    );
    println!("CPU of a decision, us, median  {:.2}", spread.median);
    println!(
        "  lowest and highest round     {:.2} to {:.2}",
        spread.min, spread.max
    );
    let is_over = arguments.check.is_some_and(|limit| spread.median > limit);
    Ok(ExitCode::from(u8::from(is_over)))
}

/// An address of a number, in 10.0.0.0/8.
fn address(number: usize) -> Ipv4Addr {
    let [_, b, c, d] = u32::try_from(number).unwrap_or_default().to_be_bytes();
    Ipv4Addr::new(10, b, c, d)
}

fn egress(arguments: &Arguments) -> anyhow::Result<Egress> {
    let mut text = "egress:
  listeners: [{name: proxy}]
  identity: {serviceAccountTokens: {jwks: none.json, issuer: i, audience: a}}
  clusterPolicies:
  - {name: floor, subjects: [{addresses: [10.0.0.0/8]}], deny: ['*.denied.test', {cidr: 198.51.101.0/24}]}
  policies:
"
    .to_owned();
    for number in 0..arguments.policies {
        let subject = match number % 2 {
            0 => format!(
                "namespace: team-{}, serviceAccount: app-{}",
                number / 20,
                number % 20
            ),
            _ => format!("addresses: [{}]", address(number)),
        };
        writeln!(
            text,
            "  - name: policy-{number}\n    subjects: [{{{subject}}}]\n    allow:"
        )?;
        for entry in 0..arguments.entries {
            let entry = match entry % 4 {
                0 => format!("host-{entry}.site-{number}.test"),
                1 => format!("'*.wild-{entry}.site-{number}.test'"),
                2 => format!("{{cidr: 203.0.{}.{entry}/32, ports: [5432]}}", number % 250),
                _ => format!("{{host: port-{entry}.site-{number}.test, ports: [8443]}}"),
            };
            writeln!(text, "    - {entry}")?;
        }
    }
    let read = read(&[SourceFile {
        name: "policies.yaml".into(),
        text,
    }]);
    let validated = validate(&read.document, &read.origins);
    let problem = read.problems.iter().chain(&validated.problems).next();
    ensure!(problem.is_none(), "{problem:?}");
    Ok(validated.model.egress.unwrap_or_default())
}

/// A client, and what it asks for.
struct Question {
    address: IpAddr,
    identity: Option<Identity>,
    authority: Authority,
    is_allowed: bool,
}

fn questions(arguments: &Arguments) -> anyhow::Result<Vec<Question>> {
    let mut questions = Vec::new();
    // As many as caches of a processor do not hold.
    for number in (0..arguments.policies).step_by(arguments.policies.div_ceil(997).max(1)) {
        for (target, is_allowed) in [
            (format!("host-0.site-{number}.test:443"), true),
            (format!("a.b.wild-1.site-{number}.test:443"), true),
            (format!("host-0.site-{number}.denied.test:443"), false),
            (format!("unknown.site-{number}.test:443"), false),
        ] {
            let authority = Authority::parse(target.as_bytes(), None);
            questions.push(Question {
                address: address(number).into(),
                identity: (number % 2 == 0).then(|| Identity {
                    namespace: format!("team-{}", number / 20),
                    service_account: format!("app-{}", number % 20),
                    pod: None,
                    pod_uid: None,
                }),
                authority: authority.map_err(|error| anyhow::anyhow!("{target}: {error:?}"))?,
                is_allowed,
            });
        }
    }
    Ok(questions)
}

impl Question {
    /// Whether it is allowed: all that is decided before and after a name is looked up.
    fn ask(&self, egress: &Egress) -> bool {
        let client = Client {
            address: self.address,
            identity: self.identity.as_ref(),
            labels: None,
            certificate: None,
        };
        let found = Selected::find(&egress.cluster_policies, &egress.policies, client);
        let Some(selected) = found else {
            return false;
        };
        let request = Request {
            authority: &self.authority,
            http: None,
            now: SystemTime::now(),
        };
        let ranges = AddressSet::default();
        let mut decision = decide(&selected, request, &ranges);
        let answers = [IpAddr::from([93, 184, 216, 34])];
        decision.refused.is_none()
            && judge_addresses(&selected, &mut decision, request, &answers, &ranges).is_none()
    }
}
