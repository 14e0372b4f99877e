//! Forgets the records of jobs that were archived long ago.

use std::sync::Arc;
use std::time::Duration;

use libmanta::Clock;

use crate::error::chain;
use crate::journal::{Journal, JournalError};

const INTERVAL: Duration = Duration::from_secs(3600);

/// Runs until it is dropped, which may happen at any time.
pub(crate) async fn run(journal: Journal, linger: Duration, clock: Arc<dyn Clock>) {
    loop {
        let before = clock.now().minus(linger);
        match purge(&journal, before).await {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(jobs, "records of archived jobs deleted"),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, "records of archived jobs not deleted");
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn purge(journal: &Journal, before: libmanta::Timestamp) -> Result<usize, JournalError> {
    let old = journal.archived(before).await?;
    for id in &old {
        journal.purge(*id).await?;
    }
    Ok(old.len())
}
