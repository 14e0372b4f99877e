//! What links and renames leave to be done: errands, and references that a crash has left behind.

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{self, StreamExt};
use libmanta::link::{Audit, Errand, Finding, Next};
use libmanta::moray::MorayError;
use libmanta::moray::links::{AuditCursor, Logged, Upkeep};
use libmanta::moray::shard::links::Held;
use libmanta::{ObjectKey, Timestamp};

use crate::router::Router;
use crate::stats::Stats;
use crate::steps::Names;

/// More at a time than this would only wait for one another's commits.
const IN_PARALLEL: usize = 16;

#[async_trait]
impl Upkeep for Router {
    async fn run_errands(&self, before: Timestamp, limit: usize) -> Result<usize, MorayError> {
        let mut run = 0;
        let mut failed = None;
        for index in 0..self.shards.len() {
            let mut after = None;
            loop {
                let shard = &self.shards[index];
                let page = match shard.errands(after, before, limit).await {
                    Ok(page) => page,
                    // Those of other shards may be able to run.
                    Err(error) => {
                        failed.get_or_insert(error);
                        break;
                    }
                };
                let Some(last) = page.last() else { break };
                after = Some(last.sequence);
                match self.run_logged(index, page).await {
                    Ok(count) => run += count,
                    // Those behind it may be able to run.
                    Err(error) => drop(failed.get_or_insert(error)),
                }
            }
        }
        match failed {
            None => Ok(run),
            Some(error) => Err(error),
        }
    }

    async fn audit(
        &self,
        after: &mut AuditCursor,
        stopped: Timestamp,
        limit: usize,
    ) -> Result<usize, MorayError> {
        let Some(shard) = self.shards.get(after.shard) else {
            *after = AuditCursor::default();
            return Ok(0);
        };
        let page = shard.references_after(after.reference, limit).await;
        let Some(last) = page.as_ref().ok().and_then(|page| page.last()) else {
            // Its end, or what cannot be read, and must not keep those of other shards waiting.
            *after = AuditCursor {
                shard: after.shard + 1,
                reference: None,
            };
            if after.shard >= self.shards.len() {
                *after = AuditCursor::default();
            }
            return page.map(|_| 0);
        };
        let next = (last.object, last.reference.label);
        let results: Vec<_> = stream::iter(page?)
            .map(|held| self.audit_one(held, stopped))
            .buffer_unordered(IN_PARALLEL)
            .collect()
            .await;
        // Past those that failed, too: the next round comes to them again, and the others are behind them.
        after.reference = Some(next);
        let (mut audited, mut removed, mut failed) = (0, 0, None);
        for result in results {
            match result {
                Ok(was_removed) => {
                    audited += 1;
                    removed += usize::from(was_removed);
                }
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        Stats::add(&self.stats.references_audited, audited);
        Stats::add(&self.stats.references_removed, removed as u64);
        failed.map_or(Ok(removed), Err)
    }
}

impl Router {
    /// Runs errands that a commit has just logged: beside the requests if somebody does that, or else here.
    /// They are in the log, so that nothing depends on it.
    pub(crate) async fn run_soon(&self, errands: Vec<Logged>) {
        let mut left = Vec::new();
        for logged in errands {
            match self.errands.get() {
                Some(queue) => left.extend(queue.try_send(logged).err().map(|e| e.into_inner())),
                None => left.push(logged),
            }
        }
        self.run_now(left).await;
    }

    /// Runs errands, each logged in the shard of its object's record, and forgets them there.
    pub(crate) async fn run_now(&self, errands: Vec<Logged>) {
        let mut of_shard: Vec<Vec<Logged>> = vec![Vec::new(); self.shards.len()];
        for logged in errands {
            let index = self.index_of(&logged.errand.object().record_route());
            of_shard[index].push(logged);
        }
        let runs = of_shard
            .into_iter()
            .enumerate()
            .filter(|(_, errands)| !errands.is_empty())
            .map(|(index, errands)| self.run_logged(index, errands));
        if let Err(error) = try_join_all(runs).await {
            tracing::warn!(%error, "errands of a link or rename wait for the next round");
        }
    }

    /// Looks which errand waits longest, for the [`Stats`]: in the shards that answer, since it is when one of
    /// them does not that errands wait.
    pub(crate) async fn look_for_oldest_errand(&self) -> Result<(), MorayError> {
        let end = Timestamp::from_millis(u64::MAX);
        let first = self.shards.iter().map(|shard| shard.errands(None, end, 1));
        let (mut oldest, mut failed) = (None, None);
        for first in join_all(first).await {
            match first {
                Ok(first) => {
                    oldest = oldest
                        .into_iter()
                        .chain(first.iter().map(|l| l.logged))
                        .min()
                }
                Err(error) => failed = Some(error),
            }
        }
        self.stats.set_oldest_errand(oldest);
        failed.map_or(Ok(()), Err)
    }

    /// Runs errands of one shard's log and forgets those that could be run.
    async fn run_logged(&self, index: usize, errands: Vec<Logged>) -> Result<usize, MorayError> {
        let results: Vec<_> = stream::iter(errands)
            .map(async |logged| (logged.sequence, self.run_errand(&logged.errand).await))
            .buffer_unordered(IN_PARALLEL)
            .collect()
            .await;
        let (mut run, mut failed) = (Vec::new(), None);
        for (sequence, result) in results {
            match result {
                Ok(()) => run.push(sequence),
                Err(error) => failed = Some(error),
            }
        }
        self.shards[index].forget_errands(&run).await?;
        Stats::add(&self.stats.errands_run, run.len() as u64);
        match failed {
            None => Ok(run.len()),
            Some(error) => Err(error),
        }
    }

    async fn run_errand(&self, errand: &Errand<ObjectKey>) -> Result<(), MorayError> {
        let (mut running, mut step) = errand.start();
        loop {
            let reply = match errand.name() {
                Some(name) => self.plain_step(Names::one(name), step).await?,
                None => self.nameless_step(errand.object(), step).await?,
            };
            match running
                .on(reply)
                .map_err(|illegal| self.record_fault(errand.object(), illegal))?
            {
                Next::Send(next, next_step) => (running, step) = (next, next_step),
                Next::Again | Next::Answer(()) => return Ok(()),
            }
        }
    }

    /// Looks after one reference. Whether it was removed.
    async fn audit_one(&self, held: Held, stopped: Timestamp) -> Result<bool, MorayError> {
        let Held {
            object,
            reference,
            since,
        } = held;
        let is_old = since < stopped || since >= stopped.too_far_ahead();
        let mut next = Audit::start(object, &reference, is_old);
        loop {
            next = match next {
                Next::Send(audit, step) => {
                    let reply = self.plain_step(Names::one(&reference.name), step).await?;
                    audit
                        .on(reply)
                        .map_err(|illegal| self.fault(&reference.name, illegal))?
                }
                Next::Again => return Ok(false),
                Next::Answer(finding) => return Ok(finding == Finding::Removed),
            };
        }
    }
}
