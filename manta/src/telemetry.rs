//! Logs: to stderr, for people when it is a terminal, as JSON lines otherwise. The filter comes from
//! `MANTA_LOG` (syntax of `tracing_subscriber::EnvFilter`).
//!
//! Audit records (target `audit`, or below it) are JSON documents already, and are written as they are.

use std::fmt;
use std::io::IsTerminal;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer, format};
use tracing_subscriber::fmt::{FmtContext, fmt};
use tracing_subscriber::registry::LookupSpan;

/// Begins logging with `default` as the filter when `MANTA_LOG` says nothing.
pub(crate) fn start(default: &str) {
    let filter = EnvFilter::try_from_env("MANTA_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that a subscriber is set already, as in a test.
    let _ = if std::io::stderr().is_terminal() {
        builder
            .event_format(AuditVerbatim(format().compact()))
            .try_init()
    } else {
        let json = format().json().flatten_event(true);
        builder
            .fmt_fields(tracing_subscriber::fmt::format::JsonFields::new())
            .event_format(AuditVerbatim(json))
            .try_init()
    };
}

struct AuditVerbatim<F>(F);

impl<S, N, F> FormatEvent<S, N> for AuditVerbatim<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let target = event.metadata().target();
        if target != "audit" && !target.starts_with("audit::") {
            return self.0.format_event(ctx, writer, event);
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        writeln!(writer, "{}", message.0)
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
