//! Where the programs are that a comparison runs.
//!
//! Some come from the system (`nginx`, `wrk`, `perf`), some from this workspace
//! (`upstream`, `bare-pingora`, `portcullis`) and then stand next to the running
//! binary. What is missing is told with the way to get it.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Folders of system daemons, which are not on every user's `PATH`.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Returns the path of a system program.
///
/// # Errors
///
/// When it is not there; the text names the Debian package to install.
pub fn system(name: &str, package: &str) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| {
            format!("{name} is not installed; on Debian or Ubuntu: apt-get install {package}")
        })
}

/// Returns the path of a program of this workspace, built beside this one.
///
/// # Errors
///
/// When it has not been built; the text holds the command that builds it.
pub fn built(name: &str, package: &str) -> anyhow::Result<PathBuf> {
    let this = env::current_exe().context("finding the folder of the built programs")?;
    let folder = this.parent().unwrap_or(Path::new("."));
    let file = folder.join(name);
    let release = if cfg!(debug_assertions) {
        ""
    } else {
        " --release"
    };
    file.is_file().then_some(file).with_context(|| {
        format!("{name} is not built; run: cargo build{release} -p {package} --bin {name}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_told_with_its_package() {
        let error = system("no-such-program", "no-such-package").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no-such-program is not installed; on Debian or Ubuntu: apt-get install no-such-package"
        );
    }

    #[test]
    fn an_unbuilt_program_is_told_with_its_build_command() {
        let error = built("no-such-program", "portcullis").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("-p portcullis --bin no-such-program")
        );
    }
}
