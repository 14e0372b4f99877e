//! What every attempt at a task uses, as an audit: an event each with target [`TARGET`], whose message is a JSON
//! document. `docs/compute-audit.md` says what is in it. Source: marlin.md section 16.
//!
//! Metered is the time for which a zone is held for the attempt: not its making, not the loading of assets, not the
//! idle time between tasks. However the attempt ends, also when its future is dropped, there is one last record.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libmanta::Clock;
use libmanta::triton::{Meter, Zone, ZoneSpec};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::agent::TaskSpec;
use crate::agent::traffic::Traffic;
use crate::context::JobContext;
use crate::run::Resources;

pub(crate) const TARGET: &str = "audit::compute";
/// Between records of an attempt whose job wants them often.
const FREQUENT: Duration = Duration::from_secs(5);

/// Who writes the records of a machine.
#[derive(Debug)]
pub(crate) struct Auditor {
    node: Arc<str>,
    clock: Arc<dyn Clock>,
    /// The zero of the monotonic times.
    since: Instant,
    checkpoint: Duration,
}

impl Auditor {
    pub(crate) fn new(node: &Arc<str>, clock: Arc<dyn Clock>, checkpoint: Duration) -> Self {
        Self {
            node: Arc::clone(node),
            clock,
            since: Instant::now(),
            checkpoint,
        }
    }

    pub(crate) fn agent_starts(&self) {
        self.write("AgentStart", json!({}));
    }

    /// How long after one record of an attempt the next one comes.
    fn period(&self, job: &JobContext) -> Duration {
        let options = job.record.definition.options.as_ref();
        let frequent = options.and_then(|options| options.get("frequentCheckpoint")?.as_bool());
        match frequent {
            Some(true) => FREQUENT.min(self.checkpoint),
            _ => self.checkpoint,
        }
    }

    fn write(&self, event: &str, mut record: Value) {
        if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            return;
        }
        record["computeAudit"] = true.into();
        record["eventName"] = event.into();
        record["time"] = self.clock.now().to_iso().into();
        record["hrtimestamp"] = pair(self.since.elapsed());
        record["mantaComputeId"] = (*self.node).into();
        tracing::info!(target: TARGET, "{record}");
    }
}

/// What is used up: every field only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    time: Duration,
    cpu_user: Duration,
    cpu_system: Duration,
    oom_kills: u64,
    /// Memory that the zone may use, by the time for which it may.
    byte_seconds: u64,
    read_bytes: u64,
    written_bytes: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

impl Used {
    /// Field by field; where something cannot be read for a while, nothing is used up.
    fn combine(
        self,
        other: Self,
        duration: impl Fn(Duration, Duration) -> Duration,
        number: impl Fn(u64, u64) -> u64,
    ) -> Self {
        Self {
            time: duration(self.time, other.time),
            cpu_user: duration(self.cpu_user, other.cpu_user),
            cpu_system: duration(self.cpu_system, other.cpu_system),
            oom_kills: number(self.oom_kills, other.oom_kills),
            byte_seconds: number(self.byte_seconds, other.byte_seconds),
            read_bytes: number(self.read_bytes, other.read_bytes),
            written_bytes: number(self.written_bytes, other.written_bytes),
            received_bytes: number(self.received_bytes, other.received_bytes),
            sent_bytes: number(self.sent_bytes, other.sent_bytes),
        }
    }

    fn since(self, earlier: Self) -> Self {
        self.combine(earlier, Duration::saturating_sub, u64::saturating_sub)
    }

    fn at_least(self, earlier: Self) -> Self {
        self.combine(earlier, Duration::max, u64::max)
    }
}

/// What is as it is at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Levels {
    memory_bytes: u64,
    peak_bytes: u64,
}

/// The meters of one zone, while it is lent to a group.
#[derive(Debug)]
pub(crate) struct Odometer {
    meter: Arc<dyn Meter>,
    traffic: Arc<Traffic>,
    spec: ZoneSpec,
    /// Where they stood when the last attempt ended: nothing runs in between.
    last: Used,
}

impl Odometer {
    pub(crate) fn new(zone: &dyn Zone, traffic: Arc<Traffic>, spec: ZoneSpec) -> Self {
        let mut odometer = Self {
            meter: zone.meter(),
            traffic,
            spec,
            last: Used::default(),
        };
        odometer.last = odometer.read().0;
        odometer
    }

    /// All but the times, which an attempt measures for itself.
    fn read(&self) -> (Used, Levels) {
        let reading = self.meter.read();
        let used = Used {
            cpu_user: reading.cpu_user,
            cpu_system: reading.cpu_system,
            oom_kills: reading.oom_kills,
            read_bytes: reading.read_bytes,
            written_bytes: reading.written_bytes,
            received_bytes: self.traffic.received(),
            sent_bytes: self.traffic.sent(),
            ..Used::default()
        };
        let levels = Levels {
            memory_bytes: reading.memory_bytes,
            peak_bytes: reading.memory_peak_bytes,
        };
        (used, levels)
    }
}

/// An attempt that holds a zone.
#[derive(Debug)]
pub(crate) struct Metered<'a> {
    auditor: &'a Auditor,
    odometer: &'a mut Odometer,
    job: Arc<JobContext>,
    phase: usize,
    task: String,
    started: Instant,
    /// Of this attempt, as it was recorded last.
    told: Used,
    done: bool,
}

impl<'a> Metered<'a> {
    pub(crate) fn start(auditor: &'a Auditor, odometer: &'a mut Odometer, task: &TaskSpec) -> Self {
        let metered = Self {
            auditor,
            odometer,
            job: Arc::clone(&task.job),
            phase: task.phase,
            task: task.id.to_string(),
            started: Instant::now(),
            told: Used::default(),
            done: false,
        };
        metered.write("TaskStart", json!({}));
        metered
    }

    /// Writes a record from time to time. Cancel-safe; never ends.
    pub(crate) async fn checkpoints(&mut self) -> Infallible {
        let period = self.auditor.period(&self.job);
        let mut ticks = tokio::time::interval_at((self.started + period).into(), period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tell("TaskCheckpoint");
        }
    }

    /// The attempt no longer holds its zone.
    pub(crate) fn end(mut self) -> Resources {
        self.finish();
        let used = self.told;
        Resources {
            cpu_ms: u64::try_from((used.cpu_user + used.cpu_system).as_millis())
                .unwrap_or(u64::MAX),
            read_bytes: used.read_bytes,
            written_bytes: used.written_bytes,
            received_bytes: used.received_bytes,
            sent_bytes: used.sent_bytes,
        }
    }

    fn finish(&mut self) {
        self.done = true;
        let used = self.tell("TaskDone");
        self.odometer.last = used;
    }

    /// Writes a record. Returns where the zone's meters stand.
    fn tell(&mut self, event: &str) -> Used {
        let Taken { now, delta, levels } = self.take();
        let spec = &self.odometer.spec;
        let record = json!({
            "metricsCumul": metrics(self.told, levels, spec),
            "metricsDelta": metrics(delta, levels, spec),
        });
        self.write(event, record);
        now
    }

    fn take(&mut self) -> Taken {
        let (now, levels) = self.odometer.read();
        let now = now.at_least(self.odometer.last);
        let mut used = now.since(self.odometer.last);
        used.time = self.started.elapsed();
        used.byte_seconds = byte_seconds(self.odometer.spec.memory_bytes, used.time);
        let used = used.at_least(self.told);
        let delta = used.since(self.told);
        self.told = used;
        Taken { now, delta, levels }
    }

    fn write(&self, event: &str, mut record: Value) {
        record["jobId"] = self.job.id().to_string().into();
        record["owner"] = self.job.record.owner.to_string().into();
        record["phase"] = self.phase.into();
        record["taskId"] = self.task.as_str().into();
        self.auditor.write(event, record);
    }
}

/// One look at the meters.
struct Taken {
    /// Of the zone.
    now: Used,
    /// Of the attempt, since the look before.
    delta: Used,
    levels: Levels,
}

impl Drop for Metered<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.finish();
        }
    }
}

fn byte_seconds(bytes: u64, time: Duration) -> u64 {
    let product = u128::from(bytes) * time.as_nanos() / 1_000_000_000;
    u64::try_from(product).unwrap_or(u64::MAX)
}

fn metrics(used: Used, levels: Levels, spec: &ZoneSpec) -> Value {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "time": pair(used.time),
        "cpu": { "user": nanos(used.cpu_user), "system": nanos(used.cpu_system) },
        "memory": {
            "used": levels.memory_bytes,
            "peak": levels.peak_bytes,
            "limit": spec.memory_bytes,
            "byteSeconds": used.byte_seconds,
            "oomKills": used.oom_kills,
        },
        "vfs": { "nread": used.read_bytes, "nwritten": used.written_bytes },
        "vnic0": { "rbytes64": used.received_bytes, "obytes64": used.sent_bytes },
        "config_disk": spec.disk_bytes >> 30,
    })
}

/// Seconds and nanoseconds.
fn pair(time: Duration) -> Value {
    json!([time.as_secs(), time.subsec_nanos()])
}

#[cfg(test)]
#[path = "meter/tests.rs"]
mod tests;
