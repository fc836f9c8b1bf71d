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
            "Host * !localhost !127.0.0.1 !::1 !*.svc !10.96.* !10.97.* !10.96.0.1 !db.test !*.db.test",
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
