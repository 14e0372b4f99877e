//! Tasks that do not end while others have nothing. Source: marlin.md section 6.6.
//!
//! Between two tasks a stream gives way by itself; a task of hours does not. A group that holds more than it
//! would have to, while all zones are in use and somebody has none, is a hog; after a while tasks of it are killed
//! one by one, to be tried again, until it is one no longer: of those that were killed least often the youngest,
//! so that no task is killed again and again. Whoever has only one is never a hog, and nobody makes room for
//! reducers that would only wait for their input.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Instant;

use super::fair::Margin;
use super::{Effect, GroupKey, Limits, Schedule, StreamId, Use};

#[derive(Debug, Default)]
pub(super) struct Hogs {
    /// Since when.
    marked: HashMap<GroupKey, Instant>,
    killed: Option<Instant>,
}

impl Hogs {
    /// When the next task will have to be killed.
    pub(super) fn next_deadline(&self, limits: &Limits) -> Option<Instant> {
        let first = self.marked.values().min().copied()? + limits.hog_grace;
        Some(
            self.killed
                .map_or(first, |at| first.max(at + limits.hog_kill)),
        )
    }
}

impl Schedule {
    pub(super) fn watch_hogs(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let held = self.promise_stopping();
        let poor = match self.in_use() >= self.limits.zones {
            true => self.next(&held, |group| group.streams.is_empty() && !group.is_open()),
            false => None,
        };
        let Some(poor) = poor.and_then(|at| self.groups.get(at)) else {
            return self.hogs.marked.clear();
        };
        let is_hog = |group: &&super::Group| {
            group.victim(now).is_some() && held.has_more(group, poor, Margin::Two)
        };
        let hogs = self.groups.iter().filter(is_hog);
        let marked: HashMap<GroupKey, Instant> = hogs
            .map(|group| {
                let since = self.hogs.marked.get(&group.key);
                (group.key, since.copied().unwrap_or(now))
            })
            .collect();
        let ripe = |group: &&super::Group| {
            let since = marked.get(&group.key);
            since.is_some_and(|since| now.duration_since(*since) >= self.limits.hog_grace)
        };
        let rests = self
            .hogs
            .killed
            .is_some_and(|at| now.duration_since(at) < self.limits.hog_kill);
        let ripe = self.groups.iter().filter(|_| !rests).filter(ripe);
        let victims = ripe.filter_map(|group| Some((group, group.victim(now)?)));
        let worst = victims.max_by_key(|(group, victim)| (held.load(group), victim.order()));
        let victim = worst.map(|(group, victim)| (group.key, victim.stream));
        self.hogs.marked = marked;
        if let Some((key, stream)) = victim {
            if let Some(group) = self.group_mut(key) {
                group.streams.insert(stream, Use::Stopping);
            }
            self.hogs.killed = Some(now);
            effects.push(Effect::Kill { stream });
        }
    }
}

/// A task that may be killed.
#[derive(Clone, Copy)]
struct Victim {
    stream: StreamId,
    attempt: u8,
    since: Instant,
}

impl Victim {
    /// The greatest is the first to go.
    fn order(self) -> (Reverse<u8>, Instant, StreamId) {
        (Reverse(self.attempt), self.since, self.stream)
    }
}

impl super::Group {
    /// Not one that is only about to begin.
    fn victim(&self, now: Instant) -> Option<Victim> {
        let busy = self
            .streams
            .iter()
            .filter_map(|(stream, state)| match *state {
                Use::Busy { since, attempt } if since < now => Some(Victim {
                    stream: *stream,
                    attempt,
                    since,
                }),
                Use::Busy { .. } | Use::Starting | Use::Idle { .. } | Use::Stopping => None,
            });
        busy.max_by_key(|victim| victim.order())
    }
}
