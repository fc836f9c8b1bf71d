use std::sync::Arc;

use super::{Change, Collection, CollectionLimits, Collections, OpenCollections};

fn value(open: &OpenCollections, name: &str) -> Option<String> {
    let mut values = open.values(Collection::Ip);
    let found = values.find(|(known, _)| known.as_slice() == name.as_bytes());
    found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
}

fn opened(store: &Arc<Collections>, key: &str, now: u64) -> OpenCollections {
    let mut open = OpenCollections::new(Some(store.clone()));
    open.open(Collection::Ip, key.into(), now, 100);
    open
}

#[test]
fn two_transactions_count_the_same_record() {
    let store = Arc::new(Collections::default());
    let (mut first, mut second) = (opened(&store, "a", 0), opened(&store, "a", 0));
    assert_eq!(value(&first, "is_new").as_deref(), Some("1"));
    first.change(Collection::Ip, b"n", &Change::Add(1), 0);
    second.change(Collection::Ip, b"n", &Change::Add(2), 1);
    assert_eq!(value(&second, "n").as_deref(), Some("3"));
    assert_eq!(
        value(&opened(&store, "a", 2), "is_new").as_deref(),
        Some("0")
    );
    assert_eq!(value(&opened(&store, "b", 2), "n"), None);
}

#[test]
fn what_is_not_open_does_not_change() {
    let mut open = OpenCollections::default();
    open.change(Collection::Ip, b"n", &Change::Add(1), 0);
    assert_eq!(value(&open, "n"), None);
}

#[test]
fn records_and_variables_go_when_their_time_is_over() {
    let store = Arc::new(Collections::default());
    let mut open = opened(&store, "a", 0);
    open.change(Collection::Ip, b"n", &Change::Set(b"10".to_vec()), 0);
    open.change(Collection::Ip, b"m", &Change::Set(b"1".to_vec()), 0);
    open.change(Collection::Ip, b"m", &Change::Expire(50), 0);
    assert_eq!(value(&opened(&store, "a", 49), "m").as_deref(), Some("1"));
    assert_eq!(value(&opened(&store, "a", 50), "m"), None);
    let fading = Change::Deprecate { by: 2, seconds: 20 };
    open.change(Collection::Ip, b"n", &fading, 60);
    assert_eq!(value(&open, "n").as_deref(), Some("4"));
    assert_eq!(value(&opened(&store, "a", 159), "n").as_deref(), Some("4"));
    assert_eq!(value(&opened(&store, "a", 160), "n"), None);
}

#[test]
fn a_record_keeps_the_timeout_that_a_rule_sets() {
    let store = Arc::new(Collections::default());
    let mut open = opened(&store, "a", 0);
    open.change(Collection::Ip, b"n", &Change::Add(1), 0);
    open.change(
        Collection::Ip,
        b"timeout",
        &Change::Set(b"1000".to_vec()),
        0,
    );
    assert_eq!(value(&opened(&store, "a", 999), "n").as_deref(), Some("1"));
    assert_eq!(value(&opened(&store, "a", 1000), "n"), None);
}

#[test]
fn clients_cannot_make_the_store_grow() {
    let limits = CollectionLimits {
        max_collection_bytes: 64 << 10,
        max_record_bytes: 200,
    };
    let store = Arc::new(Collections::new(limits));
    let mut session = OpenCollections::new(Some(store.clone()));
    session.open(Collection::Session, b"s".to_vec(), 0, 10_000);
    session.change(Collection::Session, b"n", &Change::Add(1), 0);
    for client in 0..1000 {
        opened(&store, &client.to_string(), client);
    }
    assert_eq!(store.len(), 1, "what is only looked at is not kept");
    for client in 0..1000 {
        let mut open = opened(&store, &client.to_string(), client);
        open.change(Collection::Ip, b"n", &Change::Add(1), client);
    }
    let most = (64 << 10) / 256;
    assert!((most / 4..=most).contains(&store.len()), "{}", store.len());
    assert_eq!(
        value(&opened(&store, "999", 999), "n").as_deref(),
        Some("1")
    );
    assert_eq!(value(&opened(&store, "5", 999), "n"), None);
    // Those of other collections are not touched.
    let mut session = OpenCollections::new(Some(store.clone()));
    session.open(Collection::Session, b"s".to_vec(), 999, 10_000);
    assert_eq!(session.values(Collection::Session).count(), 8);
    let mut open = opened(&store, &"k".repeat(100_000), 1000);
    for name in 0..100_u8 {
        let bytes = Change::Set(vec![b'x'; 10]);
        open.change(Collection::Ip, &[b'a', name], &bytes, 1000);
    }
    open.change(
        Collection::Ip,
        b"long",
        &Change::Set(vec![b'y'; 1000]),
        1000,
    );
    assert_eq!(value(&open, "long").map(|value| value.len()), Some(132));
    assert_eq!(value(&open, "a\u{1}"), None);
}
