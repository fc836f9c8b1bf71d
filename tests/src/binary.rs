//! The binary under test.

use std::{path::PathBuf, process::Command, sync::OnceLock};

/// Path of the `portcullis` binary: `PORTCULLIS_BIN`, or the one of this build,
/// which is brought up to date first.
///
/// # Panics
/// When it cannot be built.
pub fn portcullis() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(build).clone()
}

/// cargo, as whoever runs the tests runs it.
///
/// What cargo says to tests of their package is not passed on: build scripts that look at such a
/// variable (`ring`) would run again, and all that needs them be built again, each time.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_of_package = ["CARGO_MANIFEST_", "CARGO_PKG_"];
        if is_of_package.iter().any(|start| text.starts_with(start)) || text == "OUT_DIR" {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs `portcullis check` on a configuration: whether it is accepted, and what is said.
///
/// # Panics
/// When it cannot be run.
pub fn check(yaml: &str) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("checked.yaml"), yaml).expect("the folder is writable");
    let output = Command::new(portcullis())
        .args(["check", "checked.yaml"])
        .current_dir(folder.path())
        .output()
        .expect("the binary runs");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    // 1 says no; anything else would be a crash.
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 1)), "{code:?}: {text}");
    (code == Some(0), text)
}

fn build() -> PathBuf {
    if let Some(path) = std::env::var_os("PORTCULLIS_BIN") {
        return path.into();
    }
    // target/debug/deps/scenario-hash
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("a test is in deps of its profile")
        .to_owned();
    let target = profile.parent().expect("a profile is in the target folder");
    let mut command = cargo();
    command
        .args([
            "build",
            "--quiet",
            "--locked",
            "-p",
            "portcullis",
            "--target-dir",
        ])
        .arg(target);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let status = command.status().expect("cargo runs");
    assert!(status.success(), "the gateway does not build");
    profile.join("portcullis")
}
