//! Jobs: create, feed, follow, read.

use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method};

use crate::body::Payload;
use crate::client::{Client, JSON_STREAM, accept, text_of};
use crate::error::Error;
use crate::lines::Lines;
use crate::path::encode_segment;

/// Far beyond what a job's definition may have.
const JOB_BYTES_MAX: usize = 16 << 20;

/// The lists of a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LiveList {
    Inputs,
    Outputs,
    Failures,
    /// One JSON object to a line.
    Errors,
    /// One JSON object to a line. Not in the archive.
    Tasks,
}

impl LiveList {
    fn name(self) -> &'static str {
        match self {
            LiveList::Inputs => "in",
            LiveList::Outputs => "out",
            LiveList::Failures => "fail",
            LiveList::Errors => "err",
            LiveList::Tasks => "tasks",
        }
    }
}

impl Client {
    /// Creates a job from its definition, a JSON object, and returns its id.
    pub async fn create_job(&self, definition: String) -> Result<String, Error> {
        let target = self.target(&self.own("jobs"))?;
        let mut headers = accept("application/json");
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json; type=job"),
        );
        let payload = Payload::from(definition);
        let response = self
            .request_ok(Method::POST, &target, headers, payload)
            .await?;
        let location = text_of(response.headers(), LOCATION);
        response.into_body().drain().await?;
        location
            .as_deref()
            .and_then(|location| location.trim_end_matches('/').rsplit('/').next())
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| Error::Malformed("a job without a location".to_owned()))
    }

    /// Adds inputs, in the order given. Not retried: the same input twice is two inputs.
    pub async fn add_job_inputs(&self, job: &str, inputs: &[String]) -> Result<(), Error> {
        let target = format!("{}/live/in", self.job_target(job)?);
        let mut text = inputs.join("\n");
        text.push('\n');
        let mut headers = accept(JSON_STREAM);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let response = self
            .request_ok(Method::POST, &target, headers, text.into())
            .await?;
        response.into_body().drain().await
    }

    /// Says that no more inputs will come.
    pub async fn end_job_input(&self, job: &str) -> Result<(), Error> {
        self.post(&format!("{}/live/in/end", self.job_target(job)?))
            .await
    }

    pub async fn cancel_job(&self, job: &str) -> Result<(), Error> {
        self.post(&format!("{}/live/cancel", self.job_target(job)?))
            .await
    }

    /// The status document, as text in the server's order of keys.
    pub async fn job_status(&self, job: &str) -> Result<String, Error> {
        self.status_document(format!("{}/live/status", self.job_target(job)?))
            .await
    }

    async fn status_document(&self, target: String) -> Result<String, Error> {
        let headers = accept("application/json");
        let response = self
            .request_ok(Method::GET, &target, headers, Payload::Empty)
            .await?;
        let text = response.into_body().collect(JOB_BYTES_MAX).await?;
        String::from_utf8(text.to_vec()).map_err(|_| Error::Malformed("not UTF-8".to_owned()))
    }

    /// The status document; of a job that is only archived any more, the one in the archive.
    pub async fn job(&self, job: &str) -> Result<String, Error> {
        let status = self.job_status(job).await;
        self.or_archived(job, status).await
    }

    /// Like [`Client::job`], once there is news: the job is done or cancelled, or its input has ended. At the
    /// latest when `at_most` has passed, of which whole seconds count; at once from a server that does not wait.
    pub async fn job_news(&self, job: &str, at_most: Duration) -> Result<String, Error> {
        let target = self.job_target(job)?;
        let seconds = at_most.as_secs();
        let status = self
            .status_document(format!("{target}/live/status?wait={seconds}"))
            .await;
        self.or_archived(job, status).await
    }

    async fn or_archived(&self, job: &str, status: Result<String, Error>) -> Result<String, Error> {
        match status {
            Err(error) if error.is_not_found() => {
                let path = format!("{}/job.json", self.job_path(job));
                let text = self
                    .get(&path, HeaderMap::new())
                    .await?
                    .bytes(JOB_BYTES_MAX)
                    .await?;
                String::from_utf8(text).map_err(|_| Error::Malformed("not UTF-8".to_owned()))
            }
            other => other,
        }
    }

    /// One of the lists of a job; of a job that is only archived any more, the one in the archive.
    pub async fn job_list(&self, job: &str, list: LiveList) -> Result<Lines, Error> {
        let target = format!("{}/live/{}", self.job_target(job)?, list.name());
        let headers = accept(JSON_STREAM);
        match self
            .request_ok(Method::GET, &target, headers, Payload::Empty)
            .await
        {
            Ok(response) => Ok(Lines::new(response.into_body())),
            Err(error) if error.is_not_found() && list != LiveList::Tasks => {
                let target = format!("{}/{}.txt", self.job_target(job)?, list.name());
                let headers = accept("*/*");
                let response = self
                    .request_ok(Method::GET, &target, headers, Payload::Empty)
                    .await?;
                Ok(Lines::new(response.into_body()))
            }
            Err(error) => Err(error),
        }
    }

    /// The account's jobs, one JSON object with `name` and `mtime` to a line.
    pub async fn list_jobs(&self, name: Option<&str>, state: Option<&str>) -> Result<Lines, Error> {
        let mut target = self.target(&self.own("jobs"))?;
        let filters = [("state", state), ("name", name)];
        let filters: Vec<String> = filters
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", encode_segment(value?))))
            .collect();
        if !filters.is_empty() {
            target = format!("{target}?{}", filters.join("&"));
        }
        let headers = accept(JSON_STREAM);
        let response = self
            .request_ok(Method::GET, &target, headers, Payload::Empty)
            .await?;
        Ok(Lines::new(response.into_body()))
    }

    /// Where a job lives: it may be named by its id or by its whole path.
    #[must_use]
    pub fn job_path(&self, job: &str) -> String {
        if job.starts_with('/') && job.contains("/jobs") {
            job.trim_end_matches('/').to_owned()
        } else {
            format!("/{}/jobs/{}", self.account(), job.trim_end_matches('/'))
        }
    }

    fn job_target(&self, job: &str) -> Result<String, Error> {
        self.target(&self.job_path(job))
    }

    async fn post(&self, target: &str) -> Result<(), Error> {
        let headers = accept("application/json");
        let response = self
            .request_ok(Method::POST, target, headers, Payload::Empty)
            .await?;
        response.into_body().drain().await
    }
}
