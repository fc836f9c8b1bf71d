//! Parameters of classes as they come. With a bad version all Ingresses of a class would get 503 at
//! once, so the last good one stays until there is a better.
//!
//! Whether one is good depends on the settings that serve, since it names access lists and the
//! like in them. One that names what is not there waits: with settings that have it, both are
//! taken at once, whichever was changed first.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::ConfigMap;
use tokio::task::AbortHandle;

use super::{
    ObjectSet, ResourceName, class_parameters::ClassParameters, known::Known,
    setting_names::SettingNames, single::Single, watch::Change,
};

/// Versions that are good for other settings than those that serve.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// What the settings that serve have; none as long as none serve.
    serving: Option<Arc<SettingNames>>,
    waiting: BTreeMap<ResourceName, Version>,
    /// Those of them that settings are being tried with.
    tried: BTreeMap<ResourceName, Version>,
}

/// A version, and what it says.
type Version = (ConfigMap, Arc<ClassParameters>);

impl Parameters {
    /// Forgets what nothing refers to.
    pub(super) fn keep(&mut self, is_needed: impl Fn(&ResourceName) -> bool) {
        self.waiting.retain(|name, _| is_needed(name));
    }
}

impl Single for ConfigMap {
    fn watches(known: &mut Known) -> &mut HashMap<ResourceName, AbortHandle> {
        &mut known.config_map_watches
    }

    fn all_unreadable(known: &Known) -> &BTreeMap<ResourceName, String> {
        &known.objects.unreadable_config_maps
    }

    fn all_unreadable_mut(known: &mut Known) -> &mut BTreeMap<ResourceName, String> {
        &mut Arc::make_mut(&mut known.objects).unreadable_config_maps
    }

    type Read = Arc<ClassParameters>;

    fn read(&self) -> Self::Read {
        Arc::new(ClassParameters::read(self))
    }

    fn take(change: Change<Self>, read: Option<Self::Read>, known: &mut Known) -> bool {
        match (change, read) {
            (Change::Applied(config_map), Some(read)) => known.take_parameters(config_map, read),
            (change, _) => {
                if let Change::Deleted(name) | Change::Broken(name, _) = &change {
                    known.parameters.waiting.remove(name);
                }
                if let Change::Deleted(name) = &change
                    && known.objects.class_parameters.contains_key(name)
                {
                    let objects = Arc::make_mut(&mut known.objects);
                    objects.class_parameters.remove(name);
                }
                known.apply(vec![change])
            }
        }
    }
}

impl Known {
    /// Takes a version that is good, or the first; another waits behind the last good one.
    fn take_parameters(&mut self, config_map: ConfigMap, read: Arc<ClassParameters>) -> bool {
        let name = ResourceName::of(&config_map.metadata);
        let serving = self.parameters.serving.as_deref();
        let known = self.objects.class_parameters.get(&name);
        let is_good = known.is_some_and(|known| known.fault(serving).is_none());
        match read.fault(serving) {
            Some(fault) if is_good => {
                let version = (config_map, read);
                self.parameters.waiting.insert(name.clone(), version);
                self.apply(vec![Change::<ConfigMap>::Broken(name, fault)]);
                // Settings that were refused may go together with it.
                true
            }
            _ => {
                self.parameters.waiting.remove(&name);
                self.put(config_map, read)
            }
        }
    }

    fn put(&mut self, config_map: ConfigMap, read: Arc<ClassParameters>) -> bool {
        let name = ResourceName::of(&config_map.metadata);
        let is_news = self.apply(vec![Change::Applied(config_map)]);
        let objects = Arc::make_mut(&mut self.objects);
        objects.class_parameters.insert(name, read);
        is_news
    }

    /// The objects to try settings with: of parameters those that wait, where they are good for
    /// these settings.
    pub(super) fn objects_for(&mut self, names: &SettingNames) -> Arc<ObjectSet> {
        let waiting = self.parameters.waiting.iter();
        let good = waiting
            .filter(|(_, (_, read))| read.fault(Some(names)).is_none())
            .map(|(name, version)| (name.clone(), version.clone()));
        let good: BTreeMap<_, _> = good.collect();
        let mut objects = Arc::clone(&self.objects);
        for (name, (config_map, read)) in &good {
            let objects = Arc::make_mut(&mut objects);
            let config_map = Arc::new(config_map.clone());
            objects.config_maps.insert(name.clone(), config_map);
            let read = Arc::clone(read);
            objects.class_parameters.insert(name.clone(), read);
        }
        self.parameters.tried = good;
        objects
    }

    /// What the settings that serve have.
    pub(super) fn serving(&self) -> Option<Arc<SettingNames>> {
        self.parameters.serving.clone()
    }

    /// Notes what the settings have that serve from now on, and takes the parameters that waited
    /// for it; tells whether there were any.
    pub(super) fn serve(&mut self, names: SettingNames) -> bool {
        let tried = std::mem::take(&mut self.parameters.tried);
        let waiting = std::mem::take(&mut self.parameters.waiting);
        let is_good = |read: &ClassParameters| read.fault(Some(&names)).is_none();
        let (good, waiting): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (waiting.into_iter()).partition(|(_, (_, read))| is_good(read));
        self.parameters.waiting = waiting;
        let mut is_news = !good.is_empty();
        for (config_map, read) in good.into_values() {
            self.put(config_map, read);
        }
        for (name, version) in tried {
            is_news |= self.keep_tried(name, version, &names);
        }
        self.parameters.serving = Some(Arc::new(names));
        is_news
    }

    /// Keeps a version that serves with settings of these names, where a worse one came while
    /// they were loaded: that waits.
    fn keep_tried(
        &mut self,
        name: ResourceName,
        (config_map, read): Version,
        names: &SettingNames,
    ) -> bool {
        let Some(known) = self.objects.class_parameters.get(&name).cloned() else {
            // It was deleted.
            return false;
        };
        let Some(mut fault) = known.fault(Some(names)) else {
            return false;
        };
        let newer = match self.parameters.waiting.get(&name) {
            Some((_, read)) => {
                fault = read.fault(Some(names)).unwrap_or(fault);
                None
            }
            None => self.objects.config_maps.get(&name).cloned(),
        };
        self.put(config_map, read);
        if let Some(newer) = newer {
            let version = (ConfigMap::clone(&newer), known);
            self.parameters.waiting.insert(name.clone(), version);
        }
        self.apply(vec![Change::<ConfigMap>::Broken(name, fault)]);
        true
    }
}

#[cfg(test)]
mod tests {
    use portcullis_config::document::Document;
    use serde_json::json;

    use super::*;

    const CLASS: &str = "limits";

    /// What is known of the parameters of one class.
    #[derive(Default)]
    struct Of(Known);

    impl Of {
        fn name() -> ResourceName {
            ResourceName::new("gw", CLASS)
        }

        fn take(&mut self, text: &str) -> bool {
            let value = json!({
                "metadata": { "namespace": "gw", "name": CLASS },
                "data": { "policies.yaml": text },
            });
            let config_map: ConfigMap = serde_json::from_value(value).expect("a ConfigMap");
            let read = config_map.read();
            ConfigMap::take(Change::Applied(config_map), Some(read), &mut self.0)
        }

        fn serve(&mut self, lists: &[&str]) -> bool {
            self.0.serve(names(lists))
        }

        /// The version that serves, and whether another is told of.
        fn serves(&self) -> (String, bool) {
            let told = !self.0.broken.is_empty();
            (text(&self.0.objects), told)
        }

        fn with(&mut self, lists: &[&str]) -> String {
            text(&self.0.objects_for(&names(lists)))
        }
    }

    fn names(lists: &[&str]) -> SettingNames {
        let lists: Vec<_> = lists.iter().map(|name| json!({ "name": name })).collect();
        let document = json!({ "accessLists": lists });
        let document: Document = serde_json::from_value(document).expect("a document");
        SettingNames::of(&document)
    }

    fn text(objects: &ObjectSet) -> String {
        let name = Of::name();
        let read = &objects.class_parameters[&name];
        let data = objects.config_maps[&name].data.clone().expect("data");
        let text = data["policies.yaml"].clone();
        let of_text: ConfigMap = serde_json::from_value(json!({
            "metadata": { "namespace": "gw", "name": CLASS }, "data": { "policies.yaml": text },
        }))
        .expect("a ConfigMap");
        let said = |read: &ClassParameters| read.said().map(|said| said.0.clone());
        assert_eq!(said(read), said(&ClassParameters::read(&of_text)));
        text
    }

    const OFFICE: &str = "policies: {access: [office]}";
    const BUREAU: &str = "policies: {access: [bureau]}";

    #[test]
    fn a_bad_edit_keeps_the_last_good_version_and_a_bad_first_one_stays_to_be_told() {
        let mut of = Of::default();
        let (bad, good, other) = ("policies: []", "policies: {}", "policies: {access: []}");
        for (text, expected) in [
            (bad, (bad, false)),
            ("worse", ("worse", false)),
            (good, (good, false)),
            (bad, (good, true)),
            (other, (other, false)),
            ("policies: {retries: {attempts: 99}}", (other, true)),
        ] {
            assert!(of.take(text), "{text}");
            assert_eq!(of.serves(), (expected.0.to_owned(), expected.1), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_not_there_keeps_the_last_good_version_until_it_is() {
        let mut of = Of::default();
        // Before anything serves nobody knows what is there.
        of.take(OFFICE);
        assert!(!of.serve(&["office"]));
        assert!(
            of.take("policies: {access: [ofice]}"),
            "settings are tried with it"
        );
        assert_eq!(of.serves(), (OFFICE.to_owned(), true));
        assert!(!of.serve(&["office", "other"]), "nothing waits for that");
        assert!(of.serve(&["office", "ofice"]));
        let (text, told) = of.serves();
        assert!(text.contains("ofice") && !told);
        // One that never was good holds nothing back.
        let mut of = Of::default();
        of.serve(&[]);
        of.take(OFFICE);
        of.take(BUREAU);
        assert_eq!(of.serves(), (BUREAU.to_owned(), false));
    }

    #[test]
    fn a_rename_is_taken_together_whichever_comes_first() {
        let mut of = Of::default();
        of.take(OFFICE);
        of.serve(&["office"]);
        of.take(BUREAU);
        assert_eq!(of.with(&["office"]), OFFICE);
        assert_eq!(of.with(&["bureau"]), BUREAU);
        assert_eq!(of.serves().0, OFFICE, "it was an attempt");
        assert!(of.serve(&["bureau"]));
        assert_eq!(of.serves(), (BUREAU.to_owned(), false));
    }

    #[test]
    fn what_settings_were_loaded_with_serves_with_them_whatever_came_meanwhile() {
        // The version of before again, or one with a typo.
        for meanwhile in [OFFICE, "policies: {access: [burau]}"] {
            let mut of = Of::default();
            of.take(OFFICE);
            of.serve(&["office"]);
            of.take(BUREAU);
            assert_eq!(of.with(&["bureau"]), BUREAU, "they are loaded");
            of.take(meanwhile);
            assert!(of.serve(&["bureau"]));
            assert_eq!(of.serves(), (BUREAU.to_owned(), true), "{meanwhile}");
            // What came waits for settings that have its name.
            let (_, name) = meanwhile.split_once('[').expect("a list");
            let name = name.trim_end_matches("]}");
            assert_eq!(of.with(&[name]), meanwhile);
            assert!(of.serve(&[name]));
            assert_eq!(of.serves(), (meanwhile.to_owned(), false));
        }
        // It was deleted.
        let mut of = Of::default();
        of.take(OFFICE);
        of.serve(&["office"]);
        of.take(BUREAU);
        of.with(&["bureau"]);
        ConfigMap::take(Change::Deleted(Of::name()), None, &mut of.0);
        assert!(!of.serve(&["bureau"]));
        assert!(of.0.objects.class_parameters.is_empty());
    }

    #[test]
    fn what_waited_is_forgotten_with_a_newer_version_and_with_the_object() {
        let mut of = Of::default();
        of.take(OFFICE);
        of.serve(&["office"]);
        of.take(BUREAU);
        of.take(OFFICE);
        assert!(!of.serve(&["office", "bureau"]));
        assert_eq!(of.serves(), (OFFICE.to_owned(), false));
        of.serve(&["office"]);
        of.take(BUREAU);
        let gone = Change::Deleted(Of::name());
        assert!(ConfigMap::take(gone, None, &mut of.0));
        assert!(!of.serve(&["bureau"]));
        assert!(of.0.objects.config_maps.is_empty() && of.0.objects.class_parameters.is_empty());
        of.take(OFFICE);
        of.0.keep_config_maps(&std::collections::HashSet::new());
        assert!(of.0.objects.class_parameters.is_empty());
    }
}
