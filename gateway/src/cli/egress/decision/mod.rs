//! `portcullis egress test`: what the proxy would decide, and why. Nothing is connected to, and
//! nothing looked up that is not asked to be.

mod answer;
mod places;
mod print;
mod remedy;
mod shown;

use std::{
    io::{self, Write},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::SystemTime,
};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use portcullis_config::{
    egress::{
        Authority, EgressPolicies, EgressPolicy, HttpRequest, Request, Selected, decide, explain,
    },
    model::Egress,
    route::{CanonicalPath, canonical_path},
};

use crate::{
    cli::config::load_with_places,
    egress::{look_up, reason_in_words, unidentified},
    kube::{Manifests, Options},
    source::Objects,
};
use answer::{Answer, Asked};
use places::Places;
use shown::Shown;

/// Status for what cannot be judged, as clap has it.
const BAD_INPUT: u8 = 2;

#[derive(Args, Debug)]
pub(super) struct TestArgs {
    /// Configuration file or folder; with `--config` the name of a policy in that: it is asked
    /// alone, under the floors.
    #[arg(value_name = "POLICY")]
    policy: String,
    /// Destinations, each with its port.
    #[arg(required = true, value_name = "HOST:PORT")]
    destinations: Vec<String>,
    /// Configuration file or folder; may be given more than once.
    #[arg(long, short, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// File or folder with EgressPolicies and ClusterEgressPolicies, which are asked as well; may
    /// be given more than once.
    #[arg(long, value_name = "PATH")]
    manifests: Vec<PathBuf>,
    /// The client: NAMESPACE/SERVICEACCOUNT, or `namespace=`, `serviceAccount=`,
    /// `podLabels.KEY=`, `spiffeId=`, `certificateName=`, `address=` with a value each; separated
    /// by commas, and may be given more than once.
    #[arg(long = "as", required = true, value_name = "CLIENT")]
    client: Vec<String>,
    /// Method of a request: a plain one, or one inside a tunnel where the policies look into
    /// that. Without it a tunnel is asked for.
    #[arg(long, requires = "path", value_name = "METHOD")]
    method: Option<String>,
    /// Path of that request.
    #[arg(long, requires = "method", value_name = "PATH")]
    path: Option<String>,
    /// An address that the names have, which is judged too; may be given more than once.
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    address: Vec<IpAddr>,
    /// Look names up that are not refused, as the proxy would, and judge their addresses.
    #[arg(long, conflicts_with = "address")]
    resolve: bool,
    /// Form of the output.
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Prints what would be decided. 0: all is let through; 1: something is refused; 2: it could not
/// be judged.
///
/// # Errors
/// None: they are told here, with their own status.
#[expect(clippy::unnecessary_wraps, reason = "commands are called in one way")]
pub(super) fn test(args: &TestArgs) -> anyhow::Result<ExitCode> {
    Ok(match args.print() {
        Ok(is_refused) => ExitCode::from(u8::from(is_refused)),
        Err(error) => {
            eprintln!("portcullis: {error:#}");
            ExitCode::from(BAD_INPUT)
        }
    })
}

impl TestArgs {
    /// Prints the answers; tells whether something is refused.
    fn print(&self) -> anyhow::Result<bool> {
        let shown = Shown::read(&self.client)?;
        let http = self.http()?;
        let (paths, name) = match self.config.as_slice() {
            [] => (vec![PathBuf::from(&self.policy)], None),
            paths => (paths.to_vec(), Some(self.policy.as_str())),
        };
        let loaded = load_with_places(&paths, self.objects()?)?;
        let egress = loaded.snapshot.model.egress.as_ref();
        let egress = egress.context("the configuration has no section `egress`")?;
        shown.check(egress)?;
        let client = shown.client();
        let known = client.identity.is_some();
        let unknown = match known {
            true => None,
            false => unidentified(egress, client.certificate.is_some()),
        };
        let only = name.map(|name| named(egress, name)).transpose()?;
        let policies: EgressPolicies = match only {
            None => egress.policies.clone(),
            Some(only) => {
                let policies = egress.policies.iter();
                let policies = policies.filter(|policy| policy.name == only.name);
                policies.cloned().collect()
            }
        };
        let is_about = only.is_none_or(|only| only.subjects.contains(client));
        let selected = Selected::find(&egress.cluster_policies, &policies, client);
        let selected = selected.as_ref().filter(|_| is_about && unknown.is_none());
        let asked = Asked {
            egress,
            shown: &shown,
            places: Places::new(egress, &loaded.origins),
            has_objects: !self.manifests.is_empty(),
        };
        let mut answers = Vec::new();
        for text in &self.destinations {
            let authority = match Authority::parse(text.as_bytes(), None) {
                Ok(authority) => authority,
                Err(error) => {
                    answers.push(Answer::never(text, error.reason()));
                    continue;
                }
            };
            let tunnel = Request {
                authority: &authority,
                http: None,
                now: SystemTime::now(),
            };
            let inside = selected
                .is_some_and(|selected| decide(selected, tunnel, &egress.cluster_ranges).inspected);
            let request = Request {
                http: http.as_ref().map(|(method, path)| HttpRequest {
                    method,
                    overriding: None,
                    path,
                    tls: inside,
                }),
                ..tunnel
            };
            let originated = selected.and_then(|selected| selected.originated(request));
            let request = over_tls(request, originated.as_ref());
            let Some(selected) = selected else {
                let reason = unknown.unwrap_or("no_policy");
                answers.push(asked.unselected(request, reason));
                continue;
            };
            let mut resolved = self.address.clone();
            let mut explained = explain(selected, request, &resolved, &egress.cluster_ranges);
            if self.resolve && !explained.outcome.is_refused() {
                resolved = resolve(egress, request.authority)?;
                explained = explain(selected, request, &resolved, &egress.cluster_ranges);
            }
            answers.push(Answer {
                over_tls: originated.is_some(),
                ..asked.answer(request, &explained, &resolved)
            });
        }
        let mut out = io::stdout().lock();
        match self.output {
            Output::Text => {
                for answer in &answers {
                    print::print(&mut out, answer)?;
                }
            }
            Output::Json => writeln!(out, "{:#}", serde_json::to_value(&answers)?)?,
        }
        Ok(answers.iter().any(|answer| answer.is_refused()))
    }

    /// The policies that are objects, where any are given.
    fn objects(&self) -> anyhow::Result<Option<Arc<dyn Objects>>> {
        if self.manifests.is_empty() {
            return Ok(None);
        }
        let manifests = Manifests::read(&self.manifests, Options::default())?;
        Ok(Some(Arc::new(manifests)))
    }

    /// Method and canonical path, as the proxy makes them.
    fn http(&self) -> anyhow::Result<Option<(&str, String)>> {
        let (Some(method), Some(path)) = (&self.method, &self.path) else {
            return Ok(None);
        };
        let bare = path.split('?').next().unwrap_or_default();
        let canonical =
            canonical_path(bare.as_bytes()).and_then(CanonicalPath::without_escaped_separator);
        let code = "non_canonical_path";
        let canonical = canonical.map_err(|_| {
            let words = reason_in_words(code);
            anyhow!("--path {path:?} is refused for every destination, {code}: {words}")
        })?;
        Ok(Some((method, canonical.canonical().to_owned())))
    }
}

/// The request that is decided on where one is sent over TLS.
fn over_tls<'r>(request: Request<'r>, originated: Option<&'r Authority>) -> Request<'r> {
    let Some(authority) = originated else {
        return request;
    };
    let http = request.http.map(|seen| HttpRequest { tls: true, ..seen });
    Request {
        authority,
        http,
        ..request
    }
}

/// The policy of a name.
fn named<'a>(egress: &'a Egress, name: &str) -> anyhow::Result<&'a EgressPolicy> {
    let mut policies = egress.cluster_policies.iter().chain(egress.policies.iter());
    let found = policies.find(|policy| *policy.name == *name);
    found.with_context(|| format!("the configuration has no egress policy with the name {name:?}"))
}

fn resolve(egress: &Egress, authority: &Authority) -> anyhow::Result<Vec<IpAddr>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime for the look-up")?;
    let found = runtime.block_on(look_up(egress, &authority.host));
    found.map_err(|reason| anyhow!("{}: its addresses are not known, {reason}", authority.host))
}
