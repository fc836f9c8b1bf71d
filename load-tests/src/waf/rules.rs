//! The rules that engines are given: CRS as it is, and the settings around it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

/// Settings of the engine that CRS wants, in words that every engine has.
const SETTINGS: &str = r#"SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess Off
SecRequestBodyLimit 13107200
SecRequestBodyNoFilesLimit 1310720
SecRequestBodyLimitAction Reject
SecAuditEngine Off
SecRule REQUEST_HEADERS:Content-Type "@rx ^application/json" "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_HEADERS:Content-Type "@rx ^(?:application(?:/soap\+|/)|text/)xml" "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQBODY_ERROR "!@eq 0" "id:200002,phase:2,t:none,log,deny,status:400,msg:'Failed to parse request body.',severity:2"
"#;

/// CRS on disk.
#[derive(Clone, Debug)]
pub struct Crs {
    folder: PathBuf,
}

impl Crs {
    /// The rules in a folder with `crs-setup.conf.example` and `rules/`.
    ///
    /// # Errors
    /// When they are not there.
    pub fn at(folder: &Path) -> anyhow::Result<Self> {
        let folder = fs::canonicalize(folder).with_context(|| format!("no CRS at {folder:?}"))?;
        let setup = folder.join("crs-setup.conf.example");
        ensure!(setup.is_file(), "{setup:?} is not there");
        Ok(Self { folder })
    }

    /// Its files in the order of loading.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let rules = self.folder.join("rules");
        let mut files = Vec::new();
        for entry in fs::read_dir(&rules).with_context(|| format!("reading {rules:?}"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "conf") {
                files.push(path);
            }
        }
        files.sort();
        files.insert(0, self.folder.join("crs-setup.conf.example"));
        Ok(files)
    }

    /// A main file that includes all of it after the settings. `more` are directives of
    /// one engine.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn main(&self, more: &str) -> anyhow::Result<String> {
        let files = self.files()?;
        let lines = files
            .iter()
            .map(|file| format!("Include {}\n", file.display()));
        Ok(format!("{SETTINGS}{more}{}", lines.collect::<String>()))
    }
}
