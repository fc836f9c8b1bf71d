//! The client that a decision is for, as a command line has it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{anyhow, bail, ensure};
use portcullis_config::{
    egress::{CertificateIdentity, Client, Identity, Label, SpiffeId, is_namespace},
    model::Egress,
};

/// The ServiceAccount of pods that name none (Kubernetes, "Configure Service Accounts for Pods").
const DEFAULT_ACCOUNT: &str = "default";
const LABELS: &str = "podLabels.";
const KEYS: [&str; 5] = [
    "namespace",
    "serviceAccount",
    "spiffeId",
    "certificateName",
    "address",
];

/// What a client shows of itself.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) identity: Option<Identity>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) certificate: Option<CertificateIdentity>,
    /// Where it speaks from.
    pub(super) address: Option<IpAddr>,
}

impl Shown {
    /// Reads what was given, together one client.
    ///
    /// # Errors
    /// What is no part of a client, stands twice, or lacks another part.
    pub(super) fn read(texts: &[String]) -> anyhow::Result<Self> {
        let mut shown = Self::default();
        let mut given: BTreeMap<&str, String> = BTreeMap::new();
        for piece in texts.iter().flat_map(|text| pieces(text)) {
            if let Some(label) = piece.strip_prefix(LABELS) {
                let Label { key, value } =
                    label.parse().map_err(|error| anyhow!("--as: {error}"))?;
                let twice = shown.labels.insert(key.clone(), value).is_some();
                ensure!(!twice, "--as: the label {key:?} is given twice");
                continue;
            }
            let fields = match (key_of(&piece), piece.split_once('/')) {
                (Some(key), _) => vec![(key, piece[key.len() + 1..].to_owned())],
                (None, Some((namespace, account))) => vec![
                    ("namespace", namespace.to_owned()),
                    ("serviceAccount", account.to_owned()),
                ],
                (None, None) => bail!(
                    "--as: {piece:?} is neither NAMESPACE/SERVICEACCOUNT nor KEY=VALUE with one of the keys {}, {LABELS}KEY",
                    KEYS.join(", ")
                ),
            };
            for (key, value) in fields {
                let twice = given.insert(key, value).is_some();
                ensure!(!twice, "--as: {key} is given twice");
            }
        }
        shown.identity = identity(given.remove("namespace"), given.remove("serviceAccount"))?;
        ensure!(
            shown.labels.is_empty() || shown.identity.is_some(),
            "--as: labels are those of a pod, and its namespace is not given"
        );
        shown.certificate = match (given.remove("spiffeId"), given.remove("certificateName")) {
            (Some(_), Some(_)) => bail!("--as: who has a SPIFFE ID has no certificateName"),
            (Some(id), None) => {
                let id = SpiffeId::parse(&id).map_err(|error| anyhow!("--as: {id:?}: {error}"))?;
                Some(CertificateIdentity::Spiffe(id))
            }
            (None, name) => name.map(CertificateIdentity::CommonName),
        };
        if let Some(address) = given.remove("address") {
            let parsed: IpAddr = address
                .parse()
                .map_err(|_| anyhow!("--as: {address:?} is no address"))?;
            shown.address = Some(parsed.to_canonical());
        }
        Ok(shown)
    }

    /// Refuses what the proxy could not know of any client.
    ///
    /// # Errors
    /// Which part that is, and which setting is missing.
    pub(super) fn check(&self, egress: &Egress) -> anyhow::Result<()> {
        let identity = egress.identity.as_ref();
        let has_pods = identity.is_some_and(|identity| identity.pods_max_stale.is_some());
        let has_tokens = identity.is_some_and(|identity| identity.tokens.is_some());
        let mut tls = egress
            .listeners
            .iter()
            .filter_map(|listener| listener.tls.as_ref());
        let has_certificates = tls.any(|tls| tls.settings.client_certificates.is_some());
        ensure!(
            self.identity.is_none() || has_tokens || has_pods,
            "the proxy knows no ServiceAccounts: `egress.identity` has neither `serviceAccountTokens` nor `pods`"
        );
        ensure!(
            self.labels.is_empty() || has_pods,
            "the proxy knows no labels of pods: `egress.identity.pods` is not set"
        );
        ensure!(
            self.certificate.is_none() || has_certificates,
            "the proxy knows no certificates: no listener has `tls.clientCertificates`"
        );
        Ok(())
    }

    /// The client as policies see it. Without an address it has one that policies for every
    /// address of IPv4 select, and no others.
    pub(super) fn client(&self) -> Client<'_> {
        Client {
            address: self.address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            identity: self.identity.as_ref(),
            labels: self.identity.as_ref().map(|_| &self.labels),
            certificate: self.certificate.as_ref(),
        }
    }
}

/// The parts of a text. What has no key after a comma belongs to the value before it.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for piece in text.split(',') {
        let begins = key_of(piece).is_some() || piece.starts_with(LABELS);
        match pieces.last_mut() {
            Some(last) if !begins => {
                last.push(',');
                last.push_str(piece);
            }
            _ => pieces.push(piece.to_owned()),
        }
    }
    pieces
}

fn key_of(piece: &str) -> Option<&'static str> {
    let (key, _) = piece.split_once('=')?;
    KEYS.into_iter().find(|known| *known == key)
}

fn identity(
    namespace: Option<String>,
    account: Option<String>,
) -> anyhow::Result<Option<Identity>> {
    let Some(namespace) = namespace else {
        ensure!(
            account.is_none(),
            "--as: a ServiceAccount is one of a namespace, which is not given"
        );
        return Ok(None);
    };
    let account = account.unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned());
    ensure!(
        is_namespace(&namespace),
        "--as: {namespace:?} is not a namespace"
    );
    // A ServiceAccount has the name of a DNS subdomain: labels with dots.
    ensure!(
        account.len() <= 253 && account.split('.').all(is_namespace),
        "--as: {account:?} is not the name of a ServiceAccount"
    );
    Ok(Some(Identity {
        namespace,
        service_account: account,
        pod: None,
        pod_uid: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<Shown, String> {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        Shown::read(&texts).map_err(|error| error.to_string())
    }

    #[test]
    fn a_client_is_read_from_its_parts() {
        for texts in [
            &["shop/web"][..],
            &["namespace=shop,serviceAccount=web"],
            &["serviceAccount=web", "namespace=shop"],
        ] {
            let identity = read(texts).unwrap().identity.unwrap();
            let names = (&*identity.namespace, &*identity.service_account);
            assert_eq!(names, ("shop", "web"), "{texts:?}");
        }
        let shown = read(&[
            "shop/web,podLabels.app=a,podLabels.x/tier=,address=::ffff:10.0.0.1",
            "certificateName=One, Two=3",
        ]);
        let shown = shown.unwrap();
        let labels: Vec<_> = shown.labels.iter().collect();
        assert_eq!(labels.len(), 2, "{labels:?}");
        assert_eq!(shown.address, Some(IpAddr::from([10, 0, 0, 1])));
        let named = CertificateIdentity::CommonName("One, Two=3".into());
        assert_eq!(shown.certificate, Some(named));
        let account = read(&["namespace=shop"]).unwrap().identity.unwrap();
        assert_eq!(account.service_account, "default");
    }

    #[test]
    fn what_is_no_client_is_named() {
        for (texts, told) in [
            (&["web"][..], "\"web\" is neither"),
            (&["namespce=shop"], "\"namespce=shop\" is neither"),
            (
                &["shop/web,servceAccount=a"],
                "not the name of a ServiceAccount",
            ),
            (&["Shop/web"], "\"Shop\" is not a namespace"),
            (&["serviceAccount=web"], "which is not given"),
            (&["podLabels.a=b"], "its namespace is not given"),
            (&["shop/web,podLabels.a"], "is not KEY=VALUE"),
            (&["shop/web", "namespace=b"], "namespace is given twice"),
            (&["address=127.1"], "\"127.1\" is no address"),
            (&["spiffeId=a.test"], "\"a.test\""),
        ] {
            let error = read(texts).expect_err(&format!("{texts:?}"));
            assert!(error.contains(told), "{texts:?}: {error}");
        }
    }
}
