//! The life of a task, as a table: one item of work of a phase, through all its attempts.

use thiserror::Error;

/// Attempts at one task, the first included. Source: marlin.md section 8.4.
pub(crate) const ATTEMPTS_MAX: u8 = 3;

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Handed to the agent, waiting for a zone.
    Queued { attempt: u8 },
    /// Its command runs, or its output is being stored.
    Running { attempt: u8 },
    /// Its result is known and waits to be durable.
    Finished { attempt: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskEvent {
    Started,
    /// It succeeded, or failed for good.
    Finished,
    /// Its zone is gone; nobody knows what happened.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("task in state {state:?} cannot take {event:?}")]
pub(crate) struct IllegalTransition {
    pub(crate) state: Task,
    pub(crate) event: TaskEvent,
}

impl Task {
    pub(crate) const fn new() -> Self {
        Self::Queued { attempt: 1 }
    }

    pub(crate) fn on(self, event: TaskEvent) -> Result<Self, IllegalTransition> {
        use TaskEvent as E;
        Ok(match (self, event) {
            (Self::Queued { attempt }, E::Started) => Self::Running { attempt },
            // A queued task fails without running when its zone could not be prepared.
            (Self::Queued { attempt } | Self::Running { attempt }, E::Finished) => {
                Self::Finished { attempt }
            }
            (Self::Queued { attempt } | Self::Running { attempt }, E::Lost) => {
                if attempt < ATTEMPTS_MAX {
                    Self::Queued {
                        attempt: attempt + 1,
                    }
                } else {
                    Self::Finished { attempt }
                }
            }
            (state @ Self::Finished { .. }, event) | (state @ Self::Running { .. }, event) => {
                return Err(IllegalTransition { state, event });
            }
        })
    }

    /// Attempts made so far, this one included.
    pub(crate) fn attempts(self) -> u8 {
        match self {
            Self::Queued { attempt } | Self::Running { attempt } | Self::Finished { attempt } => {
                attempt
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_allows_exactly_these_transitions() {
        use TaskEvent as E;
        for attempt in 1..=ATTEMPTS_MAX {
            let (queued, running, finished) = (
                Task::Queued { attempt },
                Task::Running { attempt },
                Task::Finished { attempt },
            );
            let after_loss = if attempt < 3 {
                Task::Queued {
                    attempt: attempt + 1,
                }
            } else {
                finished
            };
            assert_eq!(queued.on(E::Started), Ok(running));
            assert_eq!(queued.on(E::Finished), Ok(finished));
            assert_eq!(running.on(E::Finished), Ok(finished));
            assert_eq!(queued.on(E::Lost), Ok(after_loss));
            assert_eq!(running.on(E::Lost), Ok(after_loss));
            for (state, event) in [
                (running, E::Started),
                (finished, E::Started),
                (finished, E::Finished),
                (finished, E::Lost),
            ] {
                assert_eq!(state.on(event), Err(IllegalTransition { state, event }));
            }
        }
    }
}
