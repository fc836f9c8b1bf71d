//! What a configuration is read from: files, and objects of a cluster or their manifests.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portcullis_config::{
    problem::Problem,
    read::{Read, SourceFile},
};
use tokio::sync::Notify;

use crate::{
    files::{ConfigFiles, ConfigMaps, Contents},
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
    /// Settings that could not be put in force, and why: those that served last go on until
    /// they are others.
    refused: Mutex<Option<(Settings, Vec<Problem>)>>,
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

    /// The settings as they are written now.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn settings(&self) -> Result<Settings, Vec<Problem>> {
        let of_files = match (self.files.paths().is_empty(), &self.objects) {
            (true, Some(_)) => Vec::new(),
            _ => self
                .files
                .load()
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
        *lock(&self.last_good) = Some(settings);
    }

    /// Notes settings that load and cannot be put in force; tells whether others may go on.
    pub fn refuse(&self, settings: Settings, problems: Vec<Problem>) -> bool {
        let may_go_on = lock(&self.last_good)
            .as_ref()
            .is_some_and(|known| *known != settings);
        if may_go_on {
            *lock(&self.refused) = Some((settings, problems));
        }
        may_go_on
    }

    /// Why these settings could not be put in force, where they were tried.
    pub fn known_refusal(&self, settings: &Settings) -> Option<Vec<Problem>> {
        let refused = lock(&self.refused);
        let (known, problems) = refused.as_ref()?;
        (known == settings).then(|| problems.clone())
    }

    /// The settings that served last, where they may go on without what was refused.
    pub fn last_good(&self) -> Option<Settings> {
        lock(&self.last_good).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
