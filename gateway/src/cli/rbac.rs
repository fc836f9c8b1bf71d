//! `portcullis rbac`: the rights that `portcullis run --kubernetes` needs, and no others.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::ExitCode,
};

use clap::{ArgAction, Args};
use serde_json::{Value, json};

use super::cluster::Secrets;
use crate::kube::{ResourceName, only_way::KEPT};

/// What is said to `run`, as far as rights depend on it.
#[derive(Args, Clone, Debug)]
pub(super) struct RbacArgs {
    /// Namespace that is watched, as `run --watch-namespace`; may be given more than once.
    /// Default: all.
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Vec<String>,
    /// As `run --secrets`: `named` gives rights to the Secrets of `--secret` alone.
    #[arg(long, value_enum, default_value_t, value_name = "WHICH")]
    secrets: Secrets,
    /// Secret that may be read, with `--secrets named`; may be given more than once.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    secret: Vec<ResourceName>,
    /// Namespace that the gateway runs in.
    #[arg(long, default_value = "portcullis-ingress", value_name = "NAMESPACE")]
    system_namespace: String,
    /// Name of its ServiceAccount. Roles are named `NAMESPACE:NAME` by both, so that gateways in
    /// several namespaces do not take each other's rights.
    #[arg(long, default_value = "portcullis", value_name = "NAME")]
    service_account: String,
    /// As `run --configmap`; may be given more than once. Default: `portcullis-config` where the
    /// gateway runs.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    configmap: Vec<ResourceName>,
    /// ConfigMap that an IngressClass names in `spec.parameters`; may be given more than once.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    class_parameters: Vec<ResourceName>,
    /// As `run --default-ssl-certificate`.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    default_ssl_certificate: Option<ResourceName>,
    /// As `run --webhook-certificate`.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    webhook_certificate: Option<ResourceName>,
    /// As `run --publish-service`.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    publish_service: Option<ResourceName>,
    /// As `run --publish-node-addresses`.
    #[arg(long)]
    publish_node_addresses: bool,
    /// The right to watch the pods of all namespaces, for `egress.identity.pods`.
    #[arg(long)]
    egress_pods: bool,
    /// The right to have tokens judged by the API server, for
    /// `egress.identity.serviceAccountTokens.tokenReview`.
    #[arg(long)]
    egress_token_review: bool,
    /// As `run --egress-policies`.
    #[arg(long)]
    egress_policies: bool,
    /// As `run --egress-network-policies`: the right to write NetworkPolicies in all namespaces.
    #[arg(long)]
    egress_network_policies: bool,
    /// As `run --election-id`.
    #[arg(long, default_value = "portcullis-leader", value_name = "NAME")]
    election_id: String,
    /// As `run --update-status`: `false` gives no right to write a status, nor a Lease for that.
    #[arg(long, default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    update_status: bool,
    /// As `run --events`: `false` gives no right to write Events.
    #[arg(long, default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    events: bool,
}

/// Prints the rights as YAML.
pub(super) fn rbac(args: &RbacArgs) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        args.secret.is_empty() || args.secrets == Secrets::Named,
        "--secret needs --secrets named: with `all` every Secret can be read"
    );
    write!(std::io::stdout(), "{}", args.yaml()?)?;
    Ok(ExitCode::SUCCESS)
}

/// What the output begins with.
const HEAD: &str = "\
# The rights of `portcullis run --kubernetes`, as `portcullis rbac` prints them. Written are statuses,
# Events and one Lease, and nothing else.
";

/// What else is written with `--egress-network-policies`.
const NETWORK_POLICIES: &str = ", and NetworkPolicies";

/// Rules by the namespace that they are of.
type Roles = BTreeMap<String, Vec<Value>>;

const READ: &[&str] = &["list", "watch"];

impl RbacArgs {
    fn yaml(&self) -> anyhow::Result<String> {
        let more = match self.egress_network_policies {
            true => NETWORK_POLICIES,
            false => "",
        };
        let head = HEAD.replacen(
            ", and nothing else",
            &format!("{more}, and nothing else"),
            1,
        );
        let objects = super::yaml::documents(&self.objects())?;
        Ok(format!("{head}{objects}"))
    }

    fn objects(&self) -> Vec<Value> {
        let name = &self.service_account;
        let mut objects = vec![json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "name": name, "namespace": self.system_namespace },
        })];
        let role = format!("{}:{name}", self.system_namespace);
        let rbac = "rbac.authorization.k8s.io";
        let version = format!("{rbac}/v1");
        let subjects = json!([{
            "kind": "ServiceAccount", "name": name, "namespace": self.system_namespace,
        }]);
        objects.push(json!({
            "apiVersion": version,
            "kind": "ClusterRole",
            "metadata": { "name": role },
            "rules": self.of_cluster(),
        }));
        objects.push(json!({
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": { "name": role },
            "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": role },
            "subjects": subjects,
        }));
        for (namespace, rules) in self.of_namespaces() {
            objects.push(json!({
                "apiVersion": version,
                "kind": "Role",
                "metadata": { "name": role, "namespace": namespace },
                "rules": rules,
            }));
            objects.push(json!({
                "apiVersion": version,
                "kind": "RoleBinding",
                "metadata": { "name": role, "namespace": namespace },
                "roleRef": { "apiGroup": rbac, "kind": "Role", "name": role },
                "subjects": subjects,
            }));
        }
        objects
    }

    fn of_cluster(&self) -> Vec<Value> {
        let mut rules = vec![
            rule("networking.k8s.io", "ingressclasses", READ),
            // For the zone, and for addresses of Nodes.
            rule("", "nodes", &["get"]),
        ];
        if self.namespace.is_empty() {
            rules.extend(self.of_objects());
        }
        if self.egress_pods {
            rules.push(rule("", "pods", READ));
        }
        if self.egress_token_review {
            // A question, that nothing is kept of: to ask is to create one.
            rules.push(rule("authentication.k8s.io", "tokenreviews", &["create"]));
        }
        if self.egress_policies {
            rules.extend(self.of_policies("clusteregresspolicies"));
        }
        if self.egress_network_policies {
            rules.push(rule("", "namespaces", READ));
            // In whichever has the label, and of one name: a server-side apply has it in its path, so the right
            // to create can name it.
            let verbs = ["list", "watch", "create", "patch", "delete"];
            let (group, resource) = ("networking.k8s.io", "networkpolicies");
            rules.push(named(group, resource, &verbs, &[KEPT]));
        }
        rules
    }

    /// Where the objects are that are served.
    fn of_objects(&self) -> Vec<Value> {
        let mut rules = vec![
            rule("networking.k8s.io", "ingresses", READ),
            rule("", "services", READ),
            rule("discovery.k8s.io", "endpointslices", READ),
        ];
        if self.secrets == Secrets::All {
            rules.push(rule("", "secrets", &["get", "list", "watch"]));
        }
        if self.update_status {
            rules.push(rule("networking.k8s.io", "ingresses/status", &["patch"]));
        }
        if self.egress_policies {
            rules.extend(self.of_policies("egresspolicies"));
        }
        if self.events {
            rules.push(events());
        }
        rules
    }

    /// Custom resources of the egress proxy.
    fn of_policies(&self, resource: &str) -> Vec<Value> {
        let group = "portcullis.dev";
        let mut rules = vec![rule(group, resource, READ)];
        if self.update_status {
            rules.push(rule(group, &format!("{resource}/status"), &["patch"]));
        }
        rules
    }

    fn of_namespaces(&self) -> Roles {
        let mut roles = Roles::new();
        let mut add = |namespace: &str, rule: Value| {
            roles.entry(namespace.to_owned()).or_default().push(rule);
        };
        for namespace in BTreeSet::from_iter(&self.namespace) {
            for rule in self.of_objects() {
                add(namespace, rule);
            }
        }
        let watched =
            |namespace: &String| self.namespace.is_empty() || self.namespace.contains(namespace);
        let system = &self.system_namespace;
        for (namespace, names) in self.settings() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            add(&namespace, named("", "configmaps", READ, &names));
            // Events of the settings are where those are.
            if self.events && !watched(&namespace) {
                add(&namespace, events());
            }
        }
        if self.update_status || self.egress_network_policies {
            let group = "coordination.k8s.io";
            // A right to create cannot name what is created.
            add(system, rule(group, "leases", &["create"]));
            let held = named(group, "leases", &["get", "update"], &[&self.election_id]);
            add(system, held);
        }
        if self.publish_node_addresses {
            add(system, rule("", "pods", &["get", "list"]));
        }
        if let Some(service) = &self.publish_service
            && !watched(&service.namespace)
        {
            let rule = named("", "services", READ, &[&service.name]);
            add(&service.namespace, rule);
        }
        for (namespace, names) in self.named_secrets(watched) {
            let names: Vec<&str> = names.into_iter().collect();
            add(namespace, named("", "secrets", READ, &names));
        }
        roles
    }

    /// ConfigMaps with settings of the gateway and of classes, by namespace.
    fn settings(&self) -> BTreeMap<String, BTreeSet<String>> {
        let default = ResourceName::new(&self.system_namespace, "portcullis-config");
        let named = match self.configmap.is_empty() {
            true => std::slice::from_ref(&default),
            false => &self.configmap,
        };
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let all = named.iter().chain(&self.class_parameters);
        for ResourceName { namespace, name } in all.cloned() {
            names.entry(namespace).or_default().insert(name);
        }
        names
    }

    /// Secrets that rights name, by namespace.
    fn named_secrets(&self, watched: impl Fn(&String) -> bool) -> BTreeMap<&str, BTreeSet<&str>> {
        let always = self
            .default_ssl_certificate
            .iter()
            .chain(&self.webhook_certificate);
        let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for secret in self.secret.iter().chain(always) {
            if self.secrets == Secrets::Named || !watched(&secret.namespace) {
                let of_namespace = names.entry(&secret.namespace).or_default();
                of_namespace.insert(&secret.name);
            }
        }
        names
    }
}

fn events() -> Value {
    rule("events.k8s.io", "events", &["create", "patch"])
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs })
}

fn named(group: &str, resource: &str, verbs: &[&str], names: &[&str]) -> Value {
    json!({
        "apiGroups": [group], "resources": [resource], "resourceNames": names, "verbs": verbs,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RbacArgs,
    }

    fn args(line: &[&str]) -> RbacArgs {
        Line::parse_from([&["rbac"], line].concat()).args
    }

    /// Whether a set of objects lets something be done: verb, group, resource and, where the
    /// right must be for one object, its name.
    fn lets(
        args: &RbacArgs,
        namespace: Option<&str>,
        verb: &str,
        resource: &str,
        name: &str,
    ) -> bool {
        args.objects().iter().any(|object| {
            let is_there = match object["kind"].as_str() {
                Some("ClusterRole") => true,
                Some("Role") => object["metadata"]["namespace"].as_str() == namespace,
                _ => false,
            };
            let has = |value: &Value, wanted: &str| {
                value
                    .as_array()
                    .is_some_and(|all| all.contains(&json!(wanted)))
            };
            let rules = object["rules"].as_array().cloned().unwrap_or_default();
            is_there
                && rules.iter().any(|rule| {
                    has(&rule["verbs"], verb)
                        && has(&rule["resources"], resource)
                        && (rule["resourceNames"].is_null() || has(&rule["resourceNames"], name))
                })
        })
    }

    #[test]
    fn the_manifest_is_what_is_printed() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/manifests/rbac.yaml");
        let printed = args(&[]).yaml().expect("YAML");
        let known = std::fs::read_to_string(file).unwrap_or_default();
        assert_eq!(
            known, printed,
            "portcullis rbac > deploy/manifests/rbac.yaml"
        );
    }

    #[test]
    fn policies_of_the_egress_proxy_are_read_where_that_is_asked_for_and_never_changed() {
        let (cluster, namespace) = ("clusteregresspolicies", "egresspolicies");
        let none = args(&["--namespace", "ci"]);
        let some = args(&["--egress-policies", "--namespace", "ci"]);
        let all = args(&["--egress-policies"]);
        for verb in ["list", "watch"] {
            assert!(!lets(&none, Some("ci"), verb, namespace, ""), "{verb}");
            assert!(lets(&some, Some("ci"), verb, namespace, ""), "{verb}");
            assert!(!lets(&some, Some("shop"), verb, namespace, ""), "{verb}");
            assert!(lets(&all, Some("shop"), verb, namespace, ""), "{verb}");
            assert!(lets(&some, None, verb, cluster, ""), "{verb}");
        }
        for verb in ["create", "update", "patch", "delete"] {
            for resource in [cluster, namespace] {
                assert!(!lets(&all, Some("ci"), verb, resource, ""), "{verb}");
            }
        }
        let status = "egresspolicies/status";
        assert!(lets(&all, Some("ci"), "patch", status, ""));
        let silent = args(&["--egress-policies", "--update-status", "false"]);
        assert!(!lets(&silent, Some("ci"), "patch", status, ""));
    }

    #[test]
    fn an_egress_proxy_reads_the_secret_of_its_webhook_and_no_other() {
        let egress = [
            "--egress-pods",
            "--egress-token-review",
            "--egress-policies",
            "--egress-network-policies",
            "--secrets=named",
        ];
        let none = args(&egress);
        assert!(!none.yaml().expect("YAML").contains("secrets"));
        let one = args(&[&egress[..], &["--webhook-certificate=gw/webhook"]].concat());
        for verb in ["get", "list", "watch"] {
            let lets = |namespace, name| lets(&one, Some(namespace), verb, "secrets", name);
            assert_eq!(lets("gw", "webhook"), verb != "get", "{verb}");
            assert!(!lets("gw", "other") && !lets("shop", "webhook"), "{verb}");
        }
    }

    #[test]
    fn gateways_of_two_namespaces_share_no_role() {
        let names = |namespace: &str| -> BTreeSet<String> {
            let objects = args(&["--system-namespace", namespace, "--namespace", "shop"]).objects();
            let roles = objects
                .iter()
                .filter(|object| object["roleRef"].is_object());
            roles
                .map(|object| {
                    assert_eq!(object["metadata"]["name"], object["roleRef"]["name"]);
                    object["metadata"]["name"].to_string()
                })
                .collect()
        };
        assert!(names("one").is_disjoint(&names("two")));
    }

    #[test]
    fn pods_of_all_namespaces_are_watched_where_that_is_asked_for() {
        for arguments in [&["--namespace", "shop"][..], &[]] {
            assert!(!lets(&args(arguments), Some("other"), "watch", "pods", ""));
            let arguments = [arguments, &["--egress-pods"]].concat();
            let args = args(&arguments);
            assert!(lets(&args, Some("other"), "watch", "pods", ""));
            assert!(!lets(&args, Some("other"), "get", "pods", ""));
        }
    }

    #[test]
    fn tokens_are_judged_where_that_is_asked_for() {
        for arguments in [&["--namespace", "shop"][..], &[]] {
            let lets = |args: &RbacArgs, verb| lets(args, None, verb, "tokenreviews", "");
            assert!(!lets(&args(arguments), "create"));
            let args = args(&[arguments, &["--egress-token-review"]].concat());
            assert!(lets(&args, "create") && !lets(&args, "get") && !lets(&args, "list"));
        }
    }

    #[test]
    fn network_policies_are_written_where_that_is_asked_for() {
        let policies = "networkpolicies";
        for arguments in [
            &["--namespace", "shop"][..],
            &[],
            &["--update-status=false"],
        ] {
            let none = args(arguments);
            let all = args(&[arguments, &["--egress-network-policies"]].concat());
            for verb in ["list", "watch", "create", "patch", "delete"] {
                let (ours, other) = (KEPT, "default-deny");
                assert!(!lets(&none, Some("ci"), verb, policies, ours), "{verb}");
                assert!(lets(&all, Some("ci"), verb, policies, ours), "{verb}");
                assert!(!lets(&all, Some("ci"), verb, policies, other), "{verb}");
            }
            assert!(lets(&all, None, "watch", "namespaces", ""));
            assert!(!lets(&all, None, "patch", "namespaces", ""));
            let leases = |verb| {
                lets(
                    &all,
                    Some("portcullis-ingress"),
                    verb,
                    "leases",
                    "portcullis-leader",
                )
            };
            assert!(leases("create") && leases("update"));
            let printed = [&none, &all].map(|args| args.yaml().expect("YAML"));
            let told = printed.map(|text| text.contains("and NetworkPolicies, and nothing else"));
            assert_eq!(told, [false, true]);
        }
    }

    #[test]
    fn nothing_is_written_but_statuses_events_and_the_lease() {
        let reads = ["get", "list", "watch"];
        let writes: BTreeSet<String> = args(&["--publish-node-addresses", "--egress-pods"])
            .objects()
            .iter()
            .flat_map(|object| object["rules"].as_array().cloned().unwrap_or_default())
            .flat_map(|rule| {
                let verbs = rule["verbs"].as_array().cloned().unwrap_or_default();
                let writing = verbs
                    .into_iter()
                    .filter_map(|verb| verb.as_str().map(str::to_owned));
                let writing = writing.filter(|verb| !reads.contains(&verb.as_str()));
                let resource = rule["resources"][0].as_str().unwrap_or_default().to_owned();
                writing
                    .map(|verb| format!("{verb} {resource}"))
                    .collect::<Vec<_>>()
            })
            .collect();
        let expected = [
            "create events",
            "create leases",
            "patch events",
            "patch ingresses/status",
            "update leases",
        ];
        assert!(writes.iter().eq(expected.iter()), "{writes:?}");
        let none = args(&["--update-status=false", "--events=false"])
            .yaml()
            .expect("YAML");
        for verb in ["create", "patch", "update"] {
            assert!(!none.contains(&format!("- {verb}")), "{none}");
        }
    }

    #[test]
    fn each_config_map_with_settings_can_be_read_and_no_other() {
        let lets = |args: &RbacArgs, namespace, name| {
            ["list", "watch"]
                .iter()
                .all(|verb| lets(args, Some(namespace), verb, "configmaps", name))
        };
        let args = args(&[
            "--configmap=gw/base",
            "--configmap=gw/hosts",
            "--configmap=rules/waf",
            "--namespace=shop",
        ]);
        for (namespace, name) in [("gw", "base"), ("gw", "hosts"), ("rules", "waf")] {
            assert!(lets(&args, namespace, name), "{namespace}/{name}");
        }
        for (namespace, name) in [
            ("gw", "waf"),
            ("rules", "base"),
            ("portcullis-ingress", "portcullis-config"),
        ] {
            assert!(!lets(&args, namespace, name), "{namespace}/{name}");
        }
        let writes_events =
            |namespace| super::tests::lets(&args, Some(namespace), "create", "events", "");
        assert!(writes_events("gw") && writes_events("rules"));
    }

    #[test]
    fn parameters_of_classes_can_be_read_by_name() {
        let args = args(&[
            "--namespace=shop",
            "--class-parameters=classes/internal",
            "--class-parameters=classes/public",
        ]);
        let map = |verb, name| lets(&args, Some("classes"), verb, "configmaps", name);
        for name in ["internal", "public"] {
            assert!(map("list", name) && map("watch", name), "{name}");
        }
        assert!(!map("list", "other"));
        assert!(!lets(&args, Some("shop"), "list", "configmaps", "internal"));
        assert!(
            lets(&args, Some("classes"), "create", "events", ""),
            "what is wrong is told there"
        );
    }

    #[test]
    fn named_secrets_alone_can_be_read() {
        let args = args(&[
            "--namespace=shop",
            "--secrets=named",
            "--secret=shop/web",
            "--default-ssl-certificate=gw/default",
        ]);
        let secrets = |namespace, name| lets(&args, Some(namespace), "watch", "secrets", name);
        assert!(secrets("shop", "web") && secrets("gw", "default"));
        assert!(!secrets("shop", "other") && !secrets("gw", "web"));
        assert!(
            !lets(&args, None, "list", "ingresses", ""),
            "not of the whole cluster"
        );
        assert!(lets(&args, Some("shop"), "list", "ingresses", ""));
        assert!(lets(&args, None, "list", "ingressclasses", ""));
    }
}
