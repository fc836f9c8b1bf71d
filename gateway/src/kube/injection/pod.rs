//! A pod, as far as it is looked at.
//!
//! The types of the API have all fields of a pod, hundreds of bytes for each entry of a list, and a pod is
//! what anybody sends. These have what the webhook wants to know, and of a list no more than
//! [`MAX_ENTRIES`] entries.

use std::{collections::BTreeMap, fmt, marker::PhantomData, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

/// Entries of one list of a pod, at most.
pub(super) const MAX_ENTRIES: usize = 1000;

/// The list of containers that are begun one after the other, before all others.
pub(super) const INIT_CONTAINERS: &str = "initContainers";

/// A pod that is created.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    pub(super) spec: Option<PodSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    pub(super) annotations: Option<BTreeMap<String, String>>,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec {
    pub(super) init_containers: List<Container>,
    pub(super) containers: List<Container>,
    pub(super) volumes: List<Volume>,
    pub(super) host_network: Option<bool>,
    pub(super) node_selector: Option<BTreeMap<String, String>>,
    pub(super) os: Option<Named>,
}

/// One of the containers, also of those that come before the others.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) command: List<String>,
    pub(super) args: List<String>,
    pub(super) env: List<Variable>,
    pub(super) env_from: List<IgnoredAny>,
    pub(super) volume_mounts: List<VolumeMount>,
    pub(super) ports: List<Port>,
}

/// A variable of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Variable {
    pub(super) name: String,
    /// There is none where it comes from somewhere else.
    pub(super) value: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct VolumeMount {
    pub(super) name: String,
    pub(super) mount_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Port {
    pub(super) container_port: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) config_map: Option<Named>,
    pub(super) projected: Option<IgnoredAny>,
}

/// What is known by its name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    pub(super) name: String,
}

impl PodSpec {
    /// All containers with the list that they stand in and their place there, in the order in which they
    /// are begun.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, usize, &Container)> {
        let init = self.init_containers.iter().enumerate();
        let main = self.containers.iter().enumerate();
        init.map(|(index, container)| (INIT_CONTAINERS, index, container))
            .chain(main.map(|(index, container)| ("containers", index, container)))
    }

    /// # Errors
    /// A list that is longer than what was read of it.
    pub(super) fn check(&self) -> Result<(), String> {
        self.init_containers.check("spec.initContainers")?;
        self.containers.check("spec.containers")?;
        self.volumes.check("spec.volumes")?;
        for (list, index, container) in self.all() {
            let place = format!("spec.{list}[{index}]");
            container.command.check(&format!("{place}.command"))?;
            container.args.check(&format!("{place}.args"))?;
            container.env.check(&format!("{place}.env"))?;
            container.env_from.check(&format!("{place}.envFrom"))?;
            let mounts = &container.volume_mounts;
            mounts.check(&format!("{place}.volumeMounts"))?;
            container.ports.check(&format!("{place}.ports"))?;
        }
        Ok(())
    }
}

/// The first entries of a list, [`MAX_ENTRIES`] at most. One that is null, or is not there, has none.
#[derive(Debug)]
pub(super) struct List<T> {
    entries: Vec<T>,
    /// How many it has in all.
    len: usize,
}

impl<T> List<T> {
    fn check(&self, place: &str) -> Result<(), String> {
        match self.len > MAX_ENTRIES {
            true => Err(format!(
                "{place}: {} entries, and a pod with more than {MAX_ENTRIES} in one list is not looked at (the label `portcullis.dev/egress-injection: disabled` leaves it out)",
                self.len
            )),
            false => Ok(()),
        }
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.entries
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Entries(PhantomData))
    }
}

struct Entries<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<List<T>, E> {
        Ok(List::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
        let mut list = List::default();
        while list.entries.len() < MAX_ENTRIES {
            let Some(entry) = seq.next_element()? else {
                break;
            };
            list.entries.push(entry);
        }
        list.len = list.entries.len();
        while seq.next_element::<IgnoredAny>()?.is_some() {
            list.len += 1;
        }
        Ok(list)
    }
}
