//! Directories that are created only where they are missing.
//!
//! Creating one that exists replaces its metadata and its role tags, so whoever uploads into somebody's
//! tree must not touch the directories that are there. Here a directory is created only after the server
//! has said that it does not exist.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use http::HeaderMap;
use tokio::sync::OnceCell;

use crate::client::Client;
use crate::error::Error;
use crate::path::resolve_path;

/// Creates missing directories for many uploads at once, each of them once.
///
/// Remembers every directory that it was asked for: some hundred bytes each.
#[derive(Debug)]
pub struct MissingDirectories {
    client: Client,
    /// Sent with every directory that is created.
    headers: HeaderMap,
    done: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
}

impl MissingDirectories {
    #[must_use]
    pub fn new(client: Client, headers: HeaderMap) -> MissingDirectories {
        MissingDirectories {
            client,
            headers,
            done: Mutex::default(),
        }
    }

    /// Makes sure of a directory of which nothing is known. What has its name and is no directory is the
    /// error of whatever is put into it.
    pub async fn ensure(&self, path: &str) -> Result<(), Error> {
        let path = resolve_path(path, self.client.account())?;
        let cell = self.cell(&path);
        cell.get_or_try_init(async || match self.client.head(&path).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => self.create(path.clone()).await,
            Err(error) => Err(error),
        })
        .await
        .copied()
    }

    /// Creates a directory of which the server has just said that it is missing, and those above it.
    pub async fn make(&self, path: &str) -> Result<(), Error> {
        let path = resolve_path(path, self.client.account())?;
        self.make_resolved(path).await
    }

    async fn make_resolved(&self, path: String) -> Result<(), Error> {
        let cell = self.cell(&path);
        cell.get_or_try_init(async || self.create(path).await)
            .await
            .copied()
    }

    fn cell(&self, path: &str) -> Arc<OnceCell<()>> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.entry(path.to_owned()).or_default().clone()
    }

    fn create(&self, path: String) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            match self.mkdir(&path).await {
                Err(error) if error.is_code("DirectoryDoesNotExist") => {
                    let Some((parent, _)) = path.rsplit_once('/') else {
                        return Err(error);
                    };
                    if parent.is_empty() {
                        return Err(error);
                    }
                    self.make_resolved(parent.to_owned()).await?;
                    self.mkdir(&path).await
                }
                other => other,
            }
        })
    }

    async fn mkdir(&self, path: &str) -> Result<(), Error> {
        match self.client.mkdir(path, self.headers.clone()).await {
            // Another client is creating the same one; the second try finds it.
            Err(error) if error.is_code("ConcurrentRequest") => {
                self.client.mkdir(path, self.headers.clone()).await
            }
            other => other,
        }
    }
}
