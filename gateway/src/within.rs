//! Work that is mostly done at once, within a time.

use std::{
    future::{Future, Pending, pending, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

/// Does some work; `None` when it takes longer than `limit`.
///
/// The clock is looked at only where the work has to wait, and there as cheaply as
/// pingora's timers can: the time may be some milliseconds longer.
pub(crate) async fn within<W: Future>(limit: Duration, mut work: Pin<&mut W>) -> Option<W::Output> {
    let mut alarm = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if alarm.is_none() {
            let never: Pending<()> = pending();
            alarm.set(Some(pingora_timeout::timeout(limit, never)));
        }
        match alarm.as_mut().as_pin_mut().map(|alarm| alarm.poll(cx)) {
            Some(Poll::Ready(_)) => Poll::Ready(None),
            _ => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{future::ready, pin::pin, time::Duration};

    use super::within;

    #[tokio::test]
    async fn work_has_its_time_and_no_more() {
        let at_once = within(Duration::ZERO, pin!(ready(1))).await;
        assert_eq!(at_once, Some(1));
        let slow = pin!(tokio::time::sleep(Duration::from_secs(60)));
        assert_eq!(within(Duration::from_millis(10), slow).await, None);
        let quick = pin!(tokio::time::sleep(Duration::from_millis(10)));
        assert_eq!(within(Duration::from_secs(60), quick).await, Some(()));
    }
}
