//! The engines, each a program that takes rules, a workload and seconds.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::rules::Crs;
use crate::programs;

/// Version of the PyPI package `libmodsecurity`, which has the shared library.
const LIBMODSECURITY: &str = "3.0.15.post2";

/// An engine to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// libmodsecurity 3, what nginx and ingress-nginx inspect with.
    Libmodsecurity,
    /// Coraza 3 with its literal prefilter.
    Coraza,
    /// This project.
    Portcullis,
}

/// What a driver tells of one scenario.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Told {
    /// Its name.
    pub scenario: String,
    /// Requests that were measured.
    pub requests: u64,
    /// CPU time of those.
    pub cpu_seconds: f64,
    /// How many of its requests were refused.
    pub stopped: u32,
    /// How many requests it has.
    pub of: u32,
    /// CPU time of loading the rules.
    pub load_seconds: f64,
}

impl Engine {
    /// Every engine, in the order of the tables.
    pub const ALL: [Self; 3] = [Self::Libmodsecurity, Self::Coraza, Self::Portcullis];

    /// Name and version.
    pub fn name(self) -> &'static str {
        match self {
            Self::Libmodsecurity => "libmodsecurity 3.0.15",
            Self::Coraza => "Coraza 3.8.1",
            Self::Portcullis => concat!("portcullis ", env!("CARGO_PKG_VERSION")),
        }
    }

    /// Builds its driver, and writes its rules into a folder.
    ///
    /// # Errors
    /// When a tool or a package is missing; the text says which.
    pub fn prepare(self, crs: &Crs, folder: &Path) -> anyhow::Result<Driver> {
        self.prepare_with(crs, folder, "")
    }

    /// The same with more directives before the CRS.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_with(self, crs: &Crs, folder: &Path, raised: &str) -> anyhow::Result<Driver> {
        let (program, more) = match self {
            Self::Libmodsecurity => (libmodsecurity(folder)?, ""),
            Self::Coraza => (coraza(folder)?, "SecRxPreFilter On\n"),
            Self::Portcullis => (programs::built("waf-driver", "portcullis-load-tests")?, ""),
        };
        let rules = folder.join(format!("{self:?}.conf").to_lowercase());
        fs::write(&rules, crs.main(&format!("{more}{raised}"))?)
            .with_context(|| format!("writing {rules:?}"))?;
        Ok(Driver {
            engine: self,
            program,
            rules,
        })
    }
}

/// An engine that can be run.
#[derive(Clone, Debug)]
pub struct Driver {
    /// Which.
    pub engine: Engine,
    program: PathBuf,
    rules: PathBuf,
}

impl Driver {
    /// Runs a workload, each scenario for some seconds of CPU time.
    ///
    /// # Errors
    /// When the driver fails, with what it says.
    pub fn run(&self, workload: &Path, seconds: f64) -> anyhow::Result<Vec<Told>> {
        let name = self.engine.name();
        let output = Command::new(&self.program)
            .arg(&self.rules)
            .arg(workload)
            .arg(seconds.to_string())
            .env("GOMAXPROCS", "1")
            .output()
            .with_context(|| format!("starting the driver of {name}"))?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            bail!("the driver of {name} failed: {}", told.trim());
        }
        let text = String::from_utf8(output.stdout).context("what a driver told")?;
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("{name}: {line:?}")))
            .collect()
    }
}

/// Sources of the drivers in other languages.
fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

fn coraza(folder: &Path) -> anyhow::Result<PathBuf> {
    let go = programs::system("go", "golang")?;
    let program = folder.join("coraza");
    run(Command::new(go)
        .arg("-C")
        .arg(peers().join("coraza"))
        .args(["build", "-o"])
        .arg(&program)
        .arg("."))?;
    Ok(program)
}

fn libmodsecurity(folder: &Path) -> anyhow::Result<PathBuf> {
    let pip = programs::system("pip3", "python3-pip")?;
    let package = folder.join("libmodsecurity");
    run(Command::new(pip)
        .args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
            "--target",
        ])
        .arg(&package)
        .arg(format!("libmodsecurity=={LIBMODSECURITY}")))?;
    let libraries = package.join("libmodsecurity.libs");
    let library = fs::read_dir(&libraries)
        .with_context(|| format!("reading {libraries:?}"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libmodsecurity")
        })
        .context("the package has no shared library")?;
    let program = folder.join("libmodsecurity-driver");
    let mut search = std::ffi::OsString::from("-Wl,-rpath,");
    search.push(&libraries);
    run(Command::new(programs::system("cc", "build-essential")?)
        .args(["-O2", "-o"])
        .arg(&program)
        .arg(peers().join("libmodsecurity/driver.c"))
        .arg(library)
        .arg("-Wl,--allow-shlib-undefined")
        .arg(search))?;
    Ok(program)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", told.trim());
    Ok(())
}
