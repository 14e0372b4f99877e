//! The steps of the link protocol that carry nothing but what they say: one call of one shard each.

use std::sync::Arc;

use libmanta::link::{Reply, Side, Step};
use libmanta::moray::MorayError;
use libmanta::moray::shard::Shard;
use libmanta::{ObjectId, ObjectKey};

use crate::router::Router;

/// The names that the steps of an operation are about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    pub(crate) source: &'a ObjectKey,
    pub(crate) target: &'a ObjectKey,
}

impl<'a> Names<'a> {
    /// Of an operation that has only one.
    pub(crate) const fn one(name: &'a ObjectKey) -> Self {
        Self {
            source: name,
            target: name,
        }
    }

    pub(crate) const fn of(self, side: Side) -> &'a ObjectKey {
        match side {
            Side::Source => self.source,
            Side::Target => self.target,
        }
    }
}

impl Router {
    /// Where the record of a promoted object lies.
    pub(crate) fn record_shard(&self, object: ObjectId) -> &Arc<dyn Shard> {
        self.shard(&object.record_route())
    }

    /// Executes a step that needs no more than it says. The others are a fault of whoever sends them here.
    pub(crate) async fn plain_step(
        &self,
        names: Names<'_>,
        step: Step,
    ) -> Result<Reply, MorayError> {
        Ok(match step {
            Step::ReadName { side } => {
                let key = names.of(side);
                Reply::Name(self.entry_shard(key).look(key).await?.binding)
            }
            Step::Leave {
                side,
                object,
                token,
            } => {
                let key = names.of(side);
                Reply::Held(self.entry_shard(key).leave(key, object, token).await?)
            }
            Step::Settle {
                side,
                object,
                token,
            } => {
                let key = names.of(side);
                Reply::Held(self.entry_shard(key).settle(key, object, token).await?)
            }
            Step::EraseName { object, label } => {
                let key = names.target;
                Reply::Held(self.entry_shard(key).erase(key, object, label).await?)
            }
            Step::ReadRecord { object, label } => {
                let shard = self.record_shard(object);
                let read = shard.references(&[(object, label)]).await?;
                Reply::Standing(read.into_iter().next().and_then(|read| read.standing))
            }
            Step::Abort { object, token } => {
                Reply::Held(self.record_shard(object).abort(object, token).await?)
            }
            Step::CutOff { object, label } => {
                Reply::Held(self.record_shard(object).cut_off(object, label).await?)
            }
            Step::Drop { object, label } => {
                let shard = self.record_shard(object);
                shard.drop_reference(object, label).await?;
                Reply::Held(true)
            }
            Step::ForgetMoved { object, label } => {
                let shard = self.record_shard(object);
                shard.forget_moved(object, label).await?;
                Reply::Held(true)
            }
            Step::Pin { .. }
            | Step::Enter { .. }
            | Step::Write { .. }
            | Step::FindChild
            | Step::Prepare { .. }
            | Step::Raise { .. }
            | Step::Commit { .. } => {
                return Err(self.fault(names.target, format!("{step:?} carries something")));
            }
        })
    }

    /// The same for a step that is about no name.
    pub(crate) async fn nameless_step(
        &self,
        object: ObjectId,
        step: Step,
    ) -> Result<Reply, MorayError> {
        match step {
            Step::Drop { object, label } => {
                let shard = self.record_shard(object);
                shard.drop_reference(object, label).await?;
                Ok(Reply::Held(true))
            }
            step => Err(self.record_fault(object, format!("{step:?} is about a name"))),
        }
    }

    pub(crate) fn record_fault(&self, object: ObjectId, reason: impl ToString) -> MorayError {
        MorayError::Corrupt {
            shard: self.record_shard(object).name().to_owned(),
            reason: reason.to_string(),
        }
    }

    /// A fault of a shard or of ours; nothing is changed because of it.
    pub(crate) fn fault(&self, key: &ObjectKey, reason: impl ToString) -> MorayError {
        MorayError::Corrupt {
            shard: self.entry_shard(key).name().to_owned(),
            reason: reason.to_string(),
        }
    }

    /// Too many others were faster.
    pub(crate) fn overloaded(&self, key: &ObjectKey) -> MorayError {
        MorayError::Overloaded {
            shard: self.entry_shard(key).name().to_owned(),
        }
    }
}
