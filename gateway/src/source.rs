//! What a configuration is read from: files, and objects of a cluster or their manifests.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portcullis_config::{
    model::Model,
    problem::Problem,
    read::{Read, SourceFile},
};
use tokio::sync::Notify;

use crate::{
    files::{ConfigFiles, ConfigMaps, Contents, DiskReads},
    identity::{Pods, ReviewTokens},
    telemetry::Metrics,
};

/// What is served with objects where nobody says otherwise: a listener for http and one for
/// https, on their default ports.
const BUILT_IN: &str = "\
listeners:
  - name: http
    protocol: http
  - name: https
    protocol: https
";

/// Settings of the whole gateway, as they are at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The documents.
    pub documents: Vec<SourceFile>,
    /// The ConfigMaps that they come from, for files that they name: those of the same time,
    /// also when the settings of before go on.
    pub config_maps: Arc<ConfigMaps>,
}

/// Objects that a document is made of, besides what the files say.
///
/// One that is wrong is left out and told; the others are served.
pub trait Objects: fmt::Debug + Send + Sync {
    /// The settings of the whole gateway that are among them, as the files would say them; none
    /// where nobody has named any.
    ///
    /// # Errors
    /// Why they are not to be had: then those of before go on.
    fn settings(&self) -> Result<Settings, Vec<Problem>>;

    /// Adds what they mean to a document, with its origins and problems, and returns the
    /// contents that it names.
    fn translate(&self, read: &mut Read) -> Contents;

    /// Is told which settings serve, when others do.
    fn serves(&self, _: &Settings) {}

    /// Is told what serves, whatever it was made of.
    fn adopt(&self, _: &Model) {}

    /// Is told that what was translated last serves.
    fn is_in_force(&self) {}

    /// Whether all of them are known. Until then nothing is served: an answer that there is no
    /// such host would be a wrong one.
    fn are_known(&self) -> bool;

    /// Told whenever they change.
    fn changes(&self) -> &Notify;

    /// Is told what was found wrong, after each load.
    fn tell(&self, problems: &[Problem]);

    /// Why the gateway should not be given requests, besides that they are not known yet.
    fn unready(&self) -> Vec<String>;

    /// What people should know of them though requests are served: how old they may be.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// The pods of a cluster, where they can be known.
    fn pods(&self) -> Option<Arc<Pods>> {
        None
    }

    /// Who knows whether tokens are good, where there is a cluster.
    fn token_reviewer(&self) -> Option<Arc<dyn ReviewTokens>> {
        None
    }

    /// Brings the metrics of them up to date.
    fn measure(&self, _: &Metrics) {}
}

/// Where the configuration comes from.
#[derive(Debug, Default)]
pub struct Source {
    files: ConfigFiles,
    objects: Option<Arc<dyn Objects>>,
    /// The settings that served last. With objects, these must go on changing when somebody
    /// has broken the settings.
    last_good: Mutex<Option<Settings>>,
    /// What could not be put in force when it was tried last.
    refused: Mutex<Option<Tried>>,
}

/// An attempt to put a configuration in force that failed.
#[derive(Debug)]
struct Tried {
    /// The settings, where they are kept.
    settings: Option<Settings>,
    problems: Vec<Problem>,
    /// Whether the settings that served last go on in place of these.
    is_held_back: bool,
}

/// What becomes of settings that load and cannot be put in force.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// Whether it was so when they were tried last.
    pub is_known: bool,
    /// Whether the settings that served last may go on with the objects of now.
    pub may_go_on: bool,
}

impl Source {
    /// Takes files, and objects where there are any.
    pub fn new(files: ConfigFiles, objects: Option<Arc<dyn Objects>>) -> Self {
        Self {
            files,
            objects,
            last_good: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// The files.
    pub fn files(&self) -> &ConfigFiles {
        &self.files
    }

    /// The objects.
    pub fn objects(&self) -> Option<&Arc<dyn Objects>> {
        self.objects.as_ref()
    }

    /// Whether all objects are known; where there are none they are.
    pub fn knows_objects(&self) -> bool {
        self.objects
            .as_ref()
            .is_none_or(|objects| objects.are_known())
    }

    /// The settings as they are written now. What files say is noted.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn settings(&self, reads: &DiskReads) -> Result<Settings, Vec<Problem>> {
        let of_files = match (self.files.paths().is_empty(), &self.objects) {
            (true, Some(_)) => Vec::new(),
            _ => self
                .files
                .load(reads)
                .map_err(|error| vec![self.unreadable(&error)])?,
        };
        let of_objects = match &self.objects {
            Some(objects) => objects.settings()?,
            None => Settings::default(),
        };
        let mut documents = [of_files, of_objects.documents].concat();
        if documents.is_empty() {
            documents.push(SourceFile {
                name: "built-in".to_owned(),
                text: BUILT_IN.to_owned(),
            });
        }
        Ok(Settings {
            documents,
            config_maps: of_objects.config_maps,
        })
    }

    fn unreadable(&self, error: &io::Error) -> Problem {
        crate::load::unreadable(&self.files, error)
    }

    /// Notes the settings that serve.
    pub fn accept(&self, settings: Settings) {
        let mut last_good = lock(&self.last_good);
        if let Some(objects) = &self.objects
            && last_good.as_ref() != Some(&settings)
        {
            objects.serves(&settings);
        }
        if let Some(objects) = &self.objects {
            objects.is_in_force();
        }
        *last_good = Some(settings);
    }

    /// Notes what loads and cannot be put in force.
    pub fn refuse(&self, settings: Option<Settings>, problems: Vec<Problem>) -> Refusal {
        let may_go_on = {
            let last_good = lock(&self.last_good);
            let differ = |(tried, good)| tried != good;
            settings
                .as_ref()
                .zip(last_good.as_ref())
                .is_some_and(differ)
        };
        let mut refused = lock(&self.refused);
        let is_known = refused
            .as_ref()
            .is_some_and(|tried| tried.settings == settings && tried.problems == problems);
        *refused = Some(Tried {
            settings,
            problems,
            is_held_back: may_go_on,
        });
        Refusal {
            is_known,
            may_go_on,
        }
    }

    /// Why these settings could not be put in force, unless they are to be tried again. With
    /// others there is nothing to hold back.
    pub fn known_refusal(&self, settings: &Settings) -> Option<Vec<Problem>> {
        let mut refused = lock(&self.refused);
        let tried = refused.as_mut().filter(|tried| tried.is_held_back)?;
        tried.is_held_back = tried.settings.as_ref() == Some(settings);
        tried.is_held_back.then(|| tried.problems.clone())
    }

    /// Whether something could not be put in force and is to be tried again.
    pub fn waits(&self) -> bool {
        lock(&self.refused).is_some()
    }

    /// Has settings tried again that could not be put in force.
    pub fn try_again(&self) {
        if let Some(tried) = &mut *lock(&self.refused) {
            tried.is_held_back = false;
        }
    }

    /// Forgets what could not be put in force, when a load has ended without it: what is there
    /// now serves, or is wrong in itself. What is held back stays.
    pub fn settle(&self) {
        let mut refused = lock(&self.refused);
        if refused.as_ref().is_some_and(|tried| !tried.is_held_back) {
            *refused = None;
        }
    }

    /// The settings that served last, where they may go on without what was refused.
    pub fn last_good(&self) -> Option<Settings> {
        lock(&self.last_good).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use portcullis_config::problem::Origin;

    use super::*;

    fn settings(text: &str) -> Settings {
        Settings {
            documents: vec![SourceFile {
                name: "a.yaml".to_owned(),
                text: text.to_owned(),
            }],
            ..Settings::default()
        }
    }

    fn problems(reason: &str) -> Vec<Problem> {
        let place = "listeners[0].address";
        vec![Problem::error(Origin::Internal, place, reason)]
    }

    #[test]
    fn settings_are_held_back_until_they_are_others_or_tried_again() {
        let source = Source::new(ConfigFiles::default(), None);
        let (good, tried) = (settings("good"), settings("tried"));
        source.accept(good);
        let refusal = source.refuse(Some(tried.clone()), problems("in use"));
        assert!(refusal.may_go_on && !refusal.is_known);
        // Those of before serve, and these stay held back.
        source.settle();
        assert!(source.waits());
        assert_eq!(source.known_refusal(&tried), Some(problems("in use")));
        source.try_again();
        assert_eq!(source.known_refusal(&tried), None);
        let refusal = source.refuse(Some(tried.clone()), problems("in use"));
        assert!(refusal.may_go_on && refusal.is_known);
        let refusal = source.refuse(Some(tried.clone()), problems("forbidden"));
        assert!(!refusal.is_known, "for another reason");
        let refusal = source.refuse(Some(settings("edited")), problems("forbidden"));
        assert!(!refusal.is_known, "with other settings");
        // Others have nothing to do with it.
        assert_eq!(source.known_refusal(&tried), None);
        source.settle();
        assert!(!source.waits());
    }

    #[test]
    fn what_nothing_can_stand_in_for_is_not_held_back() {
        let source = Source::new(ConfigFiles::default(), None);
        for tried in [None, Some(settings("first"))] {
            assert!(!source.refuse(tried.clone(), problems("in use")).may_go_on);
            assert!(source.waits());
            let again = source.refuse(tried, problems("in use"));
            assert!(again.is_known && !again.may_go_on);
            assert_eq!(source.known_refusal(&settings("first")), None);
            source.settle();
            assert!(!source.waits());
        }
    }
}
