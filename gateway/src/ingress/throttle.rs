//! How fast a response is sent.

use std::time::{Duration, Instant};

use bytes::Bytes;
use portcullis_config::model::ResponseBandwidth;

use super::{
    RequestContext, Session,
    client::{self, Gone},
};

/// Parts of a second in which bytes are sent: small enough that a client sees a stream.
const PARTS_OF_SECOND: u64 = 10;

/// The bandwidth of one response.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: u64,
    /// Bytes that go out at full speed still.
    free: u64,
    /// When the next may be sent.
    due: Instant,
}

impl Throttle {
    /// Begins a response; `None` without a limit.
    pub(super) fn new(limit: &ResponseBandwidth) -> Option<Box<Self>> {
        (limit.rate > 0).then(|| {
            Box::new(Self {
                rate: limit.rate,
                free: limit.after,
                due: Instant::now(),
            })
        })
    }

    /// Takes leave to send some of so many bytes; tells how many, and after which wait.
    fn take(&mut self, wanted: usize, now: Instant) -> (usize, Duration) {
        if self.free > 0 {
            let taken = self.free.min(wanted as u64);
            self.free -= taken;
            return (taken as usize, Duration::ZERO);
        }
        let part = (self.rate / PARTS_OF_SECOND).max(1);
        let taken = part.min(wanted as u64);
        let wait = self.due.saturating_duration_since(now);
        // A backend that pauses saves nothing up.
        self.due = self.due.max(now) + Duration::from_secs_f64(taken as f64 / self.rate as f64);
        (taken as usize, wait)
    }
}

/// Writes a part of a response body, no faster than it may go.
pub(super) async fn write_body(
    session: &mut Session,
    ctx: &mut RequestContext,
    mut bytes: Bytes,
    end: bool,
) -> Result<(), Gone> {
    let Some(throttle) = &mut ctx.throttle else {
        return client::write_body(session, bytes, end).await;
    };
    loop {
        let (taken, wait) = throttle.take(bytes.len(), Instant::now());
        if !wait.is_zero() {
            rest(session, wait).await?;
        }
        let part = bytes.split_to(taken);
        let last = bytes.is_empty();
        client::write_body(session, part, end && last).await?;
        if last {
            return Ok(());
        }
    }
}

/// Waits; a client that goes away meanwhile ends its response.
async fn rest(session: &mut Session, time: Duration) -> Result<(), Gone> {
    let is_read = session.is_body_done();
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        gone = client::next_part(session, true, None), if is_read => {
            Err(gone.err().unwrap_or(Gone::Closed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds that a body takes, and the most bytes that one part had.
    fn time(rate: u64, after: u64, body: usize) -> (f64, usize) {
        let mut throttle = Throttle::new(&ResponseBandwidth { rate, after }).expect("a limit");
        let (start, mut left, mut most) = (throttle.due, body, 0);
        let mut now = start;
        while left > 0 {
            let (taken, wait) = throttle.take(left, now);
            now += wait;
            left -= taken;
            most = most.max(taken);
        }
        ((now - start).as_secs_f64(), most)
    }

    #[test]
    fn a_body_takes_the_time_of_its_rate() {
        for (rate, after, body, seconds, most) in [
            // The last tenth of a second has nothing behind it to wait for.
            (1000, 0, 1000, 0.9, 100),
            (1000, 500, 1000, 0.4, 500),
            (1000, 1000, 1000, 0.0, 1000),
            (1000, 5000, 1000, 0.0, 1000),
            (3, 0, 3, 2.0 / 3.0, 1),
            (1 << 30, 0, 1 << 20, 0.0, 1 << 20),
        ] {
            let (took, part) = time(rate, after, body);
            assert!(
                (took - seconds).abs() < 0.001,
                "{rate} {after} {body}: {took}"
            );
            assert_eq!(part, most, "{rate} {after} {body}");
        }
        assert!(Throttle::new(&ResponseBandwidth::default()).is_none());
    }

    #[test]
    fn a_pause_saves_nothing_up() {
        let limit = ResponseBandwidth {
            rate: 1000,
            after: 0,
        };
        let mut throttle = Throttle::new(&limit).expect("a limit");
        let later = throttle.due + Duration::from_secs(60);
        assert_eq!(throttle.take(1000, later), (100, Duration::ZERO));
        assert_eq!(throttle.take(900, later), (100, Duration::from_millis(100)));
    }
}
