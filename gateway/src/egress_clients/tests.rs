use portcullis_config::egress::NoProxy;

use super::*;

fn settings(proxy: &str, no_proxy: &[&str]) -> ClientSettings {
    let mut list = NoProxy::loopback();
    for entry in no_proxy {
        list.add(entry.parse().expect(entry));
    }
    ClientSettings {
        proxy: proxy.parse().expect(proxy),
        no_proxy: list,
        trust: None,
        token_file: None,
        assumed: Vec::new(),
    }
}

/// The lines that are no comments.
fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn egr_29_each_program_has_the_list_in_its_own_words() {
    let settings = settings(
        "http://127.0.0.1:3128",
        &[".svc", "10.96.0.0/15", "10.96.0.1", "db.test"],
    );
    let shell = settings.shell();
    for name in ["NO_PROXY", "no_proxy"] {
        let line =
            format!("export {name}='localhost,127.0.0.1,::1,.svc,10.96.0.0/15,10.96.0.1,db.test'");
        assert!(lines(&shell).contains(&line.as_str()), "{shell}");
    }
    let stars = "localhost|127.0.0.1|[::1]|*.svc|10.96.*|10.97.*|10.96.0.1|db.test|*.db.test";
    let java = settings.java().expect("in clear");
    assert_eq!(
        lines(&java),
        [
            "-Dhttp.proxyHost=127.0.0.1",
            "-Dhttp.proxyPort=3128",
            "-Dhttps.proxyHost=127.0.0.1",
            "-Dhttps.proxyPort=3128",
            &format!("-Dhttp.nonProxyHosts={stars}"),
        ]
    );
    let gradle = settings.gradle().expect("in clear");
    for property in [
        "systemProp.https.proxyHost=127.0.0.1",
        "systemProp.http.proxyPort=3128",
        &format!("systemProp.http.nonProxyHosts={stars}"),
        &format!("systemProp.https.nonProxyHosts={stars}"),
    ] {
        assert!(lines(&gradle).contains(&property), "{gradle}");
    }
    let ssh = settings.ssh().expect("in clear");
    assert_eq!(
        lines(&ssh),
        [
            "Match host *,!localhost,!127.0.0.1,!::1,!*.svc,!10.96.*,!10.97.*,!10.96.0.1,!db.test,!*.db.test",
            "    ProxyCommand nc -X connect -x '127.0.0.1:3128' %h %p",
        ]
    );
    let maven = settings.maven().expect("in clear");
    assert!(maven.contains(
        "<nonProxyHosts>localhost|127.0.0.1|*.svc|10.96.*|10.97.*|10.96.0.1|db.test|*.db.test</nonProxyHosts>"
    ));
}

#[test]
fn a_proxy_at_an_address_of_ipv6_is_written_as_each_reads_it() {
    let settings = settings("http://[fd00::7]:3128", &[]);
    assert!(
        settings
            .shell()
            .contains("HTTPS_PROXY='http://[fd00::7]:3128'")
    );
    for text in [settings.java(), settings.gradle()] {
        assert!(
            text.expect("in clear")
                .contains("https.proxyHost=fd00::7\n")
        );
    }
    assert!(
        settings
            .maven()
            .expect("in clear")
            .contains("<host>fd00::7</host>")
    );
    assert!(
        settings
            .ssh()
            .expect("in clear")
            .contains("-x '[fd00::7]:3128' ")
    );
}

/// What is in no words of a program is told, and never left out in silence.
#[test]
fn what_a_program_cannot_be_told_is_an_error() {
    let mut with_token = settings("http://p", &[]);
    with_token.token_file = Some("/t".to_owned());
    let mut over_tls = settings("https://p", &[]);
    over_tls.trust = Some("/a b".to_owned());
    for (of, token, tls) in [
        (
            ClientSettings::env_file as fn(&ClientSettings) -> _,
            Some(Unable::ReadsNoToken),
            Some(Unable::QuotesDiffer),
        ),
        (ClientSettings::kubernetes, Some(Unable::ReadsNoToken), None),
        (
            ClientSettings::java,
            Some(Unable::ReadsNoToken),
            Some(Unable::SpeaksNoTls),
        ),
        (
            ClientSettings::gradle,
            Some(Unable::ReadsNoToken),
            Some(Unable::SpeaksNoTls),
        ),
        (
            ClientSettings::maven,
            Some(Unable::ReadsNoToken),
            Some(Unable::SpeaksNoTls),
        ),
        (
            ClientSettings::ssh,
            Some(Unable::ReadsNoToken),
            Some(Unable::SpeaksNoTls),
        ),
    ] {
        assert_eq!(of(&with_token).err(), token);
        assert_eq!(of(&over_tls).err(), tls);
    }
    assert!(over_tls.shell().contains("export SSL_CERT_FILE='/a b'\n"));
    assert!(
        over_tls
            .kubernetes()
            .expect("a string")
            .contains(r#"{name: SSL_CERT_FILE, value: "/a b"}"#)
    );
}

#[test]
fn a_token_is_named_by_its_file_alone() {
    let mut settings = settings("https://proxy.test:8443", &[]);
    settings.token_file = Some("/run/it's/token".to_owned());
    let shell = settings.shell();
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
        let line =
            format!(r#"export {name}="https://token:$(cat '/run/it'\''s/token')@proxy.test:8443""#);
        assert!(lines(&shell).contains(&line.as_str()), "{shell}");
    }
}

/// `$(NAME)` would be another variable there, and `$$` one dollar.
#[test]
fn egr_29_a_dollar_is_a_dollar_in_a_container() {
    let mut settings = settings("http://p", &[]);
    settings.trust = Some("/a$(HTTPS_PROXY)$$b.crt".to_owned());
    let container = settings.kubernetes().expect("a string");
    let line = r#"  - {name: SSL_CERT_FILE, value: "/a$$(HTTPS_PROXY)$$$$b.crt"}"#;
    assert!(container.lines().any(|of| of == line), "{container}");
    let line = "export SSL_CERT_FILE='/a$(HTTPS_PROXY)$$b.crt'";
    assert!(lines(&settings.shell()).contains(&line));
}

/// Java 8 has 1024 bytes for the variable, a zero at its end among them.
#[test]
fn a_list_that_java_8_would_pass_over_is_told() {
    let of = |length: usize| {
        let mut settings = settings("http://127.0.0.1:3128", &[]);
        for first in 'a'..='z' {
            let text = settings.java().expect("in clear");
            let taken: usize = lines(&text).iter().map(|line| line.len() + 1).sum();
            let missing = length - taken;
            if missing == 0 {
                return text;
            }
            // `|*.`, a letter and the rest.
            let rest = "a".repeat(missing.min(if missing > 60 { 50 } else { 60 }) - 4);
            let entry = format!(".{first}{rest}");
            settings.no_proxy.add(entry.parse().expect("a suffix"));
        }
        panic!("{length} bytes are too many");
    };
    assert!(!of(1023).contains("Java 8 passes over"));
    assert!(of(1024).contains("which Java 8 passes over"));
}

/// A proxy over TLS, and what some programs make of it.
#[test]
fn who_speaks_no_tls_to_a_proxy_is_told() {
    let said = "wget and Python's urllib speak no TLS to a proxy";
    for (proxy, is_told) in [("https://proxy.test", true), ("http://proxy.test", false)] {
        let settings = settings(proxy, &[]);
        let env = settings.env_file().expect("no token");
        let container = settings.kubernetes().expect("no token");
        for text in [settings.shell(), env, container] {
            assert_eq!(text.contains(said), is_told, "{text}");
        }
    }
}
