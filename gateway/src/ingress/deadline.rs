//! Work that must be done by a time.

use std::{future::Future, time::Instant};

/// The time for some work is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over;

/// Does some work, until `deadline` where there is one.
pub(super) async fn by<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = T>,
) -> Result<T, Over> {
    match deadline {
        None => Ok(work.await),
        Some(at) => tokio::time::timeout_at(at.into(), work)
            .await
            .map_err(|_| Over),
    }
}

/// The earlier of two deadlines.
pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
