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
        Ok(referenced)
    }
}
