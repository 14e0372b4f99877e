//! From the log of a job to its state, after a restart or when somebody asks.

use std::sync::Arc;

use crate::error::StartError;
use crate::journal::{Journal, Position};
use crate::ledger::{Consequence, Ledger};
use crate::record::JobRecord;

/// A job as its log leaves it.
pub(crate) struct Replayed {
    pub(crate) ledger: Ledger,
    /// Deletions that may or may not have been made.
    pub(crate) deletes: Vec<Arc<str>>,
    pub(crate) position: Position,
}

/// Reads the whole log. Errors: moray, or a log that this program did not write.
pub(crate) async fn replay(journal: &Journal, record: &JobRecord) -> Result<Replayed, StartError> {
    let mut ledger = Ledger::new(record.id, &record.definition);
    let mut deletes = Vec::new();
    let mut position = Position::default();
    loop {
        let (segments, next) = journal
            .read(record.id, position)
            .await
            .map_err(StartError::journal)?;
        if segments.is_empty() {
            break;
        }
        position = next;
        for segment in &segments {
            let consequences = ledger.apply(segment);
            let consequences = consequences.map_err(|source| StartError::log(record.id, source))?;
            deletes.extend(consequences.into_iter().filter_map(|c| match c {
                Consequence::Delete(name) => Some(name),
                Consequence::NewItem(_) => None,
            }));
        }
    }
    if ledger.state().is_done() {
        deletes.clear();
    }
    Ok(Replayed {
        ledger,
        deletes,
        position,
    })
}
