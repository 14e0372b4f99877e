//! Counters of the front door, as Prometheus text. Source: rest-api.md section 12.3.
//!
//! A request costs two increments: its series is found by index, and made when first needed.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::operation::Operation;

/// Upper bounds of the latency buckets, in milliseconds.
const BUCKETS_MS: [u64; 13] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

const STATUSES: [u16; 29] = [
    200, 201, 202, 204, 206, 301, 302, 304, 400, 401, 403, 404, 405, 406, 408, 409, 411, 412, 413,
    415, 416, 499, 500, 501, 503, 507, 597, 599, 0,
];

const METHODS: [&str; 6] = ["GET", "LIST", "HEAD", "PUT", "DELETE", "POST"];

#[derive(Debug)]
pub(crate) struct Metrics {
    /// By operation, method and status.
    series: Box<[OnceLock<Box<Series>>]>,
    pub(crate) inbound_bytes: AtomicU64,
    pub(crate) outbound_bytes: AtomicU64,
    pub(crate) deleted_bytes: AtomicU64,
    pub(crate) deleted_objects: AtomicU64,
    pub(crate) deleted_directories: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) copies_failed_on_read: AtomicU64,
    pub(crate) copies_failed_on_write: AtomicU64,
    /// Of parts, because they were not in the chain of MD5 states.
    pub(crate) multipart_bytes_read_at_commit: AtomicU64,
    pub(crate) multipart_uploads_collected: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) signatures_verified: AtomicU64,
    pub(crate) signatures_from_cache: AtomicU64,
    pub(crate) uploads: AtomicU64,
}

#[derive(Debug, Default)]
struct Series {
    completed: AtomicU64,
    latency_us: AtomicU64,
    buckets: [AtomicU64; BUCKETS_MS.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        let count = Operation::COUNT * METHODS.len() * STATUSES.len();
        Self {
            series: (0..count).map(|_| OnceLock::new()).collect(),
            inbound_bytes: AtomicU64::new(0),
            outbound_bytes: AtomicU64::new(0),
            deleted_bytes: AtomicU64::new(0),
            deleted_objects: AtomicU64::new(0),
            deleted_directories: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
            handshakes_failed: AtomicU64::new(0),
            copies_failed_on_read: AtomicU64::new(0),
            copies_failed_on_write: AtomicU64::new(0),
            multipart_bytes_read_at_commit: AtomicU64::new(0),
            multipart_uploads_collected: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            signatures_verified: AtomicU64::new(0),
            signatures_from_cache: AtomicU64::new(0),
            uploads: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// `method` is the billable operation, `latency` the time to the first byte of the answer.
    pub(crate) fn completed(
        &self,
        operation: Operation,
        method: &str,
        status: u16,
        latency: Duration,
    ) {
        let method = METHODS.iter().position(|m| *m == method).unwrap_or(0);
        let status = STATUSES
            .iter()
            .position(|s| *s == status)
            .unwrap_or(STATUSES.len() - 1);
        let index = (operation.index() * METHODS.len() + method) * STATUSES.len() + status;
        let Some(series) = self.series.get(index) else {
            return;
        };
        let series = series.get_or_init(Box::default);
        series.completed.fetch_add(1, Relaxed);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        series.latency_us.fetch_add(micros, Relaxed);
        if let Some(at) = BUCKETS_MS.iter().position(|bound| micros <= bound * 1000) {
            series.buckets[at].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn render(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# TYPE http_requests_completed counter");
        self.each(|labels, series| {
            let count = series.completed.load(Relaxed);
            let _ = writeln!(out, "http_requests_completed{{{labels}}} {count}");
        });
        let _ = writeln!(out, "# TYPE http_request_latency_ms histogram");
        self.each(|labels, series| {
            let mut sum = 0;
            for (bucket, bound) in series.buckets.iter().zip(BUCKETS_MS) {
                sum += bucket.load(Relaxed);
                let _ = writeln!(
                    out,
                    "http_request_latency_ms_bucket{{{labels},le=\"{bound}\"}} {sum}"
                );
            }
            let count = series.completed.load(Relaxed);
            let _ = writeln!(
                out,
                "http_request_latency_ms_bucket{{{labels},le=\"+Inf\"}} {count}"
            );
            let total = series.latency_us.load(Relaxed);
            let (whole, part) = (total / 1000, total % 1000);
            let _ = writeln!(
                out,
                "http_request_latency_ms_sum{{{labels}}} {whole}.{part:03}"
            );
            let _ = writeln!(out, "http_request_latency_ms_count{{{labels}}} {count}");
        });
        for (name, kind, value) in [
            (
                "muskie_inbound_streamed_bytes",
                "counter",
                &self.inbound_bytes,
            ),
            (
                "muskie_outbound_streamed_bytes",
                "counter",
                &self.outbound_bytes,
            ),
            ("muskie_deleted_bytes", "counter", &self.deleted_bytes),
            (
                "muskie_deleted_objects_total",
                "counter",
                &self.deleted_objects,
            ),
            (
                "muskie_deleted_directories_total",
                "counter",
                &self.deleted_directories,
            ),
            ("muskie_connections", "gauge", &self.connections),
            (
                "muskie_connections_refused_total",
                "counter",
                &self.connections_refused,
            ),
            (
                "muskie_handshakes_failed_total",
                "counter",
                &self.handshakes_failed,
            ),
            (
                "muskie_copies_failed_on_read_total",
                "counter",
                &self.copies_failed_on_read,
            ),
            (
                "muskie_copies_failed_on_write_total",
                "counter",
                &self.copies_failed_on_write,
            ),
            (
                "muskie_multipart_bytes_read_at_commit_total",
                "counter",
                &self.multipart_bytes_read_at_commit,
            ),
            (
                "muskie_multipart_uploads_collected_total",
                "counter",
                &self.multipart_uploads_collected,
            ),
            ("muskie_panics_total", "counter", &self.panics),
            (
                "muskie_signatures_verified_total",
                "counter",
                &self.signatures_verified,
            ),
            (
                "muskie_signatures_from_cache_total",
                "counter",
                &self.signatures_from_cache,
            ),
            ("muskie_uploads", "gauge", &self.uploads),
        ] {
            let _ = writeln!(out, "# TYPE {name} {kind}\n{name} {}", value.load(Relaxed));
        }
    }

    fn each(&self, mut visit: impl FnMut(&str, &Series)) {
        for (index, series) in self.series.iter().enumerate() {
            let Some(series) = series.get() else { continue };
            let status = STATUSES[index % STATUSES.len()];
            let index = index / STATUSES.len();
            let method = METHODS[index % METHODS.len()];
            let operation = Operation::name_of(index / METHODS.len());
            let labels =
                format!("operation=\"{operation}\",method=\"{method}\",statusCode=\"{status}\"");
            visit(&labels, series);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_under_its_labels() {
        let metrics = Metrics::default();
        metrics.completed(Operation::GetJob, "GET", 200, Duration::from_micros(1500));
        metrics.completed(Operation::GetJob, "GET", 200, Duration::from_secs(60));
        metrics.completed(Operation::CreateJob, "POST", 777, Duration::ZERO);
        let mut text = String::new();
        metrics.render(&mut text);
        let labels = "operation=\"getjob\",method=\"GET\",statusCode=\"200\"";
        for line in [
            format!("http_requests_completed{{{labels}}} 2"),
            format!("http_request_latency_ms_bucket{{{labels},le=\"1\"}} 0"),
            format!("http_request_latency_ms_bucket{{{labels},le=\"2\"}} 1"),
            format!("http_request_latency_ms_bucket{{{labels},le=\"+Inf\"}} 2"),
            format!("http_request_latency_ms_sum{{{labels}}} 60001.500"),
            "http_requests_completed{operation=\"createjob\",method=\"POST\",statusCode=\"0\"} 1"
                .to_owned(),
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
