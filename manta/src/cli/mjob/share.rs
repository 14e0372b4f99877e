//! `mjob share`: a page that shows others what a job did. Source: marlin.md section 11.4.
//!
//! The page holds the beginnings of inputs and outputs, so it is as public as the directory it is put in.

mod markdown;
mod page;

use std::path::PathBuf;

use clap::Args;
use futures_util::{StreamExt as _, stream};
use http::header::RANGE;
use http::{HeaderMap, HeaderValue, StatusCode};
use manta_client::{Client, Error, LiveList, PutOptions};

use self::page::{Content, Object, Objects, Page};
use super::errors::JobError;
use super::explain::Task;
use super::wait::Status;
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Inputs that are shown, and as many outputs and tasks.
const OBJECTS_MAX: usize = 50;
const ERRORS_MAX: usize = 10;
/// Of each object.
const BYTES_MAX: usize = 10_240;
const RANGE_SHOWN: HeaderValue = HeaderValue::from_static("bytes=0-10239");
/// Objects read at a time.
const READING: usize = 16;
const HTML: &str = "text/html; charset=utf-8";

#[derive(Debug, Args)]
pub(super) struct Share {
    /// Print the page instead of storing it
    #[arg(short = 's', long)]
    stdout: bool,
    /// Markdown file to show at the top of the page
    #[arg(short = 'r', long)]
    readme: Option<PathBuf>,
    #[arg(value_name = "JOBID")]
    ids: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Share {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let [id] = self.ids.as_slice() else {
            let message = "Exactly one JobId must be specified";
            return Err(Failure::Message(message.to_owned()));
        };
        let url = self.connection.url()?;
        let readme = self.readme.as_ref().map(|file| {
            std::fs::read_to_string(file)
                .map_err(|error| Failure::Message(format!("Error: {}: {error}", file.display())))
        });
        let readme = readme.transpose()?;
        let client = self.connection.client().await?;
        let page = gather(&client, id).await?;
        let html = page.to_html(url, readme.as_deref());
        let mut output = Output::new();
        if self.stdout {
            output.line(&html)?;
            return output.finish();
        }
        let path = format!(
            "/{}/public/jobshares/{}/index.html",
            client.account(),
            id.trim_end_matches('/').rsplit('/').next().unwrap_or(id)
        );
        let options = PutOptions {
            content_type: Some(HTML.to_owned()),
            parents: true,
            ..PutOptions::default()
        };
        client.put(&path, html.into(), options).await?;
        output.line(&format!("{}{path}", url.trim_end_matches('/')))?;
        output.finish()
    }
}

async fn gather(client: &Client, id: &str) -> Result<Page, Failure> {
    let status = Status::read(client.job(id).await?)?;
    if !status.is_final() {
        let message = format!("cannot share job {id} before it is done");
        return Err(Failure::Message(message));
    }
    let job: page::Job = serde_json::from_str(&status.text)
        .map_err(|error| Error::Malformed(format!("the job: {error}")))?;
    if job.cancelled {
        let message = format!("cannot share job {id}: it was cancelled");
        return Err(Failure::Message(message));
    }
    let inputs = objects(client, id, LiveList::Inputs).await?;
    let outputs = objects(client, id, LiveList::Outputs).await?;
    let lines = head(client, id, LiveList::Errors, ERRORS_MAX).await?;
    let errors = stream::iter(&lines.lines)
        .map(|line| async {
            let error: JobError = serde_json::from_str(line)
                .map_err(|error| Error::Malformed(format!("an error of the job: {error}")))?;
            let stderr = match &error.stderr {
                Some(name) => Some(content(client, name).await?),
                None => None,
            };
            Ok::<_, Failure>((error, stderr))
        })
        .buffered(READING);
    // A server may know nothing of single tasks, or not any more.
    let tasks = match head(client, id, LiveList::Tasks, OBJECTS_MAX).await {
        Ok(tasks) => tasks,
        Err(error) if error.is_not_found() => Head::default(),
        Err(error) => return Err(error.into()),
    };
    let read = tasks.lines.iter().map(|line| Task::read(line));
    let mut page = Page {
        job,
        tasks: read.collect::<Result<_, _>>()?,
        more_tasks: tasks.more,
        inputs,
        outputs,
        errors: Vec::new(),
        more_errors: lines.more,
    };
    futures_util::pin_mut!(errors);
    while let Some(error) = errors.next().await {
        page.errors.push(error?);
    }
    Ok(page)
}

/// The beginning of a list.
#[derive(Default)]
struct Head {
    lines: Vec<String>,
    more: bool,
}

async fn head(client: &Client, id: &str, list: LiveList, count: usize) -> Result<Head, Error> {
    let mut all = client.job_list(id, list).await?;
    let mut lines = Vec::new();
    while let Some(line) = all.next().await? {
        if lines.len() == count {
            return Ok(Head { lines, more: true });
        }
        lines.push(line);
    }
    Ok(Head { lines, more: false })
}

async fn objects(client: &Client, id: &str, list: LiveList) -> Result<Objects, Failure> {
    let Head { lines, more } = head(client, id, list, OBJECTS_MAX).await?;
    let mut found = stream::iter(lines)
        .map(|name| async {
            let content = content(client, &name).await?;
            Ok::<_, Error>(Object { name, content })
        })
        .buffered(READING);
    let mut objects = Objects {
        shown: Vec::new(),
        more,
    };
    while let Some(object) = found.next().await {
        objects.shown.push(object?);
    }
    Ok(objects)
}

/// The beginning of an object. That it cannot be read is something to show; that the store does not answer is
/// not.
async fn content(client: &Client, name: &str) -> Result<Content, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(RANGE, RANGE_SHOWN);
    let mut object = match client.get(name, headers).await {
        Ok(object) => object,
        Err(Error::Reply(reply)) if reply.status == StatusCode::RANGE_NOT_SATISFIABLE => {
            return Ok(Content::of(&[], false));
        }
        Err(Error::Reply(reply)) if reply.status.is_client_error() => {
            return Ok(Content::Unreadable(reply.code));
        }
        // A name that no path can have: a job may be told anything.
        Err(Error::Path(_)) => return Ok(Content::Unreadable("InvalidPath".to_owned())),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    let size = object.headers().get(http::header::CONTENT_RANGE).cloned();
    let size = size.and_then(|range| {
        range
            .to_str()
            .ok()?
            .rsplit('/')
            .next()?
            .parse::<usize>()
            .ok()
    });
    while bytes.len() <= BYTES_MAX
        && let Some(chunk) = object.chunk().await?
    {
        bytes.extend_from_slice(&chunk);
    }
    let cut = bytes.len() > BYTES_MAX || size.is_some_and(|size| size > BYTES_MAX);
    bytes.truncate(BYTES_MAX);
    Ok(Content::of(&bytes, cut))
}
