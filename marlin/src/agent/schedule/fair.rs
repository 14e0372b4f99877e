//! Who has least: first of the accounts, each by its weight, then of the jobs of one account, then of the groups of
//! one job. So a thousand jobs of one account are not heard before the first one of another.

use std::cmp::Ordering;
use std::collections::HashMap;

use libmanta::{AccountId, JobId};

use super::{Group, GroupKey};

/// Streams that are held, those on their way back not counted, and those that are promised.
#[derive(Debug, Default)]
pub(super) struct Held {
    accounts: HashMap<AccountId, Share>,
    jobs: HashMap<JobId, usize>,
    groups: HashMap<GroupKey, usize>,
    promised: HashMap<GroupKey, usize>,
    /// Of phases of reducers that still wait for input.
    open: usize,
    /// The most that any account has, any job of an account, any group of a job.
    richest: Share,
    richest_jobs: HashMap<AccountId, usize>,
    richest_groups: HashMap<JobId, usize>,
}

/// How much more somebody has to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Margin {
    /// Enough to take turns: they may change places.
    One,
    /// Enough that nobody is worse off than the other was: an odd zone is not passed to and fro.
    Two,
}

impl Margin {
    /// Who has nothing may take turns with who has one; who has something only gets what is due to it.
    pub(super) fn for_one_with(poor: &Group) -> Self {
        match poor.streams.is_empty() {
            true => Self::One,
            false => Self::Two,
        }
    }
}

/// What a group has, and those it belongs to; the least is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Load {
    account: Share,
    job: usize,
    group: usize,
}

/// Streams by weight, as a fraction.
#[derive(Clone, Copy, Debug)]
struct Share {
    streams: usize,
    weight: u32,
}

impl Share {
    const fn even(streams: usize) -> Self {
        Self { streams, weight: 1 }
    }

    /// Whether this one should give one to the other.
    fn has_more(self, poor: Self, margin: Margin) -> bool {
        let change = |share: Self, streams| Self { streams, ..share };
        match margin {
            Margin::One => self > poor,
            Margin::Two => {
                change(self, self.streams.saturating_sub(1)) >= change(poor, poor.streams + 1)
            }
        }
    }

    fn cross(self, other: Self) -> u64 {
        let streams = u64::try_from(self.streams).unwrap_or(u64::MAX);
        streams.saturating_mul(u64::from(other.weight))
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::even(0)
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        self.cross(*other).cmp(&other.cross(*self))
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Share {}

impl Held {
    pub(super) fn count(groups: &[Group]) -> Self {
        let mut held = Self::default();
        for group in groups {
            held.add(group, group.alive());
        }
        held
    }

    /// A stream more.
    pub(super) fn promise(&mut self, group: &Group) {
        *self.promised.entry(group.key).or_default() += 1;
        self.add(group, 1);
    }

    pub(super) fn add(&mut self, group: &Group, streams: usize) {
        if group.is_open() {
            self.open += streams;
        }
        let account = group.owner.account;
        let share = self.accounts.entry(account).or_insert(Share {
            streams: 0,
            weight: group.owner.weight,
        });
        share.streams += streams;
        self.richest = self.richest.max(*share);
        let job = self.jobs.entry(group.key.job).or_default();
        *job += streams;
        let richest = self.richest_jobs.entry(account).or_default();
        *richest = (*job).max(*richest);
        let of_group = self.groups.entry(group.key).or_default();
        *of_group += streams;
        let richest = self.richest_groups.entry(group.key.job).or_default();
        *richest = (*of_group).max(*richest);
    }

    /// A stream less. Who is richest is not looked for again: at most, somebody is taken for poor for a moment.
    pub(super) fn remove(&mut self, group: &Group) {
        if group.is_open() {
            self.open = self.open.saturating_sub(1);
        }
        let account = self.accounts.get_mut(&group.owner.account);
        let streams = [
            account.map(|share| &mut share.streams),
            self.jobs.get_mut(&group.key.job),
            self.groups.get_mut(&group.key),
        ];
        for streams in streams.into_iter().flatten() {
            *streams = streams.saturating_sub(1);
        }
    }

    /// Of everybody.
    pub(super) fn streams(&self) -> usize {
        self.accounts.values().map(|share| share.streams).sum()
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    pub(super) fn promised(&self, group: &Group) -> usize {
        self.promised.get(&group.key).copied().unwrap_or_default()
    }

    pub(super) fn load(&self, group: &Group) -> Load {
        Load {
            account: self.account(group),
            job: self.job(group),
            group: self.group(group),
        }
    }

    /// Whether a stream is due to it that somebody else has.
    pub(super) fn is_poor(&self, group: &Group) -> bool {
        self.would_be_poor(group, 0)
    }

    /// Whether it would be poor with one less.
    pub(super) fn needs_each(&self, group: &Group) -> bool {
        self.would_be_poor(group, 1)
    }

    fn would_be_poor(&self, group: &Group, less: usize) -> bool {
        let job = self.richest_jobs.get(&group.owner.account);
        let of_group = self.richest_groups.get(&group.key.job);
        let even = |rich: Option<&usize>| Share::even(rich.copied().unwrap_or_default());
        [
            (self.richest, self.account(group)),
            (even(job), Share::even(self.job(group))),
            (even(of_group), Share::even(self.group(group))),
        ]
        .into_iter()
        .any(|(rich, poor)| {
            let streams = poor.streams.saturating_sub(less);
            rich.has_more(Share { streams, ..poor }, Margin::Two)
        })
    }

    /// Whether `rich` should give a stream to `poor`: judged where their ways part.
    pub(super) fn has_more(&self, rich: &Group, poor: &Group, margin: Margin) -> bool {
        let (rich, poor) = if rich.owner.account != poor.owner.account {
            (self.account(rich), self.account(poor))
        } else if rich.key.job != poor.key.job {
            (Share::even(self.job(rich)), Share::even(self.job(poor)))
        } else {
            (Share::even(self.group(rich)), Share::even(self.group(poor)))
        };
        rich.has_more(poor, margin)
    }

    fn account(&self, group: &Group) -> Share {
        let share = self.accounts.get(&group.owner.account);
        share.copied().unwrap_or(Share {
            streams: 0,
            weight: group.owner.weight,
        })
    }

    fn job(&self, group: &Group) -> usize {
        self.jobs.get(&group.key.job).copied().unwrap_or_default()
    }

    fn group(&self, group: &Group) -> usize {
        self.groups.get(&group.key).copied().unwrap_or_default()
    }
}
