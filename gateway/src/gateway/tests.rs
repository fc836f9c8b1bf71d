use std::{
    sync::atomic::AtomicUsize,
    time::{Duration, Instant},
};

use portcullis_config::{
    problem::Origin,
    read::{Read, SourceFile},
};
use tokio::sync::Notify;

use super::*;
use crate::{admin::AdminView, files::Contents, source::Settings};

const SETTINGS: &str = "\
listeners: [{name: http, protocol: http, address: '127.0.0.1:0'}]
management: {address: '127.0.0.1:0'}
admin: {address: '127.0.0.1:0'}
";

/// How settings are not to be had.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Refused,
    Panic,
}

/// Objects whose settings cannot be had for some loads, and nobody tells when they can.
#[derive(Debug)]
struct Objects {
    fault: Fault,
    faults: usize,
    loads: AtomicUsize,
    changes: Notify,
}

impl crate::source::Objects for Objects {
    fn settings(&self) -> Result<Settings, Vec<Problem>> {
        // The first is that of the start.
        let load = self.loads.fetch_add(1, Ordering::Relaxed);
        if (1..=self.faults).contains(&load) {
            match self.fault {
                Fault::Refused => {
                    let problem = Problem::error(Origin::Internal, "", "too many open files");
                    return Err(vec![problem]);
                }
                Fault::Panic => panic!("a fault of the gateway, for a test"),
            }
        }
        Ok(Settings {
            documents: vec![SourceFile {
                name: "settings".to_owned(),
                text: SETTINGS.to_owned(),
            }],
            ..Settings::default()
        })
    }

    fn translate(&self, _: &mut Read) -> Contents {
        Contents::default()
    }

    fn are_known(&self) -> bool {
        self.loads.load(Ordering::Relaxed) > 0
    }

    fn changes(&self) -> &Notify {
        &self.changes
    }

    fn tell(&self, _: &[Problem]) {}

    fn unready(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn recovers(fault: Fault, reason: &str) {
    let objects = Arc::new(Objects {
        fault,
        faults: 2,
        loads: AtomicUsize::new(0),
        changes: Notify::new(),
    });
    let gateway = Gateway::start(GatewayOptions {
        objects: Some(Arc::clone(&objects) as _),
        ..GatewayOptions::default()
    })
    .expect("it starts");
    let metric = |line: &str| gateway.metrics().lines().any(|known| known == line);
    let refused_once = || metric("portcullis_reloads_total{outcome=\"refused\"} 1");

    until("the refusal", refused_once).await;
    assert!(!gateway.unready().is_empty(), "nothing has served yet");
    let problems = gateway.problems().to_string();
    assert!(problems.contains(reason), "{problems}");
    assert_eq!(objects.loads.load(Ordering::Relaxed), 2);

    // Nobody tells of a change.
    until("a second try", || {
        objects.loads.load(Ordering::Relaxed) == 3
    })
    .await;
    until("a third try", || objects.loads.load(Ordering::Relaxed) == 4).await;
    until("it serves", || gateway.unready().is_empty()).await;
    assert!(refused_once(), "it is told once");
    assert!(metric("portcullis_config_stale_since_timestamp_seconds 0"));
    assert!(!gateway.problems().to_string().contains(reason));
    let due = tokio::time::timeout(Duration::from_millis(100), gateway.inner.retry.due());
    assert!(due.await.is_err(), "there is nothing to try again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_for_a_reason_that_passes_is_tried_again() {
    tokio::join!(
        recovers(Fault::Refused, "too many open files"),
        recovers(Fault::Panic, "loading the configuration broke off"),
    );
}
