//! Endpoints that fail are left out.

use std::{sync::Arc, time::Duration};

use crate::snapshot::{CompiledBackend, EndpointState};

/// Notes a failure of an endpoint, and tells where it is left out for it.
pub(crate) fn blame(backend: &CompiledBackend, endpoint: Arc<EndpointState>) {
    let Some(time) = backend.failed(&endpoint) else {
        return;
    };
    tracing::warn!(
        backend = %backend.backend.name,
        endpoint = %endpoint.address,
        seconds = time.as_secs_f64(),
        "endpoint left out for its failures"
    );
    tokio::spawn(async move {
        tokio::time::sleep(time + Duration::from_millis(1)).await;
        // Its metric tells of the end, also where nobody asks for it.
        endpoint.is_ejected();
    });
}
