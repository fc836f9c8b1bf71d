//! Projects of which a client fetches what they need.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{bounded, tool};

/// A project whose one dependency is of another registry.
pub(super) fn cargo(host: &str, ca: &Path, work: &Path) -> Option<Command> {
    let mut cargo = bounded(tool("cargo")?);
    let manifest = "[package]\nname = \"user\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\n\
        [dependencies]\nprobe = { version = \"1\", registry = \"there\" }\n";
    for (path, text) in [("Cargo.toml", manifest), ("src/lib.rs", "")] {
        let path = work.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        fs::write(path, text).expect("writable");
    }
    // The one that tests are run by is a proxy of rustup's, which needs its own home.
    let rustup = env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let rustup = rustup.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")))?;
    cargo
        .arg("fetch")
        .env("CARGO_HOME", work.join("home"))
        .env("RUSTUP_HOME", rustup)
        .env(
            "CARGO_REGISTRIES_THERE_INDEX",
            format!("sparse+https://{host}/index/"),
        )
        .env("CARGO_HTTP_CAINFO", ca)
        .env("CARGO_NET_RETRY", "0");
    Some(cargo)
}

/// A project without plugins, whose parent is of another repository. Its `settings.xml` is beside it.
pub(super) fn mvn(host: &str, trust: &Path, work: &Path) -> Option<Command> {
    let mut mvn = bounded(tool("mvn")?);
    let project = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
        <parent><groupId>test</groupId><artifactId>parent</artifactId><version>1</version><relativePath/></parent>\
        <artifactId>child</artifactId><packaging>pom</packaging>\
        <repositories><repository><id>central</id><url>https://{host}/maven</url></repository></repositories>\
        </project>"
    );
    fs::write(work.join("pom.xml"), project).expect("writable");
    let options = format!(
        "-Djavax.net.ssl.trustStore={} -Djavax.net.ssl.trustStorePassword=changeit",
        trust.display()
    );
    // Java takes a home from the list of users, and not from HOME.
    let local = format!("-Dmaven.repo.local={}", work.join("m2").display());
    mvn.args(["-B", "-s", "settings.xml", &local, "validate"])
        .env("MAVEN_OPTS", options);
    Some(mvn)
}
