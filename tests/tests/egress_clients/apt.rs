//! apt, which sends requests one behind the other.

use std::{fmt::Write, fs, net::SocketAddr, path::Path, process::Command};

use portcullis_tests::{
    Authority, FileSite,
    egress_site::{PUBLIC, Site, allow},
    installed, sha256,
};

/// Runs apt with folders of its own: whether it went well, and what it printed.
fn apt(folder: &Path, proxy: SocketAddr, more: &[&str]) -> (bool, String) {
    let option = |name: &str, path: &str| format!("{name}={}", folder.join(path).display());
    let output = Command::new("timeout")
        .args(["60", "apt-get", "-q"])
        .env("LANG", "C.UTF-8")
        .env("APT_CONFIG", "/dev/null")
        .args([
            "-o",
            &option("Dir::State", "state"),
            "-o",
            &option("Dir::State::status", "status"),
            "-o",
            &option("Dir::Cache", "cache"),
            "-o",
            &option("Dir::Etc", "etc"),
            "-o",
            "Dir::Etc::parts=none",
            "-o",
            "APT::Sandbox::User=root",
            "-o",
            "Acquire::Retries=0",
            "-o",
            &format!("Acquire::http::Proxy=http://{proxy}"),
            "-o",
            &format!("Acquire::https::Proxy=http://{proxy}"),
            "-o",
            &option("Acquire::https::CAInfo", "ca.crt"),
        ])
        .args(more)
        .current_dir(folder)
        .output()
        .expect("apt starts");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Makes packages and their index, and folders for apt.
fn repository(folder: &Path, files: &FileSite, sources: &str) {
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        fs::write(path, text).expect("writable");
    };
    for path in [
        "status",
        "etc/trusted.gpg.d/none",
        "etc/apt.conf.d/none",
        "state/lists/partial/none",
    ] {
        write(path, "");
    }
    write("cache/archives/partial/none", "");
    write("etc/sources.list", sources);
    let mut index = String::new();
    for number in 0..30 {
        let name = format!("probe{number}");
        let control = format!(
            "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x.test>\nDescription: x\n"
        );
        write(&format!("{name}/DEBIAN/control"), &control);
        let file = format!("{name}.deb");
        let made = Command::new("dpkg-deb")
            .args(["--build", "--root-owner-group", &name, &file])
            .current_dir(folder)
            .output();
        assert!(made.expect("dpkg-deb starts").status.success());
        let bytes = fs::read(folder.join(&file)).expect("it was made");
        let (size, sum) = (bytes.len(), sha256(&bytes));
        let _ = writeln!(
            index,
            "{}Filename: ./{file}\nSize: {size}\nSHA256: {sum}\n",
            control
        );
        for host in ["mirror.test", "other.test"] {
            files.put(
                &format!("{host}/{file}"),
                "application/octet-stream",
                bytes.clone(),
            );
        }
    }
    for host in ["mirror.test", "other.test"] {
        files.put(&format!("{host}/./Packages"), "text/plain", index.clone());
        files.put(&format!("{host}/Packages"), "text/plain", index.clone());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_20_apt_updates_fetches_and_resumes_and_is_told_of_a_refusal() {
    if ["apt-get", "dpkg-deb"]
        .iter()
        .any(|tool| installed(tool).is_none())
    {
        println!("skipped: apt is not installed");
        return;
    }
    let authority = Authority::new();
    let files = FileSite::start(&authority, &["mirror.test", "other.test"]).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let site = Site::start(
        &allow("[mirror.test]"),
        &[&format!("mirror.test={PUBLIC}")],
        &[
            (&format!("{PUBLIC}:80"), files.http),
            (&format!("{PUBLIC}:443"), files.https),
        ],
    );
    fs::write(folder.path().join("ca.crt"), authority.pem()).expect("writable");
    repository(
        folder.path(),
        &files,
        "deb [trusted=yes] http://mirror.test/ ./\n",
    );
    let run =
        |more: &[&str]| tokio::task::block_in_place(|| apt(folder.path(), site.proxy(), more));
    let (success, text) = run(&["update"]);
    assert!(success, "{text}");
    let names: Vec<String> = (0..30).map(|number| format!("probe{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // What is left of a download that broke off is gone on with.
    let part = fs::read(folder.path().join("probe7.deb")).expect("it was made");
    let partial = folder
        .path()
        .join("cache/archives/partial/probe7_1_all.deb");
    fs::write(&partial, &part[..100]).expect("writable");
    // It is the same file where it has the time of the one at the mirror.
    let touched = Command::new("touch")
        .args(["-d", "@1767225600"])
        .arg(&partial)
        .status();
    assert!(touched.expect("touch starts").success());
    let install = [&["install", "-y", "--download-only"][..], &names].concat();
    let (success, text) = run(&install);
    assert!(success, "{text}");
    for name in &names {
        assert!(
            folder
                .path()
                .join(format!("cache/archives/{name}_1_all.deb"))
                .exists(),
            "{name}: {text}"
        );
    }
    let asked = files.asked();
    assert!(
        asked
            .iter()
            .any(|line| line.starts_with("GET mirror.test/") && line.ends_with("probe7.deb 206")),
        "{asked:?}"
    );
    // Refused, over HTTP and over HTTPS.
    for scheme in ["http", "https"] {
        let source = format!("deb [trusted=yes] {scheme}://other.test/ ./\n");
        fs::write(folder.path().join("etc/sources.list"), source).expect("writable");
        let (_, text) = run(&["update"]);
        assert!(
            text.contains("403  Forbidden egress/not_allowed")
                || text.contains("403 Forbidden egress/not_allowed"),
            "{scheme}: {text}"
        );
    }
}
