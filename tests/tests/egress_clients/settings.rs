//! What `portcullis egress clients` prints leads each client through the proxy, and past it where it says so.

mod forms;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use portcullis_tests::{
    RealClients, Scripted,
    egress_site::{PUBLIC, Site, allow},
    installed, portcullis, wait_for,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::around::Around;

/// Runs `portcullis egress clients` outside of a cluster: what it prints, or what it says instead.
fn clients(arguments: &[&str]) -> Result<String, String> {
    clients_in(None, arguments)
}

/// The same in a pod, which is told the address of the API server.
fn clients_in(api_server: Option<&str>, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(portcullis())
        .args(["egress", "clients"])
        .args(arguments)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .envs(api_server.map(|address| ("KUBERNETES_SERVICE_HOST", address)))
        .output()
        .expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => {
            assert_eq!(output.stdout, b"", "{arguments:?}");
            Err(text(output.stderr))
        }
    }
}

/// What is printed for a program that reaches a proxy, and `.direct.test` without it.
fn settings_of(around: &Around, program: &str) -> String {
    let direct = ["--no-proxy", ".direct.test,10.96.0.0/12,10.96.0.1"];
    let url = around.url();
    clients(&[&["--for", program, &url], &direct[..]].concat()).expect("settings")
}

async fn start() -> Around {
    let policies = allow("[good.test, www.direct.test]");
    Around::start(&policies, "good.test", "good.test").await
}

/// A client goes through the proxy to what the list does not name, and past it to what that names: by the loopback,
/// which no policy opens, and by a suffix, of which nobody but the proxy knows an address.
fn leads(around: &Around, client: &str, lines: &str) -> Option<()> {
    let run = |host: &str| {
        let run = || around.clients.run_in_shell(client, lines, host);
        tokio::task::block_in_place(run)
    };
    let before = around.records("good.test").len();
    let through = run("good.test")?;
    assert!(
        through.success && through.text.contains("hello"),
        "{client}: {}",
        through.text
    );
    wait_for("its record", || around.records("good.test").len() > before);
    let local = format!("localhost:{}", around.files.https.port());
    let past = run(&local).expect("it is there");
    assert!(
        past.success && past.text.contains("hello"),
        "{client}: {}",
        past.text
    );
    let past = run("www.direct.test").expect("it is there");
    assert!(!past.success, "{client}: {}", past.text);
    for host in ["localhost", "127.0.0.1", "www.direct.test"] {
        assert_eq!(around.records(host), [""; 0], "{client} asks the proxy");
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_27_the_printed_lines_of_a_shell_lead_each_client_that_reads_variables() {
    let around = start().await;
    let lines = settings_of(&around, "shell");
    let own = format!("portcullis={}\n", portcullis().display());
    let evaluated = format!(
        "{own}eval \"$(\"$portcullis\" egress clients {} --no-proxy .direct.test)\"",
        around.url()
    );
    for client in ["curl", "wget", "go", "node", "requests", "httpx", "urllib"] {
        leads(&around, client, &lines);
    }
    leads(&around, "curl", &evaluated);
    // Those that fetch packages.
    for client in ["git", "pip", "npm", "cargo", "go-mod"] {
        assert!(RealClients::ALL.contains(&client));
        let before = around.records("good.test").len();
        let run = || around.clients.run_in_shell(client, &lines, "good.test");
        let Some(printed) = tokio::task::block_in_place(run) else {
            continue;
        };
        assert!(printed.success, "{client}: {}", printed.text);
        wait_for("its record", || around.records("good.test").len() > before);
    }
    // What the suffix keeps from the proxy is asked of it without that.
    let lines = lines.replace(".direct.test", ".other.test");
    let run = || {
        around
            .clients
            .run_in_shell("curl", &lines, "www.direct.test")
    };
    let Some(printed) = tokio::task::block_in_place(run) else {
        return;
    };
    wait_for("its record", || {
        !around.records("www.direct.test").is_empty()
    });
    let told = &printed.text;
    assert!(told.contains("egress/dns_nxdomain"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn egr_27_the_printed_properties_lead_java() {
    let around = start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("proxy.args");
    fs::write(&file, settings_of(&around, "java")).expect("writable");
    let file = file.display();
    for lines in [
        // What the launcher of Java 9 and later reads as its first arguments.
        format!("export JDK_JAVA_OPTIONS=@{file}"),
        // As the file says of itself.
        format!(r#"export JAVA_TOOL_OPTIONS="$(grep ^-D {file} | tr '\n' ' ')""#),
    ] {
        leads(&around, "java", &lines);
    }
}

/// Maven is not on every machine; what an XML parser makes of its settings is looked at on each.
#[tokio::test(flavor = "multi_thread")]
async fn egr_27_the_printed_settings_lead_maven() {
    let around = start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("settings.xml");
    fs::write(&file, settings_of(&around, "maven")).expect("writable");
    let port = around.site.proxy().port();
    let stars: Vec<String> = (96..112).map(|part| format!("10.{part}.*")).collect();
    let direct = format!(
        "localhost|127.0.0.1|*.direct.test|{}|10.96.0.1",
        stars.join("|")
    );
    let proxy = |protocol| format!("true {protocol} 127.0.0.1 {port} {direct}\n");
    assert_eq!(proxies(&file), proxy("http") + &proxy("https"));

    let parent = "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
        <groupId>test</groupId><artifactId>parent</artifactId><version>1</version><packaging>pom</packaging></project>";
    for host in ["good.test", "www.direct.test"] {
        let place = format!("{host}/maven/test/parent/1/parent-1.pom");
        around.files.put(&place, "text/xml", parent);
    }
    let lines = format!("cp {} .", file.display());
    let run = |host| {
        let run = || around.clients.run_in_shell("mvn", &lines, host);
        tokio::task::block_in_place(run)
    };
    let Some(through) = run("good.test") else {
        return;
    };
    assert!(
        through.success && through.text.contains("BUILD SUCCESS"),
        "{}",
        through.text
    );
    wait_for("its record", || !around.records("good.test").is_empty());
    let past = run("www.direct.test").expect("it is there");
    assert!(past.text.contains("Unknown host"), "{}", past.text);
    assert_eq!(around.records("www.direct.test"), [""; 0]);
}

/// The proxies of a settings.xml, as a parser of XML reads them.
fn proxies(file: &Path) -> String {
    let script = r"
import sys
from xml.etree import ElementTree
of = '{http://maven.apache.org/SETTINGS/1.0.0}'
root = ElementTree.parse(sys.argv[1]).getroot()
assert root.tag == of + 'settings', root.tag
for proxy in root.find(of + 'proxies').findall(of + 'proxy'):
    print(*[proxy.find(of + name).text for name in ('active', 'protocol', 'host', 'port', 'nonProxyHosts')])
";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(file)
        .output()
        .expect("Python is installed");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).expect("text")
}

/// SSH_MSG_DISCONNECT "by application" in a packet without encryption (RFC 4253 sections 6 and 11.1): length, padding,
/// 1, 11, "bye", no language, and 11 bytes of padding.
const DISCONNECT: [u8; 32] =
    *b"\0\0\0\x1c\x0b\x01\0\0\0\x0b\0\0\0\x03bye\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[tokio::test(flavor = "multi_thread")]
async fn egr_27_the_printed_proxy_command_leads_ssh() {
    let server = Scripted::start(|line| async move {
        // The client may go at any time.
        let _ = speak_ssh(line.stream).await;
    })
    .await;
    let site = Site::start(
        &allow("[{host: git.test, ports: [22], raw: true}]"),
        &[&format!("git.test={PUBLIC}")],
        &[(&format!("{PUBLIC}:22"), server.address)],
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("config");
    let url = format!("http://{}", site.proxy());
    let direct = ".direct.test,10.96.0.0/12,db.test";
    let text = clients(&["--for", "ssh", &url, "--no-proxy", direct]).expect("settings");
    // At the end, as it says of itself.
    let text = format!("Host db\n    HostName 10.96.0.5\nHost far\n    HostName 192.0.2.5\n{text}");
    fs::write(&file, &text).expect("writable");
    if installed("ssh").is_none() {
        println!("skipped: ssh is not installed");
        return;
    }
    let ssh = |arguments: &[&str]| {
        let output = Command::new("timeout")
            .args(["60", "ssh", "-F"])
            .arg(&file)
            .args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("timeout is installed");
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    };
    // What it would do, without doing it.
    for (host, is_past) in [
        ("git.test", false),
        ("notdb.test", false),
        ("direct.test", false),
        ("10.112.0.1", false),
        ("far", false),
        ("db", true),
        ("localhost", true),
        ("::1", true),
        ("a.direct.test", true),
        ("db.test", true),
        ("replica.db.test", true),
        ("10.111.255.1", true),
    ] {
        let meant = ssh(&["-G", host]);
        assert!(meant.contains("port 22"), "{meant}");
        assert_ne!(meant.contains("proxycommand"), is_past, "{host}: {meant}");
    }
    if installed("nc.openbsd").is_none() {
        println!("skipped: netcat-openbsd is not installed");
        return;
    }
    let told = tokio::task::block_in_place(|| ssh(&["-v", "git.test"]));
    for text in ["remote software version portcullis_test", "11: bye"] {
        assert!(told.contains(text), "{told}");
    }
    wait_for("the record", || {
        site.gateway.audit_lines().iter().any(|line| {
            line["host"] == "git.test" && line["port"] == 22 && line["verdict"] == "allow"
        })
    });
    tokio::task::block_in_place(|| ssh(&["-v", "evil.test"]));
    wait_for("the refusal", || {
        let lines = site.gateway.audit_lines();
        lines
            .iter()
            .any(|line| line["host"] == "evil.test" && line["reason"] == "not_allowed")
    });
}

/// A server that takes the client's banner, and its leave.
async fn speak_ssh(mut stream: TcpStream) -> std::io::Result<()> {
    let mut banner = [0; 8];
    stream.write_all(b"SSH-2.0-portcullis_test\r\n").await?;
    stream.read_exact(&mut banner).await?;
    assert_eq!(&banner, b"SSH-2.0-");
    stream.write_all(&DISCONNECT).await?;
    // Until the client goes: it has more to say.
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}
