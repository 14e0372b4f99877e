//! Which group gets a zone next. Pure: events in, effects out, time as an argument.
//!
//! A *group* is the tasks of one phase of one job, a *stream* one zone in its service. Whoever has least is
//! served first: of the accounts, then of the account's jobs, then of the job's groups ([`fair`]). A group
//! without a zone gets one as long as there are zones; one that has some gets more while the cores have room,
//! or others have more than it. When all zones are in use, a stream gives its zone up between two tasks to a
//! group that has less, and a task that does not end is killed after a while ([`hogs`]). A phase of reducers
//! that still waits for input is *open*; open phases hold at most half of the zones that may be busy, or
//! reducers waiting for input would keep out the very tasks that make it.

mod fair;
mod hogs;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use libmanta::{AccountId, JobId, TaskId};

use self::fair::{Held, Margin};
use self::hogs::Hogs;

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
    /// End what it runs now, and give the zone back.
    Kill {
        stream: StreamId,
    },
}

/// For whom a group works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) account: AccountId,
    /// Its share in relation to those of other accounts; never 0.
    pub(crate) weight: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Streams that keep the cores busy.
    pub(crate) streams: usize,
    /// Zones there are.
    pub(crate) zones: usize,
    pub(crate) idle: Duration,
    /// How long a group may hold more than its share while others have nothing, and how much time then lies
    /// between two of its tasks that are killed. Source: marlin.md section 6.6.
    pub(crate) hog_grace: Duration,
    pub(crate) hog_kill: Duration,
}

#[derive(Debug)]
pub(crate) struct Schedule {
    limits: Limits,
    /// In the order in which they began to wait.
    groups: Vec<Group>,
    streams_made: StreamId,
    hogs: Hogs,
}

#[derive(Debug)]
struct Group {
    key: GroupKey,
    owner: Owner,
    reduce: bool,
    /// No task that depends on further input comes.
    closed: bool,
    queue: VecDeque<Queued>,
    streams: BTreeMap<StreamId, Use>,
}

#[derive(Clone, Copy, Debug)]
struct Queued {
    task: TaskId,
    attempt: u8,
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
    Busy {
        since: Instant,
        /// Of the task that it runs.
        attempt: u8,
    },
    Stopping,
}

impl Use {
    fn is_idle(self) -> bool {
        matches!(self, Self::Idle { .. })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle { .. } => "idle",
            Self::Busy { .. } => "busy",
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
            hogs: Hogs::default(),
        }
    }

    pub(crate) fn set_zones(&mut self, zones: usize) {
        self.limits.zones = zones;
    }

    pub(crate) fn submit(
        &mut self,
        key: GroupKey,
        owner: Owner,
        reduce: bool,
        closed: bool,
        (task, attempt): (TaskId, u8),
    ) {
        let at = self.position(key).unwrap_or_else(|| {
            self.groups.push(Group {
                key,
                owner,
                reduce,
                closed,
                queue: VecDeque::new(),
                streams: BTreeMap::new(),
            });
            self.groups.len() - 1
        });
        if let Some(group) = self.groups.get_mut(at) {
            group.closed |= closed;
            group.queue.push_back(Queued { task, attempt });
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
            .map(|group| group.queue.drain(..).map(|queued| queued.task).collect())
            .unwrap_or_default()
    }

    pub(crate) fn take_first(&mut self, key: GroupKey) -> Option<TaskId> {
        let queued = self.group_mut(key)?.queue.pop_front();
        queued.map(|queued| queued.task)
    }

    /// Takes every queued task of a job out. Its streams are stopped by [`balance`](Self::balance).
    pub(crate) fn abort(&mut self, job: JobId) -> Vec<TaskId> {
        let mut tasks = Vec::new();
        for group in self.groups.iter_mut().filter(|g| g.key.job == job) {
            tasks.extend(group.queue.drain(..).map(|queued| queued.task));
            group.closed = true;
        }
        tasks
    }

    /// Whether a zone is at work for a job, or on its way back from it.
    pub(crate) fn serves(&self, job: JobId) -> bool {
        let mut groups = self.groups.iter();
        groups.any(|group| group.key.job == job && !group.streams.is_empty())
    }

    pub(crate) fn group_of(&self, stream: StreamId) -> Option<GroupKey> {
        let holds = |group: &&Group| group.streams.contains_key(&stream);
        self.groups.iter().find(holds).map(|group| group.key)
    }

    pub(crate) fn keys(&self) -> HashSet<GroupKey> {
        self.groups.iter().map(|group| group.key).collect()
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
            Use::Starting | Use::Busy { .. } | Use::Stopping => None,
        });
        idle.chain(self.hogs.next_deadline(&self.limits)).min()
    }

    /// Hands out tasks and zones.
    pub(crate) fn balance(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.use_idle_streams(now, &mut effects);
        let mut held = Held::count(&self.groups);
        while self.in_use() < self.limits.zones
            && let Some(at) = self.next(&held, |_| true)
        {
            self.start(at, &mut held, &mut effects);
        }
        self.watch_hogs(now, &mut effects);
        self.forget_finished();
        effects
    }

    fn use_idle_streams(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut surplus = self.in_use().saturating_sub(self.limits.streams);
        let mut held = self.promise_stopping();
        let idle: Vec<(usize, StreamId)> = self
            .groups
            .iter()
            .enumerate()
            .flat_map(|(at, group)| {
                let idle = group.streams.iter().filter(|(_, u)| u.is_idle());
                idle.map(move |(stream, _)| (at, *stream))
            })
            .collect();
        for (at, stream) in idle {
            let Some(group) = self.groups.get(at) else {
                continue;
            };
            let Some(Use::Idle { since, fresh }) = group.streams.get(&stream).copied() else {
                continue;
            };
            let has_work = !group.queue.is_empty();
            let may_go = !(fresh && has_work);
            let expired =
                !has_work && (group.closed || now.duration_since(since) >= self.limits.idle);
            let is_surplus = may_go && surplus > 0 && group.alive() > 1 && !held.needs_each(group);
            let wanted_by = match may_go && self.in_use() >= self.limits.zones {
                true if has_work => self.next(&held, |poor| {
                    held.has_more(group, poor, Margin::for_one_with(poor))
                }),
                // Nobody uses it now, so whoever has something to do is better off with it.
                true => {
                    held.remove(group);
                    let other = self.next(&held, |_| true);
                    held.add(group, 1);
                    other
                }
                false => None,
            };
            if expired || is_surplus || wanted_by.is_some() {
                surplus = surplus.saturating_sub(1);
                held.remove(group);
                if let Some(poor) = wanted_by.and_then(|at| self.groups.get(at)) {
                    held.promise(poor);
                }
                self.set(at, stream, Use::Stopping);
                effects.push(Effect::Stop { stream });
            } else if let Some(group) = self.groups.get_mut(at)
                && let Some(Queued { task, attempt }) = group.queue.pop_front()
            {
                let since = now;
                self.set(at, stream, Use::Busy { since, attempt });
                effects.push(Effect::Run { stream, task });
            }
        }
    }

    /// What everybody holds when the zones that are free, or on their way back, have gone to those who wait.
    fn promise_stopping(&self) -> Held {
        let mut held = Held::count(&self.groups);
        let free = self.limits.zones.saturating_sub(self.in_use());
        for _ in 0..free + self.count(|state| state == Use::Stopping) {
            let Some(at) = self.next(&held, |_| true) else {
                break;
            };
            if let Some(group) = self.groups.get(at) {
                held.promise(group);
            }
        }
        held
    }

    fn set(&mut self, at: usize, stream: StreamId, state: Use) {
        if let Some(group) = self.groups.get_mut(at) {
            group.streams.insert(stream, state);
        }
    }

    fn start(&mut self, at: usize, held: &mut Held, effects: &mut Vec<Effect>) {
        if let Some(group) = self.groups.get_mut(at) {
            held.add(group, 1);
            let stream = self.streams_made;
            self.streams_made += 1;
            group.streams.insert(stream, Use::Starting);
            let group = group.key;
            effects.push(Effect::Start { stream, group });
        }
    }

    /// Who gets the next zone, of the groups that `may`: of those that can use one more the one that has least,
    /// and of equals the one that waits longest.
    fn next(&self, held: &Held, may: impl Fn(&Group) -> bool) -> Option<usize> {
        let cores_have_room = held.streams() < self.limits.streams;
        let may_have = |group: &Group| {
            let coming = group.streams.values().filter(|u| **u == Use::Starting);
            let coming = coming.count() + held.promised(group);
            let starves = group.streams.is_empty() && coming == 0;
            group.queue.len() > coming
                && (starves || cores_have_room || held.is_poor(group))
                && self.may_start(group, held)
                && may(group)
        };
        let groups = self.groups.iter().enumerate();
        groups
            .filter(|(_, group)| may_have(group))
            .min_by_key(|(_, group)| held.load(group))
            .map(|(at, _)| at)
    }

    fn may_start(&self, group: &Group, held: &Held) -> bool {
        !group.is_open() || held.open() < self.limits.streams.min(self.limits.zones) / 2
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

    /// Streams that are not on their way back.
    fn alive(&self) -> usize {
        let alive = |state: &&Use| **state != Use::Stopping;
        self.streams.values().filter(alive).count()
    }
}

#[cfg(test)]
#[path = "schedule/tests.rs"]
mod tests;
