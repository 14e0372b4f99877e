//! The state of marlin as dashboards show it.

use std::sync::Arc;

use libmanta::triton::Zones;
use serde_json::{Value, json};

use crate::agent::schedule::GroupView;
use crate::record::JobRecord;
use crate::supervisor::view::View;

pub(crate) fn job(record: &JobRecord, view: View) -> Value {
    json!({
        "id": record.id.to_string(),
        "owner": record.owner.to_string(),
        "name": record.definition.name,
        "state": view.state(),
        "cancelled": view.job.is_cancelled(),
        "stats": view.stats,
        "timeCreated": record.created.to_iso(),
    })
}

pub(crate) fn group(group: &GroupView) -> Value {
    let stream = |(id, state): &(u64, crate::agent::schedule::Use)| json!({ "id": id, "state": state.name() });
    json!({
        "job": group.key.job.to_string(),
        "phase": group.key.phase,
        "queued": group.queued,
        "streams": group.streams.iter().map(stream).collect::<Vec<_>>(),
    })
}

pub(crate) fn zones(zones: &Result<Arc<dyn Zones>, String>) -> Value {
    match zones {
        Ok(zones) => {
            let stats = zones.stats();
            json!({
                "capacity": zones.capacity(),
                "uninit": stats.uninit,
                "ready": stats.ready,
                "busy": stats.busy,
                "disabled": stats.disabled,
                "resets": stats.resets,
            })
        }
        Err(reason) => json!({ "unavailable": reason }),
    }
}
