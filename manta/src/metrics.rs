//! `/metrics` of the whole store: what the services behind the front end count, as Prometheus text.

use std::fmt::Write;
use std::sync::Arc;

use electric_moray::{Router, Stats};
use libmanta::mako::Shark;
use libmanta::moray::shard::Shard as _;
use libmanta::triton::Zones;
use libmanta::{Clock, Timestamp};

/// Whom to ask.
pub(crate) struct Sources {
    pub(crate) shards: Vec<Arc<moray::Shard>>,
    pub(crate) router: Arc<Router>,
    pub(crate) nodes: Vec<Arc<mako::Store>>,
    pub(crate) collector: Arc<mako::Collector>,
    pub(crate) marlin: Arc<marlin::Service>,
    pub(crate) zones: Option<Arc<triton::Host>>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Appends the figures of `sources`, as they are at each call.
pub(crate) fn exporter(sources: Sources) -> Box<dyn Fn(&mut String) + Send + Sync> {
    Box::new(move |out| {
        metadata(out, &sources.shards);
        upkeeper(out, sources.router.stats(), sources.clock.now());
        storage(out, &sources.nodes);
        collector(out, &sources.collector);
        jobs(out, &sources.marlin);
        if let Some(zones) = &sources.zones {
            let stats = zones.stats();
            let by_state = [
                ("uninit", stats.uninit),
                ("ready", stats.ready),
                ("busy", stats.busy),
                ("disabled", stats.disabled),
            ];
            head(out, "manta_zones", "gauge", "zones by state");
            for (state, count) in by_state {
                sample(out, "manta_zones", &[("state", state)], count as u64);
            }
            head(
                out,
                "manta_zone_resets_total",
                "counter",
                "zones thrown away after use",
            );
            sample(out, "manta_zone_resets_total", &[], stats.resets);
            reset_times(out, zones.reset_times());
        }
    })
}

fn metadata(out: &mut String, shards: &[Arc<moray::Shard>]) {
    type Read = fn(&moray::Stats) -> u64;
    let counters: [(&str, &str, &str, Read); 6] = [
        ("operations_total", "counter", "changes executed", |s| {
            moray::Stats::get(&s.operations)
        }),
        (
            "commits_total",
            "counter",
            "transactions made durable",
            |s| moray::Stats::get(&s.commits),
        ),
        (
            "commits_failed_total",
            "counter",
            "transactions that could not be made durable",
            |s| moray::Stats::get(&s.commits_failed),
        ),
        (
            "checkpoints_total",
            "counter",
            "checkpoints of the log",
            |s| moray::Stats::get(&s.checkpoints),
        ),
        ("queued", "gauge", "changes that wait for the writer", |s| {
            moray::Stats::get(&s.queued)
        }),
        ("down", "gauge", "1 while changes are refused", |s| {
            moray::Stats::get(&s.down)
        }),
    ];
    for (name, kind, help, read) in counters {
        let name = format!("moray_{name}");
        head(out, &name, kind, help);
        for shard in shards {
            sample(out, &name, &[("shard", shard.name())], read(shard.stats()));
        }
    }
}

fn upkeeper(out: &mut String, stats: &Stats, now: Timestamp) {
    let oldest = stats.oldest_errand().map(|logged| now.since(logged));
    let figures = [
        (
            "objects_promoted_total",
            "counter",
            "links and renames that promoted their object",
            Stats::get(&stats.objects_promoted),
        ),
        (
            "errands_run_total",
            "counter",
            "errands of links and renames that were run",
            Stats::get(&stats.errands_run),
        ),
        (
            "errand_oldest_age_seconds",
            "gauge",
            "how long the oldest errand waits; 0 without one",
            oldest.unwrap_or_default().as_secs(),
        ),
        (
            "references_audited_total",
            "counter",
            "references to objects looked after",
            Stats::get(&stats.references_audited),
        ),
        (
            "references_removed_total",
            "counter",
            "references that a crash left behind, removed",
            Stats::get(&stats.references_removed),
        ),
    ];
    for (name, kind, help, value) in figures {
        let name = format!("upkeeper_{name}");
        head(out, &name, kind, help);
        sample(out, &name, &[], value);
    }
}

fn storage(out: &mut String, nodes: &[Arc<mako::Store>]) {
    type Read = fn(&mako::Store) -> u64;
    let counters: [(&str, &str, &str, Read); 10] = [
        (
            "copies_written_total",
            "counter",
            "copies made durable",
            |n| n.stats().copies_written.get(),
        ),
        ("copies_deleted_total", "counter", "copies unlinked", |n| {
            n.stats().copies_deleted.get()
        }),
        (
            "bytes_in_total",
            "counter",
            "bytes written to copies",
            |n| n.stats().bytes_in.get(),
        ),
        (
            "bytes_out_total",
            "counter",
            "bytes read from copies",
            |n| n.stats().bytes_out.get(),
        ),
        ("damaged_total", "counter", "copies found damaged", |n| {
            n.stats().damaged.get()
        }),
        (
            "missing_total",
            "counter",
            "copies asked for that are not there",
            |n| n.stats().missing.get(),
        ),
        ("fsyncs_total", "counter", "calls of fsync", |n| {
            n.stats().fsyncs.get()
        }),
        (
            "disk_errors_total",
            "counter",
            "operations of the file system that failed",
            |n| n.stats().disk_errors.get(),
        ),
        ("available_bytes", "gauge", "free for new copies", |n| {
            n.capacity().available_bytes
        }),
        (
            "writable",
            "gauge",
            "1 while the node takes new copies",
            |n| u64::from(n.capacity().writable),
        ),
    ];
    for (name, kind, help, read) in counters {
        let name = format!("mako_{name}");
        head(out, &name, kind, help);
        for node in nodes {
            sample(
                out,
                &name,
                &[("storage_id", node.storage_id().as_str())],
                read(node),
            );
        }
    }
}

fn collector(out: &mut String, collector: &mako::Collector) {
    let status = collector.status();
    let counters = [
        (
            "copies_collected_total",
            "counter",
            "copies unlinked after a delete",
            status.copies_collected,
        ),
        (
            "copies_swept_total",
            "counter",
            "copies unlinked that no metadata named",
            status.copies_swept,
        ),
        (
            "entries_waiting",
            "gauge",
            "deleted objects on nodes that do not answer",
            status.entries_waiting,
        ),
    ];
    for (name, kind, help, value) in counters {
        let name = format!("collector_{name}");
        head(out, &name, kind, help);
        sample(out, &name, &[], value);
    }
}

fn jobs(out: &mut String, marlin: &marlin::Service) {
    let stats = marlin.stats();
    let counters = [
        (
            "jobs_created_total",
            "jobs created",
            stats.jobs_created.get(),
        ),
        ("jobs_done_total", "jobs done", stats.jobs_done.get()),
        (
            "jobs_archived_total",
            "jobs archived",
            stats.jobs_archived.get(),
        ),
        (
            "tasks_started_total",
            "attempts that were given a zone",
            stats.tasks_started.get(),
        ),
        (
            "tasks_killed_total",
            "attempts ended because others had no zone",
            stats.tasks_killed.get(),
        ),
        (
            "log_commits_total",
            "transactions that jobs cost",
            stats.log_commits.get(),
        ),
        (
            "log_retries_total",
            "such transactions tried again",
            stats.log_retries.get(),
        ),
    ];
    for (name, help, value) in counters {
        let name = format!("marlin_{name}");
        head(out, &name, "counter", help);
        sample(out, &name, &[], value);
    }
}

fn reset_times(out: &mut String, times: &triton::ResetTimes) {
    let name = "manta_zone_reset_seconds";
    head(
        out,
        name,
        "histogram",
        "from the return of a zone to a fresh one in its place",
    );
    let mut count = 0;
    for (bound, upto) in times.cumulative() {
        let bound = bound.map_or("+Inf".to_owned(), |bound| bound.as_secs_f64().to_string());
        sample(out, &format!("{name}_bucket"), &[("le", &bound)], upto);
        count = upto;
    }
    let _ = writeln!(out, "{name}_sum {}", times.total().as_secs_f64());
    sample(out, &format!("{name}_count"), &[], count);
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    out.push_str(name);
    for (position, (label, text)) in labels.iter().enumerate() {
        let open = if position == 0 { '{' } else { ',' };
        let _ = write!(out, "{open}{label}=\"{text}\"");
    }
    if !labels.is_empty() {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_prometheus_text() {
        let mut out = String::new();
        head(&mut out, "a_total", "counter", "some a");
        sample(&mut out, "a_total", &[], 1);
        sample(&mut out, "a_total", &[("x", "1"), ("y", "2")], 3);
        assert_eq!(
            out,
            "# HELP a_total some a\n# TYPE a_total counter\na_total 1\na_total{x=\"1\",y=\"2\"} 3\n"
        );
    }
}
