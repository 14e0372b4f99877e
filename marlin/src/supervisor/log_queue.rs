//! What waits to be written to a job's log, and when it goes.
//!
//! One write is under way at a time; what is queued meanwhile goes out together. Results of tasks, for which
//! nobody waits as long as more are to come, gather for a moment even when none is: otherwise tasks that end one
//! after the other would each cost a transaction.

use std::collections::VecDeque;

use crate::record::{Entry, Work};
use crate::supervisor::event::Ticket;
use crate::supervisor::log_writer::encoded_bytes;

/// Entries written at a time, unless one alone is longer: a write is one transaction, held in memory.
pub(super) const WRITE_BYTES_MAX: usize = 8 << 20;
/// Results that gather. More are a write worth its while.
const GATHERED_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct LogQueue {
    queued: VecDeque<Queued>,
    /// Something among them is no result of a map task, or somebody waits for it.
    urgent: bool,
    /// Who waits for the write under way; `None` when there is none.
    writing: Option<Vec<Ticket>>,
    gathering: Gathering,
}

/// An entry that waits to be written, and who waits for it.
#[derive(Debug)]
struct Queued {
    entry: Entry,
    bytes: usize,
    ticket: Option<Ticket>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gathering {
    #[default]
    No,
    /// The clock runs.
    Begun,
    Over,
}

/// What is to be done about the queue.
#[derive(Debug)]
pub(super) enum Next {
    Nothing,
    Write(Vec<Entry>),
    Gather,
}

impl LogQueue {
    pub(super) fn push(&mut self, entry: Entry, ticket: Option<Ticket>) {
        let is_result =
            matches!(&entry, Entry::Commit(commit) if matches!(commit.work, Work::Item(_)));
        self.urgent |= ticket.is_some() || !is_result;
        let bytes = encoded_bytes(&entry);
        self.queued.push_back(Queued {
            entry,
            bytes,
            ticket,
        });
    }

    /// Nothing waits, and nothing is being written.
    pub(super) fn is_idle(&self) -> bool {
        self.queued.is_empty() && self.writing.is_none()
    }

    /// Those who wait for the write that has ended.
    pub(super) fn written(&mut self) -> Vec<Ticket> {
        self.writing.take().unwrap_or_default()
    }

    pub(super) fn gathered(&mut self) {
        self.gathering = Gathering::Over;
    }

    /// Drops everything that waits; returns who waits for it.
    pub(super) fn refuse(&mut self) -> Vec<Ticket> {
        self.urgent = false;
        let tickets = self.queued.drain(..).filter_map(|queued| queued.ticket);
        tickets.collect()
    }

    /// `more`: whether further results are to be expected.
    pub(super) fn next(&mut self, more: bool) -> Next {
        if self.queued.is_empty() && self.gathering == Gathering::Over {
            self.gathering = Gathering::No;
        }
        if self.writing.is_some() || self.queued.is_empty() {
            return Next::Nothing;
        }
        if more && !self.urgent && self.queued.len() < GATHERED_MAX {
            match self.gathering {
                Gathering::No => {
                    self.gathering = Gathering::Begun;
                    return Next::Gather;
                }
                Gathering::Begun => return Next::Nothing,
                Gathering::Over => {}
            }
        }
        // A clock that still runs belongs to what comes next, which it makes wait less.
        if self.gathering == Gathering::Over {
            self.gathering = Gathering::No;
        }
        let (mut entries, mut tickets, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(next) = self.queued.front()
            && (entries.is_empty() || bytes + next.bytes <= WRITE_BYTES_MAX)
            && let Some(next) = self.queued.pop_front()
        {
            bytes += next.bytes;
            entries.push(next.entry);
            tickets.extend(next.ticket);
        }
        self.urgent &= !self.queued.is_empty();
        self.writing = Some(tickets);
        Next::Write(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Commit;

    #[test]
    fn many_results_are_worth_a_write_of_their_own() {
        let mut queue = LogQueue::default();
        let result = |item| {
            Entry::Commit(Commit {
                work: Work::Item(item),
                phase: 0,
                attempts: 1,
                outputs: Vec::new(),
                failure: None,
                run: None,
            })
        };
        queue.push(result(0), None);
        assert!(matches!(queue.next(true), Next::Gather));
        for item in 1..GATHERED_MAX {
            assert!(matches!(queue.next(true), Next::Nothing));
            queue.push(result(item as u64), None);
        }
        let Next::Write(entries) = queue.next(true) else {
            panic!("{queue:?}");
        };
        assert_eq!(entries.len(), GATHERED_MAX);
    }
}
