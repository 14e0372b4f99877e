//! Storing what a command wrote, once it has ended and nobody writes any more.
//!
//! The zone is free for the next task meanwhile: the files have no names and belong to nobody else.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use libmanta::triton::CoreFile;
use tokio_util::io::ReaderStream;
use tokio_util::task::AbortOnDropHandle;

use crate::agent::TaskSpec;
use crate::agent::desk::Takings;
use crate::context::JobContext;
use crate::error::chain;
use crate::front_door::{Body, FrontDoor, FrontDoorError, full};
use crate::names;
use crate::record::{ErrorCode, Output, TaskError};
use crate::run::CommandEnd;
use crate::supervisor::event::Outcome;

/// Source: marlin.md section 7.5 (4).
const STORE_ATTEMPTS: u32 = 3;
/// Outputs up to this size are sent from memory in one piece; most are a few bytes.
const SMALL_BYTES: u64 = 128 * 1024;
const CHUNK_BYTES: usize = 256 * 1024;
const CONTENT_TYPE: &str = "application/octet-stream";

/// What the command of a task left when it ended.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) takings: Takings,
    pub(crate) stdout: File,
    pub(crate) stderr: File,
    pub(crate) core: Option<CoreFile>,
    /// How the command ended, if it did so by itself.
    pub(crate) end: Option<CommandEnd>,
    /// Why the command failed, if it did.
    pub(crate) error: Option<TaskError>,
    /// Its own control request ended it: nothing but what it stored itself counts.
    pub(crate) decided: bool,
    /// The directory of the output, being made while the command ran.
    pub(crate) directory: Option<AbortOnDropHandle<()>>,
}

/// Stores what must be stored and says how the attempt ended.
pub(crate) async fn store(front_door: &FrontDoor, task: &TaskSpec, remains: Remains) -> Outcome {
    let Remains {
        mut takings,
        stdout,
        stderr,
        core,
        end: _,
        error,
        decided,
        directory,
    } = remains;
    let names = task.names();
    if let Some(directory) = directory {
        // It only spares the first PUT a refusal; a failure shows there.
        let _ = directory.await;
    }
    let job = &task.job;
    if let Some(mut error) = error {
        let name = names.stderr();
        match store_file(front_door, job, &name, stderr).await {
            Ok(()) => error.stderr = Some(name),
            Err(cause) => warn(task, &cause),
        }
        if let Some(CoreFile { file, program }) = core {
            let name = names::core(&job.area, task.phase, &program, task.id);
            match store_file(front_door, job, &name, file).await {
                Ok(()) => error.core = Some(name),
                Err(cause) => warn(task, &cause),
            }
        }
        // Stored for the user to look at, but no output. Source: marlin.md section 4 (rule 3).
        if !takings.streamed
            && !decided
            && error.code != ErrorCode::TaskInit
            && let Err(cause) = store_file(front_door, job, &names.stdout(), stdout).await
        {
            warn(task, &cause);
        }
        return Outcome::Failed(error);
    }
    if !takings.streamed && !decided {
        let name = names.stdout();
        if let Err(cause) = store_file(front_door, job, &name, stdout).await {
            warn(task, &cause);
            return Outcome::Failed(TaskError::internal());
        }
        takings.outputs.push(Output {
            name,
            reducer: None,
            reference: false,
        });
    }
    Outcome::Done(takings.outputs)
}

/// Makes the directory that will hold `name`, below the job's output area, if it is not known to exist.
pub(crate) fn prepare_directory(
    front_door: &FrontDoor,
    job: &Arc<JobContext>,
    name: &str,
) -> Option<AbortOnDropHandle<()>> {
    let parent = parent_of(name);
    if parent == job.area || job.knows_directory(parent) {
        return None;
    }
    let (front_door, job, name) = (front_door.clone(), Arc::clone(job), name.to_owned());
    let make = async move {
        if let Err(error) = make_directories(&front_door, &job, &name).await {
            tracing::debug!(%error, "output directory not made ahead");
        }
    };
    Some(AbortOnDropHandle::new(tokio::spawn(make)))
}

fn warn(task: &TaskSpec, error: &FrontDoorError) {
    tracing::warn!(
        job_id = %task.job.id(),
        task_id = %task.id,
        error = chain(error),
        "output of a task not stored"
    );
}

async fn store_file(
    front_door: &FrontDoor,
    job: &JobContext,
    name: &str,
    file: File,
) -> Result<(), FrontDoorError> {
    let io = |error: io::Error| FrontDoorError::Transport(error.into());
    let size = file.metadata().map_err(io)?.len();
    let small = if size <= SMALL_BYTES {
        Some(read_small(&file, size).map_err(io)?)
    } else {
        None
    };
    let mut attempt = 1;
    let mut directories_made = false;
    loop {
        let body = match &small {
            Some(bytes) => full(bytes.clone()),
            None => stream(&file).map_err(io)?,
        };
        let put = front_door.put(job.token(), name, CONTENT_TYPE, Some(size), body);
        let stored = match put.await {
            Err(error) if error.is_missing_directory() && !directories_made => {
                job.forget_directories();
                match make_directories(front_door, job, name).await {
                    Ok(()) => {
                        directories_made = true;
                        continue;
                    }
                    failed => failed,
                }
            }
            stored => stored,
        };
        match stored {
            Ok(()) => {
                job.remember_directory(parent_of(name));
                return Ok(());
            }
            Err(error) if error.is_retryable() && attempt < STORE_ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(Duration::from_millis(rand::random_range(1000..3000))).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Makes the directories between the job's output area and `name`, outermost first.
async fn make_directories(
    front_door: &FrontDoor,
    job: &JobContext,
    name: &str,
) -> Result<(), FrontDoorError> {
    let Some(below) = name.strip_prefix(job.area.as_str()) else {
        return Ok(());
    };
    let mut directory = job.area.clone();
    let mut parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
    parts.pop();
    for part in parts {
        directory.push('/');
        directory.push_str(part);
        if !job.knows_directory(&directory) {
            front_door.make_directory(job.token(), &directory).await?;
            job.remember_directory(&directory);
        }
    }
    Ok(())
}

fn parent_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn read_small(file: &File, size: u64) -> io::Result<Bytes> {
    let mut bytes = BytesMut::zeroed(usize::try_from(size).unwrap_or(usize::MAX));
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.freeze())
}

/// The file from its start, read as it is sent.
fn stream(file: &File) -> io::Result<Body> {
    use std::io::Seek;
    let mut file = file.try_clone()?;
    file.rewind()?;
    let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK_BYTES);
    let frames = chunks.map_ok(Frame::data).map_err(Into::into);
    Ok(StreamBody::new(frames).boxed_unsync())
}
