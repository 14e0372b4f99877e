//! The input of a map task: a file of a storage node on this machine.

use std::fs::File;
use std::sync::Arc;

use libmanta::mako::Shark;

use crate::error::chain;
use crate::record::{ErrorCode, TaskError};
use crate::supervisor::resolve::Located;

/// Opens a verified local copy; `None` for an object without bytes, which is stored nowhere. A copy that is
/// missing or damaged is passed over for another one.
pub(crate) async fn open_copy(
    sharks: &[Arc<dyn Shark>],
    input: &Located,
) -> Result<Option<File>, TaskError> {
    if input.size_bytes == 0 {
        return Ok(None);
    }
    // Copies of different objects begin at different nodes, so that all disks are read.
    let spread = input.object_id.as_uuid().as_u128() as usize;
    let copies = input.copies.len().max(1);
    let mut found = false;
    for at in 0..input.copies.len() {
        let Some(storage_id) = input.copies.get((at + spread) % copies) else {
            continue;
        };
        let shark = sharks.iter().find(|shark| shark.storage_id() == storage_id);
        let Some(local) = shark.and_then(|shark| shark.local()) else {
            continue;
        };
        found = true;
        match local.open_file(input.creator, input.object_id).await {
            Ok(file) => return Ok(Some(file)),
            Err(error) => {
                tracing::warn!(
                    object_id = %input.object_id,
                    error = chain(&error),
                    "copy cannot be opened for a task"
                );
            }
        }
    }
    Err(if found {
        TaskError::new(ErrorCode::ResourceNotFound, "failed to load object")
    } else {
        TaskError::new(
            ErrorCode::ServiceUnavailable,
            "no servers available to run task",
        )
    })
}
