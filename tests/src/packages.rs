//! What package managers find at a host.

use std::{fs, path::Path, process::Command};

use serde_json::json;

use crate::{FileSite, sha256};

/// Where the programs for tests about clients are.
pub(crate) fn programs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/clients"))
}

/// The package `probe`, for each kind of index. It may be that an index and the files of its
/// packages have different hosts, as those of the world do.
pub struct Packages {
    folder: tempfile::TempDir,
}

impl Default for Packages {
    fn default() -> Self {
        Self::new()
    }
}

impl Packages {
    /// Makes them.
    ///
    /// # Panics
    /// When Python or git is not there.
    pub fn new() -> Self {
        let packages = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        let folder = packages.folder.path();
        let made = Command::new("python3")
            .arg(programs().join("packages.py"))
            .arg(folder)
            .status();
        assert!(made.expect("python3 runs").success());
        let git = |arguments: &[&str]| {
            let status = Command::new("git")
                .args(["-c", "user.name=test", "-c", "user.email=test@test.test"])
                .args(["-c", "init.defaultBranch=main"])
                .args(arguments)
                .current_dir(folder)
                .status();
            assert!(status.expect("git runs").success(), "{arguments:?}");
        };
        git(&["init", "--quiet", "work"]);
        fs::write(
            folder.join("work/package.json"),
            r#"{"name": "probe-git", "version": "1.0.0"}"#,
        )
        .expect("writable");
        git(&["-C", "work", "add", "package.json"]);
        git(&["-C", "work", "commit", "--quiet", "-m", "one"]);
        git(&["clone", "--quiet", "--bare", "work", "repo.git"]);
        // For HTTP without a program at the other end.
        git(&["-C", "repo.git", "update-server-info"]);
        packages
    }

    /// Serves a page, a repository and all indexes at one host, the files of packages at another.
    pub fn publish(&self, site: &FileSite, host: &str, files: &str) {
        let read = |name: &str| fs::read(self.folder.path().join(name)).expect("it was made");
        let put = |place: &str, kind: &str, body: Vec<u8>| site.put(place, kind, body);
        let (text, binary) = ("text/plain", "application/octet-stream");
        put(&format!("{host}/hello"), text, b"hello".to_vec());
        site.put_folder(
            &format!("{host}/repo.git"),
            &self.folder.path().join("repo.git"),
        );
        // PyPI (PEP 503).
        let wheel = "probe-1.0.0-py3-none-any.whl";
        let link = format!("<a href='https://{files}/wheels/{wheel}'>{wheel}</a>");
        put(
            &format!("{host}/simple/probe/"),
            "text/html",
            link.into_bytes(),
        );
        put(&format!("{files}/wheels/{wheel}"), binary, read(wheel));
        // npm.
        let version = json!({
            "name": "probe", "version": "1.0.0",
            "dist": {"tarball": format!("https://{files}/npm/probe-1.0.0.tgz")},
        });
        let package = json!({
            "name": "probe", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version},
        });
        put(
            &format!("{host}/npm/probe"),
            "application/json",
            package.to_string().into_bytes(),
        );
        put(
            &format!("{files}/npm/probe-1.0.0.tgz"),
            binary,
            read("probe-1.0.0.tgz"),
        );
        // Cargo, a sparse index.
        let dl = json!({"dl": format!("https://{files}/crates/{{crate}}-{{version}}.crate")});
        put(
            &format!("{host}/index/config.json"),
            "application/json",
            dl.to_string().into_bytes(),
        );
        let krate = read("probe-1.0.0.crate");
        let entry = json!({
            "name": "probe", "vers": "1.0.0", "deps": [], "cksum": sha256(&krate),
            "features": {}, "yanked": false,
        });
        put(
            &format!("{host}/index/pr/ob/probe"),
            text,
            format!("{entry}\n").into_bytes(),
        );
        put(&format!("{files}/crates/probe-1.0.0.crate"), binary, krate);
        // Go, a module proxy.
        let module = format!("{host}/go/probe.test/mod/@v");
        put(&format!("{module}/list"), text, b"v1.0.0\n".to_vec());
        let info = json!({"Version": "v1.0.0", "Time": "2026-01-01T00:00:00Z"});
        put(
            &format!("{module}/v1.0.0.info"),
            "application/json",
            info.to_string().into_bytes(),
        );
        put(
            &format!("{module}/v1.0.0.mod"),
            text,
            b"module probe.test/mod\n".to_vec(),
        );
        put(&format!("{module}/v1.0.0.zip"), binary, read("probe.zip"));
    }
}
