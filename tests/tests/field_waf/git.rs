//! `git` itself, through the WAF to its own server.

use std::{
    convert::Infallible,
    io::{Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use portcullis_tests::{Gateway, installed, wait_for};

use super::{config, crs, route};

/// Lets the two types of git, and what it compresses, through to the paths of git alone.
const EXCLUSION: &str = r#"
      - inline: |
          SecAction "id:1,phase:1,pass,nolog,setvar:'tx.allowed_request_content_type=|application/x-www-form-urlencoded| |multipart/form-data| |application/json|'"
          SecRule REQUEST_FILENAME "@rx /git-(?:upload|receive)-pack$" \
              "id:2,phase:1,pass,nolog,\
              setvar:'tx.allowed_request_content_type=%{tx.allowed_request_content_type} |application/x-git-upload-pack-request| |application/x-git-receive-pack-request|',\
              ctl:ruleRemoveTargetById=920450;REQUEST_HEADERS_NAMES:Content-Encoding"
"#;

/// Serves the repositories of a folder: `git http-backend` over CGI (RFC 3875).
async fn serve(root: PathBuf, coded: Arc<AtomicUsize>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (root, coded) = (root.clone(), coded.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                if request.headers().contains_key("content-encoding") {
                    coded.fetch_add(1, Ordering::Relaxed);
                }
                answer(root.clone(), request)
            });
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn answer(
    root: PathBuf,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let text = |name: &str| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let mut command = clean_git();
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "ann")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", text("content-encoding"))
        .env("HTTP_GIT_PROTOCOL", text("git-protocol"));
    let output = tokio::task::spawn_blocking(move || piped(command, &body));
    let output = output.await.expect("no panic");
    let end = output
        .stdout
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(0);
    let (head, body) = output.stdout.split_at(end);
    let mut response = Response::new(Full::from(body.get(4..).unwrap_or_default().to_vec()));
    for line in String::from_utf8_lossy(head).lines() {
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        if name == "Status" {
            *response.status_mut() = value[..3].parse().expect("a status");
        } else {
            let name: HeaderName = name.parse().expect("a name");
            response
                .headers_mut()
                .append(name, HeaderValue::from_str(value).expect("a value"));
        }
    }
    Ok(response)
}

/// git without what a hook or a shell around the test has told it.
fn clean_git() -> Command {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a program to its end with this input.
fn piped(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git starts");
    let (mut stdin, mut stdout) = (
        child.stdin.take().expect("piped"),
        child.stdout.take().expect("piped"),
    );
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let mut text = Vec::new();
    stdout.read_to_end(&mut text).expect("it can be read");
    let _ = writer.join();
    let mut output = child.wait_with_output().expect("it ends");
    output.stdout = text;
    output
}

/// Runs git in a folder.
fn git(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = clean_git();
    command
        .args([
            "-c",
            "user.name=Ann",
            "-c",
            "user.email=ann@a.test",
            "-c",
            "gc.auto=0",
        ])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", folder)
        .env("no_proxy", "*");
    let output = piped(command, b"");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Bytes that nothing compresses.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).collect()
}

/// Writes a file, and commits it on a branch of its own.
fn commit(folder: &Path, branch: &str, bytes: &[u8]) {
    std::fs::write(folder.join(branch), bytes).expect("written");
    git(folder, &["checkout", "--quiet", "-B", branch]).expect("a branch");
    git(folder, &["add", branch]).expect("added");
    git(folder, &["commit", "--quiet", "-m", branch]).expect("committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn waf_03_git_clones_and_pushes_through_the_core_rules() {
    let Some(crs) = crs("") else { return };
    if installed("git").is_none() {
        println!("skipped: git is not installed");
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let work = work.path();
    let root = work.join("root");
    let seed = work.join("seed");
    tokio::task::block_in_place(|| {
        std::fs::create_dir_all(&root).expect("a folder");
        git(&root, &["init", "--quiet", "--bare", "demo"]).expect("a repository");
        git(work, &["init", "--quiet", "seed"]).expect("a repository");
        commit(&seed, "main", b"hello\n");
        // So many that a client compresses what it asks for.
        for branch in 0..40 {
            commit(&seed, &format!("branch{branch}"), &noise(256, branch + 1));
        }
        let to = root.join("demo").display().to_string();
        git(&seed, &["push", "--quiet", "--all", &to]).expect("pushed");
        git(
            &root.join("demo"),
            &["symbolic-ref", "HEAD", "refs/heads/main"],
        )
        .expect("a head");
    });
    let coded = Arc::new(AtomicUsize::new(0));
    let backend = serve(root.clone(), coded.clone()).await;
    let profiles = format!(
        "- name: plain\n  rules: [{crs}]\n\
         - name: git\n  overLimit: skip\n  rules:{EXCLUSION}      - {crs}"
    );
    // No address: a host that is one scores by itself.
    let plain = route("localhost", "{waf: {profile: plain}}");
    let excluded = route("localhost", "{maxBodySize: 0, waf: {profile: git}}");
    let gateway = Gateway::start(&config(backend, &profiles, &plain));
    let url = format!("http://localhost:{}/demo", gateway.http().port());

    let clone = |to: &str, options: &[&str]| {
        let all = [options, &["clone", "--quiet", &url, to]].concat();
        tokio::task::block_in_place(|| git(work, &all))
    };
    let refused = clone("refused", &[]).expect_err("it is refused");
    assert!(refused.contains("403"), "{refused}");
    wait_for("the record", || {
        let mut lines = gateway.audit_lines().into_iter();
        lines.any(|line| line["waf"]["matches"].to_string().contains("920420"))
    });

    gateway.reload(&config(backend, &profiles, &excluded));
    clone("clone", &[]).unwrap_or_else(|error| panic!("{error}: {:?}", gateway.audit_lines()));
    let clone = work.join("clone");
    assert!(
        coded.load(Ordering::Relaxed) > 0,
        "git compressed what it asked for"
    );
    // Packs of 10 kB and of 30 MB, whole and in chunks.
    for (branch, length, options) in [
        ("small", 10_000, &[][..]),
        ("chunked", 300_000, &["-c", "http.postBuffer=65536"][..]),
        (
            "large",
            30_000_000,
            &["-c", "http.postBuffer=100000000"][..],
        ),
        ("streamed", 30_000_000, &[][..]),
    ] {
        let bytes = noise(length, 99 + length as u64);
        let pushed = tokio::task::block_in_place(|| {
            commit(&clone, branch, &bytes);
            let push = [options, &["push", "--quiet", "origin", branch]].concat();
            git(&clone, &push)
        });
        pushed.unwrap_or_else(|error| panic!("{branch}: {error}: {:?}", gateway.audit_lines()));
        let head = format!("refs/heads/{branch}");
        git(&root.join("demo"), &["cat-file", "-e", &head]).expect("it has arrived");
    }
    // A fetch asks with what it has, compressed.
    let fetched =
        tokio::task::block_in_place(|| git(&clone, &["fetch", "--quiet", "--refetch", "origin"]));
    fetched.unwrap_or_else(|error| panic!("{error}: {:?}", gateway.audit_lines()));
}
