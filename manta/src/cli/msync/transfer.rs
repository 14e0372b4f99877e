//! One file from one side to the other, and one file away.
//!
//! A download becomes visible under its name when it is complete, so that an interrupted run leaves no
//! file that looks finished.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use manta_client::Error;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt as _;

use super::super::progress::{Meter, Wish};
use super::super::upload::content_type;
use super::source::Source;
use super::{Direction, Sync};

impl Sync {
    /// Errors: in words.
    pub(super) async fn transfer(&self, source: &Source) -> Result<(), String> {
        if self.dry_run {
            return Ok(());
        }
        let relative = &source.relative;
        let (local, remote) = (self.local_path(relative), self.remote_path(relative));
        match self.direction {
            Direction::Up => {
                let mut options = self.put.clone();
                options.content_type = Some(content_type(&remote));
                let meter = Meter::new(Wish::Never);
                let put = self.large.put_file_into(
                    &self.client,
                    &self.directories,
                    &remote,
                    &local,
                    &options,
                    &meter,
                );
                put.await.map_err(|error| error.line())
            }
            Direction::Down => self.fetch(&remote, &local).await,
        }
    }

    async fn fetch(&self, remote: &str, local: &Path) -> Result<(), String> {
        let parent = local.parent().unwrap_or(Path::new("/"));
        let said = |error: std::io::Error| error.to_string();
        fs::create_dir_all(parent).await.map_err(said)?;
        let partial = partial_name(parent);
        let outcome = async {
            let mut file = File::create_new(&partial).await.map_err(said)?;
            self.fetch_into(remote, &mut file).await?;
            fs::rename(&partial, local).await.map_err(said)
        }
        .await;
        if outcome.is_err() {
            // It may not even have been created.
            let _ = fs::remove_file(&partial).await;
        }
        outcome
    }

    async fn fetch_into(&self, remote: &str, file: &mut File) -> Result<(), String> {
        let line = |error: Error| error.line();
        let said = |error: std::io::Error| error.to_string();
        let mut download = self
            .client
            .get(remote, HeaderMap::new())
            .await
            .map_err(line)?;
        while let Some(chunk) = download.chunk().await.map_err(line)? {
            file.write_all(&chunk).await.map_err(said)?;
        }
        file.flush().await.map_err(said)
    }

    /// Deletes a file of the destination. Errors: in words.
    pub(super) async fn delete(&self, relative: &str) -> Result<(), String> {
        if self.dry_run {
            return Ok(());
        }
        match self.direction {
            Direction::Up => {
                let deleted = self.client.delete(&self.remote_path(relative)).await;
                deleted.map_err(|error| error.line())
            }
            Direction::Down => {
                let deleted = fs::remove_file(self.local_path(relative)).await;
                deleted.map_err(|error| error.to_string())
            }
        }
    }
}

/// A name beside the file that no other transfer has.
fn partial_name(directory: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    directory.join(format!(".msync-{}-{number}", std::process::id()))
}
