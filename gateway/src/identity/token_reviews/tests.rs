use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// What an API server does with the next questions.
#[derive(Debug, Default)]
struct Server {
    /// What it says; nothing where it is away.
    says: Mutex<Option<Value>>,
    /// Whether it is silent.
    waits: Mutex<bool>,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl ReviewTokens for Server {
    fn review<'a>(
        &'a self,
        token: &'a str,
        audience: &'a str,
    ) -> BoxFuture<'a, Result<ReviewedToken, String>> {
        assert_eq!((token.split('.').count(), audience), (3, "portcullis"));
        Box::pin(async {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let at_once = Guard::enter(&self.at_once);
            self.most_at_once.fetch_max(at_once.1, Ordering::Relaxed);
            sleep(Duration::from_millis(20)).await;
            while *self.waits.lock().unwrap() {
                sleep(Duration::from_millis(5)).await;
            }
            let says = self.says.lock().unwrap().clone();
            let says = says.ok_or_else(|| "connection refused".to_owned())?;
            Ok(serde_json::from_value(says).expect("an answer"))
        })
    }
}

struct Guard<'a>(&'a AtomicUsize, usize);

impl<'a> Guard<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        let before = count.fetch_add(1, Ordering::Relaxed);
        Self(count, before + 1)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    fn says(says: impl Into<Option<Value>>) -> Self {
        let server = Self::default();
        server.now_says(says);
        server
    }

    fn now_says(&self, says: impl Into<Option<Value>>) {
        *self.says.lock().unwrap() = says.into();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn good() -> Value {
    json!({"authenticated": true, "audiences": ["portcullis"], "user": {
        "username": "system:serviceaccount:ci:builder",
        "extra": {"authentication.kubernetes.io/pod-name": ["build-7"],
            "authentication.kubernetes.io/pod-uid": ["2"]},
    }})
}

fn bad() -> Value {
    json!({"authenticated": false, "error": "invalid bearer token"})
}

fn seconds_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock past 1970").as_secs()
}

fn claims() -> Value {
    let now = seconds_now();
    json!({"iss": "https://cluster.test", "aud": ["portcullis"], "exp": now + 600, "nbf": now,
        "sub": "system:serviceaccount:ci:builder",
        "kubernetes.io": {"namespace": "ci", "serviceaccount": {"name": "builder", "uid": "1"},
            "pod": {"name": "build-7", "uid": "2"}}})
}

/// A token of these claims; its signature is for the API server to judge.
fn token(claims: &Value, signature: &str) -> Vec<u8> {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let header = part(r#"{"alg":"RS256","kid":"k"}"#);
    let claims = part(&claims.to_string());
    format!("{header}.{claims}.{}", part(signature)).into_bytes()
}

fn settings() -> TokenSettings {
    TokenSettings {
        issuer: Some("https://cluster.test".into()),
        audience: "portcullis".into(),
        clock_skew: Duration::from_secs(10),
    }
}

fn review() -> TokenReview {
    TokenReview {
        timeout: Duration::from_secs(30),
        max_concurrent: 4,
        cache_time: Duration::from_secs(60),
        refused_cache_time: Duration::from_secs(60),
        cache_entries: 100,
    }
}

fn made(review: TokenReview) -> TokenReviews {
    TokenReviews::new(settings(), review).expect("random numbers")
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new())
}

async fn verify(reviews: &TokenReviews, token: &[u8], server: &Server) -> &'static str {
    let now = SystemTime::now();
    match reviews.verify(token, now, server, &metrics()).await {
        Ok(verified) => {
            assert_eq!(verified.identity.pod_uid.as_deref(), Some("2"));
            assert!(reviews.trusts(&verified));
            "good"
        }
        Err(Unverified::Bad(error)) => error.reason(),
        Err(Unverified::NotAsked) => "not asked",
    }
}

/// Has some time pass for what is remembered of a token.
fn pass(reviews: &TokenReviews, token: &[u8], time: Duration) {
    const UP: &str = "the machine is up for longer";
    let hash = reviews.key.hash([token]);
    if let Some((until, verified)) = reviews.good.get(&hash) {
        let until = until.checked_sub(time).expect(UP);
        reviews.good.insert(hash, (until, verified));
    }
    if let Some((until, error)) = reviews.refused.get(&hash) {
        let until = until.checked_sub(time).expect(UP);
        reviews.refused.insert(hash, (until, error));
    }
}

#[tokio::test]
async fn what_cannot_be_good_is_refused_unasked() {
    let (reviews, server) = (made(review()), Server::says(good()));
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        token(&claims, "signature")
    };
    let whole = String::from_utf8(with("x", json!(1))).expect("ASCII");
    let (head, _) = whole.rsplit_once('.').expect("a signature");
    let critical = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"k","crit":["x"]}"#);
    let critical = format!("{critical}.{}", whole.split_once('.').expect("a header").1);
    for (token, expected) in [
        (b"a.b.c".to_vec(), "bad_token"),
        (b"\xff\xfe.\xff.\xff".to_vec(), "bad_token"),
        (head.into(), "bad_token"),
        (format!("{head}.").into(), "bad_token"),
        (format!("{head}.%").into(), "bad_token"),
        (format!("{whole}.x").into(), "bad_token"),
        (critical.into(), "bad_token"),
        (with("iss", json!("https://other.test")), "bad_issuer"),
        (with("aud", json!(["https://kubernetes"])), "bad_audience"),
        (with("exp", json!(seconds_now() - 20)), "token_expired"),
        (with("exp", Value::Null), "not_service_account"),
        (
            with("nbf", json!(seconds_now() + 60)),
            "token_not_yet_valid",
        ),
        (with("sub", json!("system:node:n")), "not_service_account"),
    ] {
        assert_eq!(verify(&reviews, &token, &server).await, expected);
    }
    assert_eq!(server.asked(), 0);
    assert_eq!(verify(&reviews, whole.as_bytes(), &server).await, "good");
    assert_eq!(server.asked(), 1);
    // Whoever made it, where nobody says who must have.
    let any = TokenSettings {
        issuer: None,
        ..settings()
    };
    let any = TokenReviews::new(any, review()).expect("random numbers");
    let other = with("iss", json!("https://other.test"));
    assert_eq!(verify(&any, &other, &server).await, "good");
}

#[tokio::test]
async fn an_answer_counts_for_its_time_and_is_asked_for_again() {
    let brief = TokenReview {
        refused_cache_time: Duration::from_secs(20),
        ..review()
    };
    let (reviews, server) = (made(brief), Server::says(good()));
    let (one, other) = (token(&claims(), "one"), token(&claims(), "other"));
    assert_eq!(verify(&reviews, &one, &server).await, "good");
    // Away, or of another mind: what was said counts.
    for says in [None, Some(bad())] {
        server.now_says(says);
        assert_eq!(verify(&reviews, &one, &server).await, "good");
    }
    assert_eq!(server.asked(), 1);
    assert_eq!(verify(&reviews, &other, &server).await, "token_rejected");
    server.now_says(None);
    assert_eq!(verify(&reviews, &other, &server).await, "token_rejected");
    assert_eq!(server.asked(), 2);
    for token in [&one, &other] {
        pass(&reviews, token, 20 * SECOND);
    }
    assert_eq!(verify(&reviews, &one, &server).await, "good");
    assert_eq!(verify(&reviews, &other, &server).await, "not asked");
    assert_eq!(verify(&reviews, &other, &server).await, "not asked");
    assert_eq!(server.asked(), 4, "no failure is remembered");
    pass(&reviews, &one, 40 * SECOND);
    assert_eq!(verify(&reviews, &one, &server).await, "not asked");
    server.now_says(bad());
    assert_eq!(verify(&reviews, &one, &server).await, "token_rejected");
    pass(&reviews, &one, 20 * SECOND);
    server.now_says(good());
    assert_eq!(verify(&reviews, &one, &server).await, "good");
    assert_eq!(verify(&reviews, &one, &server).await, "good");
    assert_eq!(server.asked(), 7);
}

#[tokio::test]
async fn nothing_counts_beyond_the_end_of_the_token() {
    let (reviews, server) = (made(review()), Server::says(good()));
    let mut claims = claims();
    claims["exp"] = json!(seconds_now() + 30);
    let brief = token(&claims, "signature");
    assert_eq!(verify(&reviews, &brief, &server).await, "good");
    // Within `clockSkew` it is for the API server to say whether it is over.
    server.now_says(bad());
    for (later, expected) in [
        (0, Ok(())),
        (31, Err(TokenError::Rejected.into())),
        (41, Err(TokenError::Expired.into())),
    ] {
        let at = SystemTime::now() + Duration::from_secs(later);
        let judged = reviews.verify(&brief, at, &server, &metrics()).await;
        assert_eq!(judged.map(|_| ()), expected, "{later}");
        reviews.refused.clear();
    }
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn of_one_token_there_is_one_question_and_of_all_few() {
    let server = Server::says(good());
    let reviews = made(review());
    let one = token(&claims(), "one");
    let many = futures_util::future::join_all((0..50).map(|_| verify(&reviews, &one, &server)));
    assert!(many.await.into_iter().all(|found| found == "good"));
    assert_eq!(server.asked(), 1);
    let reviews = made(TokenReview {
        cache_time: Duration::ZERO,
        ..review()
    });
    let tokens: Vec<_> = (0..20).map(|n| token(&claims(), &n.to_string())).collect();
    let all = || async {
        let all = tokens.iter().map(|token| verify(&reviews, token, &server));
        let all = futures_util::future::join_all(all).await;
        assert!(all.into_iter().all(|found| found == "good"));
        server.most_at_once.swap(0, Ordering::Relaxed)
    };
    server.most_at_once.store(0, Ordering::Relaxed);
    assert_eq!(all().await, 2, "strangers have half of the turns");
    assert_eq!(all().await, 4, "those that were good before have all");
    assert_eq!(server.asked(), 41);
    // One failure is that of all who waited for it.
    server.now_says(None);
    let many = futures_util::future::join_all((0..50).map(|_| verify(&reviews, &one, &server)));
    assert!(many.await.into_iter().all(|found| found == "not asked"));
    assert_eq!(server.asked(), 42);
    assert!(lock(&reviews.questions).is_empty());
}

#[tokio::test]
async fn a_flood_of_strangers_neither_makes_others_wait_nor_forgotten() {
    let server = Server::says(good());
    let reviews = made(TokenReview {
        cache_time: Duration::ZERO,
        cache_entries: 10,
        ..review()
    });
    let known = token(&claims(), "known");
    assert_eq!(verify(&reviews, &known, &server).await, "good");
    server.now_says(bad());
    for n in 0..100 {
        let made_up = token(&claims(), &n.to_string());
        assert_eq!(verify(&reviews, &made_up, &server).await, "token_rejected");
    }
    assert!(reviews.refused.len() <= 10, "{}", reviews.refused.len());
    // All their turns are taken, and nobody answers.
    *server.waits.lock().unwrap() = true;
    let (reviews, server) = (Arc::new(reviews), Arc::new(server));
    let flood: Vec<_> = (100..200)
        .map(|n| {
            let (reviews, server) = (Arc::clone(&reviews), Arc::clone(&server));
            tokio::spawn(async move {
                verify(&reviews, &token(&claims(), &n.to_string()), &server).await
            })
        })
        .collect();
    while server.at_once.load(Ordering::Relaxed) < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    let asked = server.asked();
    let one = {
        let (reviews, server) = (Arc::clone(&reviews), Arc::clone(&server));
        tokio::spawn(async move { verify(&reviews, &known, &server).await })
    };
    while server.asked() == asked {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.at_once.load(Ordering::Relaxed), 3);
    // Who goes away takes his question along, and nothing is kept of it.
    for task in flood {
        task.abort();
        let _ = task.await;
    }
    server.now_says(good());
    *server.waits.lock().unwrap() = false;
    assert_eq!(one.await.expect("it ends"), "good");
    assert!(lock(&reviews.questions).is_empty());
    assert_eq!(reviews.turns.available_permits(), 4);
}

#[tokio::test]
async fn who_has_no_answer_in_time_is_refused_and_the_next_one_asks_again() {
    let server = Server::says(good());
    *server.waits.lock().unwrap() = true;
    let reviews = made(TokenReview {
        timeout: SECOND / 2,
        ..review()
    });
    let one = token(&claims(), "one");
    let (first, second) = tokio::join!(verify(&reviews, &one, &server), async {
        sleep(SECOND / 4).await;
        let found = verify(&reviews, &one, &server);
        let released = async {
            while server.asked() < 2 {
                sleep(Duration::from_millis(5)).await;
            }
            *server.waits.lock().unwrap() = false;
        };
        tokio::join!(found, released).0
    });
    assert_eq!((first, second), ("not asked", "good"));
    assert!(lock(&reviews.questions).is_empty());
    assert!(format!("{reviews:?}").contains("portcullis"));
}
