use http::Method;
use portcullis_config::model::AnswerKey;

use super::*;

fn settings(key: AnswerKey, time: Duration, refused_time: Duration) -> External {
    External {
        backend: "auth".into(),
        path: "/".into(),
        host: None,
        method: Method::GET,
        request_headers: None,
        response_headers: vec![HeaderName::from_static("x-user")],
        user_header: Some(HeaderName::from_static("x-user")),
        sign_in: None,
        timeout: Duration::from_secs(1),
        cache: Some(AnswerCache {
            time,
            refused_time,
            key,
            max_entries: 10,
        }),
    }
}

fn all() -> AnswerKey {
    AnswerKey {
        headers: None,
        method: true,
        host: true,
        path: true,
        client: true,
    }
}

fn headers(lines: &[(&'static str, &'static str)]) -> Vec<(HeaderName, HeaderValue)> {
    let field = |(name, value): &(&'static str, &'static str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    lines.iter().map(field).collect()
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn an_answer_counts_for_what_has_the_key_in_common() {
    let sent = headers(&[("cookie", "s=1"), ("user-agent", "a")]);
    let other_cookie = headers(&[("cookie", "s=2"), ("user-agent", "a")]);
    let other_agent = headers(&[("cookie", "s=1"), ("user-agent", "b")]);
    let no_cookie = headers(&[("user-agent", "a")]);
    let two_cookies = headers(&[("cookie", "s=1"), ("cookie", "s=1"), ("user-agent", "a")]);
    let asked = Question {
        method: "GET",
        origin: "https://a.example",
        path: "/x",
        client: "192.0.2.1",
        certificate: "",
        headers: &sent,
    };
    let others = [
        (
            "method",
            Question {
                method: "POST",
                ..asked
            },
        ),
        (
            "certificate",
            Question {
                certificate: "ab",
                ..asked
            },
        ),
        (
            "host",
            Question {
                origin: "https://b.example",
                ..asked
            },
        ),
        (
            "path",
            Question {
                path: "/y",
                ..asked
            },
        ),
        (
            "client",
            Question {
                client: "192.0.2.2",
                ..asked
            },
        ),
        (
            "cookie",
            Question {
                headers: &other_cookie,
                ..asked
            },
        ),
        (
            "cookie",
            Question {
                headers: &no_cookie,
                ..asked
            },
        ),
        (
            "cookie",
            Question {
                headers: &two_cookies,
                ..asked
            },
        ),
        (
            "user-agent",
            Question {
                headers: &other_agent,
                ..asked
            },
        ),
    ];
    let cookie = || Some(vec![HeaderName::from_static("cookie")]);
    for (key, apart) in [
        (
            all(),
            &["method", "host", "path", "client", "cookie", "user-agent"][..],
        ),
        (
            AnswerKey {
                headers: cookie(),
                ..all()
            },
            &["method", "host", "path", "client", "cookie"],
        ),
        (
            AnswerKey {
                headers: cookie(),
                method: false,
                ..all()
            },
            &["host", "path", "client", "cookie"],
        ),
        (
            AnswerKey {
                headers: cookie(),
                path: false,
                client: false,
                ..all()
            },
            &["method", "host", "cookie"],
        ),
        (
            AnswerKey {
                headers: cookie(),
                host: false,
                ..all()
            },
            &["method", "path", "client", "cookie"],
        ),
    ] {
        let check = ExternalCheck::new(&settings(key.clone(), HOUR, HOUR)).unwrap();
        let place = check.place(&asked).unwrap();
        assert_eq!(check.place(&asked), Some(place));
        for (part, other) in &others {
            let found = check.place(other) != Some(place);
            // Certificates are told apart whatever the key is.
            let expected = apart.contains(part) || *part == "certificate";
            assert_eq!(found, expected, "{key:?} {part}");
        }
        let another = ExternalCheck::new(&settings(key, HOUR, HOUR)).unwrap();
        assert_ne!(another.place(&asked), Some(place));
    }
}

#[test]
fn only_what_may_be_is_remembered_and_not_for_longer() {
    let map = |lines: &[(&'static str, &'static str)]| HeaderMap::from_iter(headers(lines));
    let long: &'static str = "x".repeat(5000).leak();
    for (status, lines, refused_time, kept) in [
        (200, map(&[("x-user", "anna")]), Duration::ZERO, true),
        (204, map(&[]), Duration::ZERO, true),
        (200, map(&[("set-cookie", "s=2")]), HOUR, false),
        (
            200,
            map(&[("cache-control", "private, No-Store")]),
            HOUR,
            false,
        ),
        (200, map(&[("x-user", long)]), HOUR, false),
        (401, map(&[]), Duration::ZERO, false),
        (401, map(&[]), HOUR, true),
        (403, map(&[]), HOUR, false),
        (500, map(&[]), HOUR, false),
        (302, map(&[]), HOUR, false),
    ] {
        let settings = settings(all(), HOUR, refused_time);
        let check = ExternalCheck::new(&settings).unwrap();
        let answer = Arc::new(Answer::of(status, &lines, &settings));
        check.remember([1; 32], &answer, &lines);
        let found = check.recall(&[1; 32]);
        assert_eq!(found, kept.then_some(answer), "{status} {lines:?}");
        assert_eq!(check.recall(&[2; 32]), None);
    }
    let settings = settings(all(), Duration::from_nanos(1), Duration::ZERO);
    let check = ExternalCheck::new(&settings).unwrap();
    let answer = Arc::new(Answer::of(200, &HeaderMap::new(), &settings));
    check.remember([1; 32], &answer, &HeaderMap::new());
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(check.recall(&[1; 32]), None);
}
