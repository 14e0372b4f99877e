//! The input of a reducer: the contents of many objects through one pipe, in the order in which they were
//! assigned.
//!
//! A copy on this machine is spliced from its verified file into the pipe without passing through our
//! memory; the permission was checked when the input was resolved. Anything else comes through the front
//! door with the job's token.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RANGE;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use libmanta::mako::Shark;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::net::unix::pipe::Sender;
use tokio::sync::watch;

use crate::agent::{Feed, local};
use crate::context::JobContext;
use crate::front_door::{FrontDoor, FrontDoorError, empty, encode_path};
use crate::record::{ErrorCode, TaskError};
use crate::supervisor::resolve::Located;

/// Room for a reader that is slower than we are; fewer wake-ups for one that is faster.
const PIPE_BYTES: usize = 1 << 20;
/// Source: marlin.md section 7.5 (3).
const FETCH_ATTEMPTS: u32 = 5;

/// A pipe for a command's standard input: the end for the command, and ours.
pub(crate) fn pipe() -> io::Result<(OwnedFd, Sender)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // Beyond an unprivileged limit the kernel keeps the size it has, which also works.
    let _ = fcntl_setpipe_size(&writer, PIPE_BYTES);
    // Only our end becomes non-blocking: commands expect a pipe that blocks.
    Ok((reader, Sender::from_owned_fd(writer)?))
}

/// Why feeding stopped.
enum Stop {
    /// The command closed its input. It may still run, and may well succeed.
    Closed,
    Failed(TaskError),
}

/// Writes all inputs, waiting for those to come, and closes the pipe. Dropping the future closes it too.
pub(crate) async fn feed(
    job: &JobContext,
    front_door: &FrontDoor,
    sharks: &[Arc<dyn Shark>],
    mut inputs: watch::Receiver<Feed>,
    pipe: Sender,
) -> Result<(), TaskError> {
    let mut next = 0;
    loop {
        let input = {
            let more = |feed: &Feed| feed.closed || feed.inputs.len() > next;
            let Ok(feed) = inputs.wait_for(more).await else {
                // The job ended; so does the command, by its token.
                return std::future::pending().await;
            };
            feed.inputs.get(next).cloned()
        };
        let Some(input) = input else {
            return Ok(());
        };
        next += 1;
        match write_input(job, front_door, sharks, &input, &pipe).await {
            Ok(()) => {}
            Err(Stop::Closed) => return Ok(()),
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
}

/// Returns when no more inputs come.
pub(crate) async fn fed(mut inputs: watch::Receiver<Feed>) {
    let _ = inputs.wait_for(|feed| feed.closed).await;
}

async fn write_input(
    job: &JobContext,
    front_door: &FrontDoor,
    sharks: &[Arc<dyn Shark>],
    input: &Located,
    pipe: &Sender,
) -> Result<(), Stop> {
    // A copy at hand spares a request, and fails like one where requests are made to fail.
    if front_door.perturbation().strikes() {
        return fetch(job, front_door, input, pipe).await;
    }
    match local::open_copy(sharks, input).await {
        Ok(None) => Ok(()),
        Ok(Some(file)) => splice_all(&file, input.size_bytes, pipe)
            .await
            .map_err(|error| stop(&error, &input.name)),
        Err(_) => fetch(job, front_door, input, pipe).await,
    }
}

async fn splice_all(file: &File, size: u64, pipe: &Sender) -> io::Result<()> {
    let mut offset = 0_u64;
    while offset < size {
        pipe.writable().await?;
        let left = usize::try_from(size - offset)
            .unwrap_or(usize::MAX)
            .min(PIPE_BYTES);
        let moved = pipe.try_io(|| {
            let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
            // Moves the offset, too.
            Ok(splice(file, Some(&mut offset), pipe, None, left, flags)?)
        });
        match moved {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn write_all(mut bytes: Bytes, pipe: &Sender) -> io::Result<()> {
    while !bytes.is_empty() {
        pipe.writable().await?;
        match pipe.try_write(&bytes) {
            Ok(n) => drop(bytes.split_to(n)),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Reads an object from the front door, going on where a broken answer ended.
async fn fetch(
    job: &JobContext,
    front_door: &FrontDoor,
    input: &Located,
    pipe: &Sender,
) -> Result<(), Stop> {
    let mut done = 0_u64;
    let mut attempt = 1;
    loop {
        let error = match fetch_from(job, front_door, input, &mut done, pipe).await {
            Ok(()) => return Ok(()),
            Err(Fetch::Pipe(error)) => return Err(stop(&error, &input.name)),
            Err(Fetch::FrontDoor(error)) => error,
        };
        if !error.is_retryable() || attempt == FETCH_ATTEMPTS {
            tracing::warn!(job_id = %job.id(), %error, "input of a reducer not read");
            return Err(Stop::Failed(unavailable(&input.name)));
        }
        attempt += 1;
        tokio::time::sleep(Duration::from_millis(rand::random_range(1000..2000))).await;
    }
}

enum Fetch {
    FrontDoor(FrontDoorError),
    Pipe(io::Error),
}

async fn fetch_from(
    job: &JobContext,
    front_door: &FrontDoor,
    input: &Located,
    done: &mut u64,
    pipe: &Sender,
) -> Result<(), Fetch> {
    let mut request = front_door.request(Method::GET, &encode_path(&input.name), Some(job.token()));
    if *done > 0 {
        // Of the same object only: another one's rest would be nonsense.
        request = request
            .header(RANGE, format!("bytes={done}-"))
            .header(http::header::IF_MATCH, input.object_id.to_string());
    }
    let response = front_door
        .call(request, empty())
        .await
        .map_err(Fetch::FrontDoor)?;
    if *done > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
        let message = "the front door ignored a range".into();
        return Err(Fetch::FrontDoor(FrontDoorError::Transport(message)));
    }
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Fetch::FrontDoor(FrontDoorError::Transport(error.into())))?;
        if let Ok(bytes) = frame.into_data() {
            let length = bytes.len() as u64;
            write_all(bytes, pipe).await.map_err(Fetch::Pipe)?;
            *done += length;
        }
    }
    Ok(())
}

fn stop(error: &io::Error, name: &str) -> Stop {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Stop::Closed;
    }
    tracing::warn!(%error, "input of a reducer not written");
    Stop::Failed(unavailable(name))
}

fn unavailable(name: &str) -> TaskError {
    let message = format!("error fetching inputs: \"{name}\"");
    TaskError::new(ErrorCode::ServiceUnavailable, message)
}
