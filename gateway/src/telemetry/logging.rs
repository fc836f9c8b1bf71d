//! The log on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Environment variable with the filter, as `info` or `portcullis=debug`.
const FILTER: &str = "PORTCULLIS_LOG";

/// pingora logs each broken client connection as an error; the access log has it. What fails
/// at the API server we tell ourselves, once.
const DEFAULT_FILTER: &str = "info,pingora_core=off,pingora_proxy=off,hickory_resolver=error,hickory_proto=error,kube_client=off";

/// Form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Starts logging to standard error; standard output belongs to the access and
/// audit logs. The filter is the argument, else `PORTCULLIS_LOG`, else `info`.
pub fn init_logging(format: LogFormat, filter: Option<&str>) {
    let from_environment = std::env::var(FILTER).ok();
    let text = filter
        .or(from_environment.as_deref())
        .unwrap_or(DEFAULT_FILTER);
    let (filter, refused) = match EnvFilter::try_new(text) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
    };
    let registry = tracing_subscriber::registry().with(filter);
    // A second call keeps the first subscriber; only tests make one.
    let _ = match format {
        LogFormat::Json => registry
            .with(fmt::layer().json().with_writer(std::io::stderr))
            .try_init(),
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal();
            registry
                .with(
                    fmt::layer()
                        .with_ansi(colour)
                        .with_target(false)
                        .with_writer(std::io::stderr),
                )
                .try_init()
        }
    };
    if let Some(error) = refused {
        tracing::warn!(%error, filter = text, "log filter refused, using the default");
    }
}
