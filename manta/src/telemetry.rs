//! Logs: to stderr, for people when it is a terminal, as JSON lines otherwise. The filter comes from
//! `MANTA_LOG` (syntax of `tracing_subscriber::EnvFilter`).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Begins logging with `default` as the filter when `MANTA_LOG` says nothing.
pub(crate) fn start(default: &str) {
    let filter = EnvFilter::try_from_env("MANTA_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(true);
    // An error means that a subscriber is set already, as in a test.
    let _ = if std::io::stderr().is_terminal() {
        builder.compact().try_init()
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_ansi(false)
            .try_init()
    };
}
