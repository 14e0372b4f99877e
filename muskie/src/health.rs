//! Whether the metadata tier answers, which is what a balancer wants to know of a front door.
//! Source: rest-api.md section 12.5.
//!
//! Nobody is asked who they are before a `/ping`, so however many come, the tier is asked once a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use libmanta::moray::{Moray, MorayError, Record, RecordKey};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

/// How long an answer counts: less than balancers leave between two questions.
const FRESH: Duration = Duration::from_secs(1);

/// A tier that takes longer serves nobody; balancers give up soon after that.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Health {
    patience: Duration,
    /// One asks; who comes meanwhile waits for what it learns.
    turn: Semaphore,
    /// What was learnt last, and when.
    last: Mutex<Option<(Instant, bool)>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            patience: PATIENCE,
            turn: Semaphore::new(1),
            last: Mutex::default(),
        }
    }
}

impl Health {
    /// Whether a question was answered within the last second, or is now. Cancel-safe.
    pub(crate) async fn is_well(
        &self,
        question: impl Future<Output = Result<Option<Record>, MorayError>>,
    ) -> bool {
        let Ok(_turn) = self.turn.acquire().await else {
            return false;
        };
        let before = *self.last();
        if let Some((at, well)) = before
            && at.elapsed() < FRESH
        {
            return well;
        }
        let answer = tokio::time::timeout(self.patience, question).await;
        let well = match &answer {
            // It sheds load, and would do so through every other front door.
            Ok(Ok(_) | Err(MorayError::Overloaded { .. })) => true,
            Ok(Err(MorayError::Unavailable { .. } | MorayError::Corrupt { .. })) | Err(_) => false,
        };
        if before.is_none_or(|(_, was_well)| was_well) && !well {
            let reason = match &answer {
                Ok(Err(error)) => error.to_string(),
                _ => String::from("no answer in time"),
            };
            tracing::warn!(reason, "the metadata tier is down, and so are we");
        }
        *self.last() = Some((Instant::now(), well));
        well
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<(Instant, bool)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for a record that there is not, each time in another place: where one shard of many is down most
/// questions are answered, and balancers, which want several failures in a row, leave the front doors in.
pub(crate) async fn question(moray: &dyn Moray) -> Result<Option<Record>, MorayError> {
    let key = RecordKey {
        bucket: String::from("muskie_ping"),
        route: Uuid::new_v4().to_string(),
        key: String::from("ping"),
    };
    moray.get(&key).await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn down() -> MorayError {
        MorayError::Unavailable {
            shard: "1".into(),
            reason: "told so".into(),
        }
    }

    #[tokio::test]
    async fn only_a_tier_that_is_down_is_not_well() {
        let overloaded = MorayError::Overloaded { shard: "1".into() };
        for (answer, expected) in [
            (Ok(None), true),
            (Err(overloaded), true),
            (Err(down()), false),
        ] {
            let health = Health::default();
            assert_eq!(health.is_well(ready(answer)).await, expected);
        }
    }

    #[tokio::test]
    async fn a_tier_that_does_not_answer_is_not_well() {
        let health = Health {
            patience: Duration::from_millis(1),
            ..Health::default()
        };
        assert!(!health.is_well(pending()).await);
    }

    #[tokio::test]
    async fn what_was_learnt_a_moment_ago_is_not_asked_again() {
        let health = Health::default();
        assert!(health.is_well(ready(Ok(None))).await);
        let never = async { panic!("asked again") };
        assert!(health.is_well(never).await);
    }
}
