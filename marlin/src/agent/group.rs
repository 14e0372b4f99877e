//! What the zones of one group share: the phase, and its assets, fetched once.

use std::fs::File;
use std::io::{ErrorKind, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt, stream};
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use libmanta::triton::{ZoneError, ZoneSpec};
use tokio::sync::OnceCell;

use crate::agent::StartError;
use crate::context::JobContext;
use crate::front_door::{FrontDoor, FrontDoorError};
use crate::names;
use crate::record::{ErrorCode, TaskError};

/// Defaults of marlin.md section 1.1.
pub(crate) const MEMORY_MIB: u32 = 1024;
pub(crate) const DISK_GIB: u32 = 8;
/// Assets fetched at a time.
const FETCHES: usize = 4;

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) job: Arc<JobContext>,
    pub(crate) phase: usize,
    /// Path below `/assets` and content; the files have no names.
    assets: OnceCell<Vec<(String, File)>>,
}

impl Group {
    pub(crate) fn new(job: Arc<JobContext>, phase: usize) -> Self {
        Self {
            job,
            phase,
            assets: OnceCell::new(),
        }
    }

    pub(crate) fn zone_spec(&self) -> ZoneSpec {
        let phase = self.job.phase(self.phase);
        let memory = phase.and_then(|p| p.memory).unwrap_or(MEMORY_MIB);
        let disk = phase.and_then(|p| p.disk).unwrap_or(DISK_GIB);
        ZoneSpec {
            memory_bytes: u64::from(memory) << 20,
            disk_bytes: u64::from(disk) << 30,
            image: phase.and_then(|p| p.image.clone()),
        }
    }

    /// Path in the zone and content of every asset, ready to be read from its start.
    pub(crate) async fn assets(
        &self,
        front_door: &FrontDoor,
        scratch: &Path,
    ) -> Result<Vec<(String, File)>, StartError> {
        let names = self.job.phase(self.phase).and_then(|p| p.assets.as_deref());
        let names = names.unwrap_or_default();
        let kept = self
            .assets
            .get_or_try_init(|| self.fetch_all(names, front_door, scratch))
            .await?;
        let reopen = |(path, file): &(String, File)| {
            // A duplicate would share its position with every other zone's.
            let fresh = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
            Ok((path.clone(), fresh))
        };
        kept.iter()
            .map(reopen)
            .collect::<std::io::Result<_>>()
            .map_err(|error| {
                tracing::error!(%error, "asset cannot be opened again");
                StartError {
                    error: TaskError::internal(),
                    cascade: true,
                }
            })
    }

    async fn fetch_all(
        &self,
        names: &[String],
        front_door: &FrontDoor,
        scratch: &Path,
    ) -> Result<Vec<(String, File)>, StartError> {
        let fetches: Vec<_> = names
            .iter()
            .map(|name| fetch(front_door, self.job.token(), name, scratch).boxed())
            .collect();
        let results: Vec<_> = stream::iter(fetches).buffered(FETCHES).collect().await;
        let mut files = Vec::with_capacity(results.len());
        let mut failed = Vec::new();
        for (name, result) in names.iter().zip(results) {
            match result {
                Ok(file) => files.push((format!("/assets{}", names::normalize(name)), file)),
                Err(error) => failed.push((name, error)),
            }
        }
        let Some((name, first)) = failed.first() else {
            return Ok(files);
        };
        let why = match first {
            FetchError::Directory => "it is a directory".to_owned(),
            FetchError::FrontDoor(error) => {
                let status = error.status().map_or(503, |status| status.as_u16());
                format!("status code {status}")
            }
        };
        let (count, plural) = (failed.len(), if failed.len() == 1 { "" } else { "s" });
        let message = format!(
            "failed to dispatch task: first of {count} error{plural}: \
             error retrieving asset \"{name}\" ({why})"
        );
        Err(StartError {
            error: TaskError::new(ErrorCode::TaskInit, message),
            cascade: true,
        })
    }
}

/// Why an asset could not be had.
enum FetchError {
    Directory,
    FrontDoor(FrontDoorError),
}

impl From<FrontDoorError> for FetchError {
    fn from(error: FrontDoorError) -> Self {
        Self::FrontDoor(error)
    }
}

/// What the group hears when an asset cannot be written into a zone for a reason that lies in the job, so
/// that another zone would fare no better. `None` when the zone is to blame.
pub(crate) fn unwritable_asset(path: &str, error: &ZoneError) -> Option<StartError> {
    let why = match error {
        ZoneError::NotEnoughDisk => "the disk is full",
        ZoneError::Io { source, .. } => match source.kind() {
            ErrorKind::InvalidFilename => "a name is too long",
            ErrorKind::NotADirectory => "another asset is in the way",
            ErrorKind::IsADirectory => "a directory is in the way",
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "the disk is full",
            ErrorKind::FileTooLarge => "the file is too large",
            ErrorKind::InvalidInput => "the name is not valid",
            _ => return None,
        },
        _ => return None,
    };
    let name = path.strip_prefix("/assets").unwrap_or(path);
    let message = format!("failed to dispatch task: error writing asset \"{name}\" ({why})");
    Some(StartError {
        error: TaskError::new(ErrorCode::TaskInit, message),
        cascade: true,
    })
}

async fn fetch(
    front_door: &FrontDoor,
    token: &str,
    name: &str,
    scratch: &Path,
) -> Result<File, FetchError> {
    let local = |error: std::io::Error| FrontDoorError::Transport(error.into());
    let response = front_door.get(token, name).await?;
    let kind = response.headers().get(CONTENT_TYPE);
    if kind.is_some_and(|kind| {
        kind.to_str()
            .is_ok_and(|kind| kind.contains("type=directory"))
    }) {
        return Err(FetchError::Directory);
    }
    let mut body = response.into_body();
    let mut file = tempfile::tempfile_in(scratch).map_err(local)?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| FrontDoorError::Transport(error.into()))?;
        if let Ok(data) = frame.into_data() {
            // Frames are small, and the file is new: this goes to the page cache.
            file.write_all(&data).map_err(local)?;
        }
    }
    file.rewind().map_err(local)?;
    Ok(file)
}
