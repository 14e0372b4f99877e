//! The small records of the services, each on the shard of its route.

use async_trait::async_trait;
use futures_util::future::try_join_all;
use libmanta::moray::{BatchError, Buckets, MorayError, Record, RecordKey, Write};

use crate::router::Router;

#[async_trait]
impl Buckets for Router {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, MorayError> {
        self.shard(&key.route).get(key).await
    }

    async fn batch(&self, writes: Vec<Write>) -> Result<(), BatchError> {
        let Some(first) = writes.first() else {
            return Ok(());
        };
        if writes
            .iter()
            .any(|write| write.key.route != first.key.route)
        {
            return Err(BatchError::Routes);
        }
        self.shard(&first.key.route).batch(writes).await
    }

    async fn scan(
        &self,
        bucket: &str,
        route: &str,
        from: &str,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError> {
        self.shard(route).scan(bucket, route, from, limit).await
    }

    async fn scan_all(
        &self,
        bucket: &str,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError> {
        let scans = self
            .shards
            .iter()
            .map(|shard| shard.scan_all(bucket, after, limit));
        let mut records = try_join_all(scans).await?.concat();
        records.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        records.truncate(limit);
        Ok(records)
    }
}
