//! What a store has recorded of the resources that tasks used: the lines with `computeAudit` in its log.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Store;

/// What only grows; of the rest a record says how it was at that moment.
const COUNTERS: [&str; 8] = [
    "/cpu/user",
    "/cpu/system",
    "/memory/byteSeconds",
    "/memory/oomKills",
    "/vfs/nread",
    "/vfs/nwritten",
    "/vnic0/rbytes64",
    "/vnic0/obytes64",
];

/// The records of one attempt at a task, in order.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub records: Vec<Value>,
}

/// All attempts of a job that were ever given a zone.
pub fn attempts(store: &Store, job: &str) -> Result<Vec<Attempt>> {
    let mut attempts: BTreeMap<String, Attempt> = BTreeMap::new();
    for line in store.log()?.lines() {
        if !line.contains("\"computeAudit\"") || !line.contains(job) {
            continue;
        }
        let record: Value = serde_json::from_str(line).context("understand a record")?;
        let task = record["taskId"].as_str().context("a record has a task")?;
        let records = Vec::new();
        let attempt = attempts.entry(task.to_owned());
        attempt.or_insert(Attempt { records }).records.push(record);
    }
    Ok(attempts.into_values().collect())
}

impl Attempt {
    fn events(&self) -> Vec<&str> {
        let events = self.records.iter();
        events
            .filter_map(|record| record["eventName"].as_str())
            .collect()
    }

    /// Records between the first and the last.
    #[must_use]
    pub fn checkpoints(&self) -> usize {
        let events = self.events();
        events
            .iter()
            .filter(|event| **event == "TaskCheckpoint")
            .count()
    }

    /// The last record, if the attempt is over.
    #[must_use]
    pub fn done(&self) -> Option<&Value> {
        self.records
            .last()
            .filter(|record| record["eventName"] == "TaskDone")
    }

    /// For how long it was metered.
    pub fn seconds(&self) -> Result<f64> {
        let done = self.done().context("the attempt is over")?;
        Ok(nanoseconds(&done["metricsCumul"])? as f64 / 1e9)
    }

    /// It began once and ended once, and what was used from record to record is what was used in all.
    pub fn check(&self) -> Result<()> {
        let events = self.events();
        let ends = ("TaskStart", "TaskDone");
        ensure!(
            events.len() >= 2
                && events.first() == Some(&ends.0)
                && events.last() == Some(&ends.1)
                && events.len() == self.checkpoints() + 2,
            "{events:?}"
        );
        let metered = self.records.get(1..).unwrap_or_default();
        let total = &metered[metered.len() - 1]["metricsCumul"];
        let mut time = 0;
        for record in metered {
            time += nanoseconds(&record["metricsDelta"])?;
            ensure!(time == nanoseconds(&record["metricsCumul"])?, "{record}");
        }
        for counter in COUNTERS {
            let of = |metrics: &Value| {
                let number = metrics.pointer(counter).and_then(Value::as_u64);
                number.with_context(|| format!("{counter} in {metrics}"))
            };
            let mut sum = 0;
            for record in metered {
                sum += of(&record["metricsDelta"])?;
            }
            ensure!(sum == of(total)?, "{counter}: {:#?}", self.records);
        }
        Ok(())
    }
}

fn nanoseconds(metrics: &Value) -> Result<u64> {
    let part = |at: usize| metrics["time"][at].as_u64();
    let (seconds, rest) = part(0).zip(part(1)).context("a time is a pair")?;
    ensure!(rest < 1_000_000_000, "{metrics}");
    Ok(seconds * 1_000_000_000 + rest)
}
