//! File descriptors: the process may have so many, and each connection and each session
//! of datagrams takes one or two.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use portcullis_config::model::{ListenerProtocol, Model};

/// Those that listeners, files and logs take.
const OWN: u64 = 256;

/// Raises the limit to what the process may set by itself.
pub(crate) fn raise() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of file descriptors stays as it is");
    }
}

/// Tells where the limit is lower than what a model may take, once for each such number.
pub(crate) fn tell(model: &Model) {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    static TOLD: AtomicU64 = AtomicU64::new(0);
    let wanted = wanted(model);
    if limit < wanted && TOLD.swap(wanted, Ordering::Relaxed) != wanted {
        tracing::warn!(
            limit,
            wanted,
            "the limit of file descriptors is lower than what listeners may open"
        );
    }
}

/// What a model may take: each connection of a client one, and one to a backend, and each
/// session of datagrams one.
fn wanted(model: &Model) -> u64 {
    let is_udp = |protocol| protocol == ListenerProtocol::Udp;
    let (datagrams, connections): (Vec<_>, Vec<_>) = model
        .listeners
        .iter()
        .partition(|listener| is_udp(listener.protocol));
    let connections = connections.iter();
    let connections: u64 = connections
        .map(|listener| u64::from(listener.limits.max_connections))
        .sum();
    let sessions = match datagrams.is_empty() {
        true => 0,
        false => u64::from(model.process.max_udp_sessions),
    };
    let pipes = 2 * u64::from(model.process.max_relay_pipes);
    OWN + 2 * connections + sessions + pipes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_may_be_set() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("it is known");
        // Still enough for the tests beside this one.
        setrlimit(Resource::RLIMIT_NOFILE, hard - 1, hard).expect("it is lowered");
        raise();
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("it is known");
        assert_eq!(soft, hard);
    }
}
