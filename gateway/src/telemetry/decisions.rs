//! Decisions as they are made, for whoever watches: the demo's terminal today.

use tokio::sync::broadcast;

/// Decisions kept for a watcher that is behind.
const BACKLOG: usize = 1024;

/// One decision, in words.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Whether it is about traffic into the cluster.
    pub inbound: bool,
    /// Whether the traffic passed.
    pub allowed: bool,
    /// Status sent.
    pub status: u16,
    /// What was asked for.
    pub subject: String,
    /// Why it was decided so.
    pub reason: String,
    /// Id of the request or connection.
    pub request_id: String,
}

/// A channel of decisions. Clones are the same channel.
#[derive(Clone, Debug)]
pub struct Decisions {
    channel: broadcast::Sender<Decision>,
}

impl Default for Decisions {
    fn default() -> Self {
        Self {
            channel: broadcast::channel(BACKLOG).0,
        }
    }
}

impl Decisions {
    /// Watches from now on.
    pub fn watch(&self) -> broadcast::Receiver<Decision> {
        self.channel.subscribe()
    }

    /// Tells whether anybody watches.
    pub fn is_watched(&self) -> bool {
        self.channel.receiver_count() > 0
    }

    /// Tells a decision, which is put into words only where somebody watches.
    pub fn tell(&self, decision: impl FnOnce() -> Decision) {
        if self.is_watched() {
            // The last watcher may have left in between.
            let _ = self.channel.send(decision());
        }
    }
}
