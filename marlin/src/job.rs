//! The life of a job, as a table. Whatever changes a job passes through [`Job::on`], live and on replay
//! alike, so a log that could not have been written is noticed when it is read.

use thiserror::Error;

/// Where a job is. A job runs from the moment it exists; there is no failed state, only errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Takes inputs and runs them.
    Open,
    /// Runs what it has; no more inputs come.
    Ended,
    /// Outputs, errors and counters are final.
    Done { cancelled: bool },
    /// Its lists are being written into its directory.
    Archiving { cancelled: bool },
    /// Everything is in its directory.
    Archived { cancelled: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobEvent {
    InputsAdded,
    InputEnded,
    Cancelled,
    /// A task committed or an input was refused.
    Worked,
    Finished,
    ArchiveStarted,
    ArchiveDone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("job in state {state:?} cannot take {event:?}")]
pub(crate) struct IllegalTransition {
    pub(crate) state: Job,
    pub(crate) event: JobEvent,
}

impl Job {
    pub(crate) fn on(self, event: JobEvent) -> Result<Self, IllegalTransition> {
        use JobEvent as E;
        Ok(match (self, event) {
            (Self::Open, E::InputsAdded | E::Worked) => Self::Open,
            (Self::Open | Self::Ended, E::InputEnded) | (Self::Ended, E::Worked) => Self::Ended,
            (Self::Open | Self::Ended, E::Cancelled) => Self::Done { cancelled: true },
            (Self::Ended, E::Finished) => Self::Done { cancelled: false },
            // An archiver that was killed starts anew.
            (Self::Done { cancelled } | Self::Archiving { cancelled }, E::ArchiveStarted) => {
                Self::Archiving { cancelled }
            }
            (Self::Archiving { cancelled }, E::ArchiveDone) => Self::Archived { cancelled },
            (state, event) => return Err(IllegalTransition { state, event }),
        })
    }

    pub(crate) fn is_done(self) -> bool {
        !matches!(self, Self::Open | Self::Ended)
    }

    pub(crate) fn is_archived(self) -> bool {
        matches!(self, Self::Archived { .. })
    }

    pub(crate) fn is_cancelled(self) -> bool {
        matches!(
            self,
            Self::Done { cancelled: true }
                | Self::Archiving { cancelled: true }
                | Self::Archived { cancelled: true }
        )
    }

    /// The word in the message of a refused request. Source: rest-api.md section 6.6.
    pub(crate) fn refusal_word(self) -> &'static str {
        match self {
            _ if self.is_cancelled() => "cancelled",
            Self::Open | Self::Ended => "inputDone",
            Self::Done { .. } | Self::Archiving { .. } | Self::Archived { .. } => "done",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_allows_exactly_these_transitions() {
        use JobEvent as E;
        let done = |cancelled| Job::Done { cancelled };
        let archiving = |cancelled| Job::Archiving { cancelled };
        let archived = |cancelled| Job::Archived { cancelled };
        let mut allowed = vec![
            (Job::Open, E::InputsAdded, Job::Open),
            (Job::Open, E::Worked, Job::Open),
            (Job::Open, E::InputEnded, Job::Ended),
            (Job::Open, E::Cancelled, done(true)),
            (Job::Ended, E::InputEnded, Job::Ended),
            (Job::Ended, E::Worked, Job::Ended),
            (Job::Ended, E::Cancelled, done(true)),
            (Job::Ended, E::Finished, done(false)),
        ];
        for cancelled in [false, true] {
            allowed.push((done(cancelled), E::ArchiveStarted, archiving(cancelled)));
            allowed.push((
                archiving(cancelled),
                E::ArchiveStarted,
                archiving(cancelled),
            ));
            allowed.push((archiving(cancelled), E::ArchiveDone, archived(cancelled)));
        }
        let mut states = vec![Job::Open, Job::Ended];
        for cancelled in [false, true] {
            states.extend([done(cancelled), archiving(cancelled), archived(cancelled)]);
        }
        let events = [
            E::InputsAdded,
            E::InputEnded,
            E::Cancelled,
            E::Worked,
            E::Finished,
            E::ArchiveStarted,
            E::ArchiveDone,
        ];
        for state in states {
            for event in events {
                let expected = allowed
                    .iter()
                    .find(|(s, e, _)| (*s, *e) == (state, event))
                    .map(|(_, _, to)| *to)
                    .ok_or(IllegalTransition { state, event });
                assert_eq!(state.on(event), expected, "{state:?} {event:?}");
            }
        }
    }
}
