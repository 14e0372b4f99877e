//! Which group gets a zone next. Pure: events in, effects out, time as an argument.
//!
//! A *group* is the tasks of one phase of one job, a *stream* one zone in its service. Rules, in order of
//! weight: a group without a zone gets one as long as there are zones, first come first served; while the
//! cores have room, the group with the fewest streams gets another; when all zones are in use, a stream
//! gives its zone up between two tasks to the group that waits longest. A phase of reducers that still
//! waits for input is *open*; open phases hold at most half of the zones that may be busy, or reducers
//! waiting for input would keep out the very tasks that make it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use libmanta::{JobId, TaskId};

/// A phase of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GroupKey {
    pub(crate) job: JobId,
    pub(crate) phase: usize,
}

pub(crate) type StreamId = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Get a zone and prepare it for the group.
    Start {
        stream: StreamId,
        group: GroupKey,
    },
    Run {
        stream: StreamId,
        task: TaskId,
    },
    /// Give the zone back when what it runs has ended.
    Stop {
        stream: StreamId,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Streams that keep the cores busy.
    pub(crate) streams: usize,
    /// Zones there are.
    pub(crate) zones: usize,
    pub(crate) idle: Duration,
}

#[derive(Debug)]
pub(crate) struct Schedule {
    limits: Limits,
    /// In the order in which they began to wait.
    groups: Vec<Group>,
    streams_made: StreamId,
}

#[derive(Debug)]
struct Group {
    key: GroupKey,
    reduce: bool,
    /// No task that depends on further input comes.
    closed: bool,
    queue: VecDeque<TaskId>,
    streams: BTreeMap<StreamId, Use>,
}

/// What a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Starting,
    Idle {
        since: Instant,
        /// It has not run anything yet. Such a stream is not taken away, or groups that take turns would
        /// do nothing else.
        fresh: bool,
    },
    Busy,
    Stopping,
}

impl Use {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle { .. } => "idle",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
        }
    }
}

/// A group as dashboards show it.
#[derive(Clone, Debug)]
pub(crate) struct GroupView {
    pub(crate) key: GroupKey,
    pub(crate) queued: usize,
    pub(crate) streams: Vec<(StreamId, Use)>,
}

impl Schedule {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            groups: Vec::new(),
            streams_made: 0,
        }
    }

    pub(crate) fn set_zones(&mut self, zones: usize) {
        self.limits.zones = zones;
    }

    pub(crate) fn submit(&mut self, key: GroupKey, reduce: bool, closed: bool, task: TaskId) {
        let at = self.position(key).unwrap_or_else(|| {
            self.groups.push(Group {
                key,
                reduce,
                closed,
                queue: VecDeque::new(),
                streams: BTreeMap::new(),
            });
            self.groups.len() - 1
        });
        if let Some(group) = self.groups.get_mut(at) {
            group.closed |= closed;
            group.queue.push_back(task);
        }
    }

    pub(crate) fn close(&mut self, key: GroupKey) {
        if let Some(group) = self.group_mut(key) {
            group.closed = true;
        }
    }

    /// A stream can take a task: its zone is prepared, or its last task has ended.
    pub(crate) fn free(&mut self, stream: StreamId, now: Instant) {
        for group in &mut self.groups {
            if let Some(state) = group.streams.get_mut(&stream)
                && *state != Use::Stopping
            {
                let fresh = *state == Use::Starting;
                *state = Use::Idle { since: now, fresh };
            }
        }
    }

    /// A stream has given its zone back.
    pub(crate) fn ended(&mut self, stream: StreamId) {
        for group in &mut self.groups {
            group.streams.remove(&stream);
        }
        self.forget_finished();
    }

    /// Takes every queued task of a group out.
    pub(crate) fn take_queued(&mut self, key: GroupKey) -> Vec<TaskId> {
        self.group_mut(key)
            .map(|group| group.queue.drain(..).collect())
            .unwrap_or_default()
    }

    pub(crate) fn take_first(&mut self, key: GroupKey) -> Option<TaskId> {
        self.group_mut(key)?.queue.pop_front()
    }

    /// Takes every queued task of a job out. Its streams are stopped by [`balance`](Self::balance).
    pub(crate) fn abort(&mut self, job: JobId) -> Vec<TaskId> {
        let mut tasks = Vec::new();
        for group in self.groups.iter_mut().filter(|g| g.key.job == job) {
            tasks.extend(group.queue.drain(..));
            group.closed = true;
        }
        tasks
    }

    pub(crate) fn group_of(&self, stream: StreamId) -> Option<GroupKey> {
        let holds = |group: &&Group| group.streams.contains_key(&stream);
        self.groups.iter().find(holds).map(|group| group.key)
    }

    pub(crate) fn has(&self, key: GroupKey) -> bool {
        self.position(key).is_some()
    }

    pub(crate) fn view(&self) -> Vec<GroupView> {
        let view = |group: &Group| GroupView {
            key: group.key,
            queued: group.queue.len(),
            streams: group.streams.iter().map(|(id, u)| (*id, *u)).collect(),
        };
        self.groups.iter().map(view).collect()
    }

    /// When [`balance`](Self::balance) should be called again if nothing happens before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let uses = self.groups.iter().flat_map(|group| group.streams.values());
        let idle = uses.filter_map(|state| match state {
            Use::Idle { since, .. } => Some(*since + self.limits.idle),
            Use::Starting | Use::Busy | Use::Stopping => None,
        });
        idle.min()
    }

    /// Hands out tasks and zones.
    pub(crate) fn balance(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.use_idle_streams(now, &mut effects);
        while let Some(at) = self.starved() {
            if self.in_use() >= self.limits.zones {
                break;
            }
            self.start(at, &mut effects);
        }
        while self.in_use() < self.limits.streams.min(self.limits.zones) {
            let Some(at) = self.neediest() else {
                break;
            };
            self.start(at, &mut effects);
        }
        self.forget_finished();
        effects
    }

    fn use_idle_streams(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let in_use = self.in_use();
        let over = in_use.saturating_sub(self.limits.streams);
        let mut wanted_back = if in_use >= self.limits.zones {
            let stopping = self.count(|state| state == Use::Stopping);
            self.starved_count().saturating_sub(stopping)
        } else {
            0
        };
        let mut over_left = over;
        for group in &mut self.groups {
            let mut alive = group
                .streams
                .values()
                .filter(|u| **u != Use::Stopping)
                .count();
            for (&stream, state) in &mut group.streams {
                let Use::Idle { since, fresh } = *state else {
                    continue;
                };
                let surplus = over_left > 0 && alive > 1;
                let may_go = !fresh || group.queue.is_empty();
                let expired = group.queue.is_empty()
                    && (group.closed || now.duration_since(since) >= self.limits.idle);
                if expired || (may_go && (wanted_back > 0 || surplus)) {
                    wanted_back = wanted_back.saturating_sub(1);
                    over_left = over_left.saturating_sub(1);
                    alive -= 1;
                    *state = Use::Stopping;
                    effects.push(Effect::Stop { stream });
                } else if let Some(task) = group.queue.pop_front() {
                    *state = Use::Busy;
                    effects.push(Effect::Run { stream, task });
                }
            }
        }
    }

    fn start(&mut self, at: usize, effects: &mut Vec<Effect>) {
        if let Some(group) = self.groups.get_mut(at) {
            let stream = self.streams_made;
            self.streams_made += 1;
            group.streams.insert(stream, Use::Starting);
            let group = group.key;
            effects.push(Effect::Start { stream, group });
        }
    }

    /// The group that has waited longest without any stream.
    fn starved(&self) -> Option<usize> {
        self.groups.iter().position(|group| self.is_starved(group))
    }

    fn starved_count(&self) -> usize {
        self.groups
            .iter()
            .filter(|group| self.is_starved(group))
            .count()
    }

    fn is_starved(&self, group: &Group) -> bool {
        group.streams.is_empty() && !group.queue.is_empty() && self.may_start(group)
    }

    /// The group with the fewest streams of those that have tasks for one more.
    fn neediest(&self) -> Option<usize> {
        let needs = |group: &Group| {
            let coming = group
                .streams
                .values()
                .filter(|u| **u == Use::Starting)
                .count();
            group.queue.len() > coming && self.may_start(group)
        };
        self.groups
            .iter()
            .enumerate()
            .filter(|(_, group)| needs(group))
            .min_by_key(|(_, group)| group.streams.len())
            .map(|(at, _)| at)
    }

    fn may_start(&self, group: &Group) -> bool {
        if !group.is_open() {
            return true;
        }
        let open = self.groups.iter().filter(|group| group.is_open());
        let held: usize = open.map(|group| group.streams.len()).sum();
        held < self.limits.streams.min(self.limits.zones) / 2
    }

    fn in_use(&self) -> usize {
        self.count(|_| true)
    }

    fn count(&self, which: impl Fn(Use) -> bool) -> usize {
        let uses = self.groups.iter().flat_map(|group| group.streams.values());
        uses.filter(|state| which(**state)).count()
    }

    fn forget_finished(&mut self) {
        // A group that comes back waits behind the others, which is what makes taking turns fair.
        self.groups
            .retain(|group| !group.queue.is_empty() || !group.streams.is_empty());
        let (with, without): (Vec<_>, Vec<_>) = std::mem::take(&mut self.groups)
            .into_iter()
            .partition(|group| group.streams.is_empty());
        self.groups = with;
        self.groups.extend(without);
    }

    fn position(&self, key: GroupKey) -> Option<usize> {
        self.groups.iter().position(|group| group.key == key)
    }

    fn group_mut(&mut self, key: GroupKey) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.key == key)
    }
}

impl Group {
    fn is_open(&self) -> bool {
        self.reduce && !self.closed
    }
}

#[cfg(test)]
#[path = "schedule/tests.rs"]
mod tests;
