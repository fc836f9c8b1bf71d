//! Connections as they are counted.

use pingora::protocols::Stream;
use prometheus::IntGauge;

/// That a connection is open, until this is dropped.
#[derive(Debug)]
pub(crate) struct Open(IntGauge);

impl Open {
    /// Counts one more.
    pub(crate) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A stream that counts as open.
#[derive(Debug)]
pub(crate) struct OpenStream {
    /// The stream.
    pub(crate) stream: Stream,
    /// That it is open.
    pub(crate) open: Open,
}
