//! Tasks that do not end while others have nothing. Source: marlin.md section 6.6.
//!
//! Between two tasks a stream gives way by itself; a task of hours does not. A group that holds more than it
//! would have to, while all zones are in use and somebody has none, is a hog; after a while its youngest tasks
//! are killed one by one, to be tried again, until it is one no longer. Whoever has only one is never a hog.

use std::time::Instant;

use std::collections::HashMap;

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
            true => self.next(&held, |group| group.streams.is_empty()),
            false => None,
        };
        let Some(poor) = poor.and_then(|at| self.groups.get(at)) else {
            return self.hogs.marked.clear();
        };
        let is_hog = |group: &&super::Group| {
            group.youngest().is_some() && held.has_more(group, poor, Margin::Two)
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
        let worst = self.groups.iter().filter(ripe);
        let worst = worst.max_by_key(|group| held.load(group));
        let rests = self
            .hogs
            .killed
            .is_some_and(|at| now.duration_since(at) < self.limits.hog_kill);
        let victim = worst.filter(|_| !rests);
        let victim = victim.and_then(|group| Some((group.key, group.youngest()?)));
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

impl super::Group {
    /// The stream whose task has run for the shortest time.
    fn youngest(&self) -> Option<StreamId> {
        let busy = self
            .streams
            .iter()
            .filter_map(|(stream, state)| match state {
                Use::Busy { since } => Some((*since, *stream)),
                Use::Starting | Use::Idle { .. } | Use::Stopping => None,
            });
        busy.max().map(|(_, stream)| stream)
    }
}
