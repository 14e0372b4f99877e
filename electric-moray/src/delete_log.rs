//! The delete logs of all shards as one.

use async_trait::async_trait;
use futures_util::future::try_join_all;
use libmanta::moray::{DeleteLog, Deleted, LogCursor, MorayError};
use libmanta::{ObjectId, Timestamp};

use crate::router::Router;

#[async_trait]
impl DeleteLog for Router {
    async fn deleted(
        &self,
        before: Timestamp,
        after: &LogCursor,
        limit: usize,
    ) -> Result<Vec<Deleted>, MorayError> {
        let logs = self
            .shards
            .iter()
            .map(|shard| shard.deleted(before, after, limit));
        Ok(try_join_all(logs).await?.concat())
    }

    async fn forget(&self, deleted: &[Deleted]) -> Result<(), MorayError> {
        // Each shard takes what is its own.
        try_join_all(self.shards.iter().map(|shard| shard.forget(deleted))).await?;
        Ok(())
    }

    async fn referenced(&self, objects: &[ObjectId]) -> Result<Vec<bool>, MorayError> {
        let answers = self.shards.iter().map(|shard| shard.referenced(objects));
        let mut referenced = vec![false; objects.len()];
        for answer in try_join_all(answers).await? {
            for (any, one) in referenced.iter_mut().zip(answer) {
                *any |= one;
            }
        }
        // While the shards were asked, each at a moment of its own, an object may have gone from an entry
        // that was not read yet to one that was. Then it has a record since, and keeps it until it is dead.
        let mut again: Vec<Vec<usize>> = vec![Vec::new(); self.shards.len()];
        for (at, object) in objects
            .iter()
            .enumerate()
            .filter(|(at, _)| !referenced[*at])
        {
            again[self.index_of(&object.record_route())].push(at);
        }
        let answers = self.shards.iter().zip(&again).map(async |(shard, at)| {
            let objects: Vec<ObjectId> = at.iter().map(|at| objects[*at]).collect();
            if objects.is_empty() {
                return Ok(Vec::new());
            }
            shard.referenced(&objects).await
        });
        for (answer, at) in try_join_all(answers).await?.into_iter().zip(&again) {
            for (is_referenced, at) in answer.into_iter().zip(at) {
                referenced[*at] = is_referenced;
            }
        }
        Ok(referenced)
    }
}
