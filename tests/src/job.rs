//! Jobs over the public API.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::wire::{Client, Request};
use crate::{Store, wait_for};

/// A job that was created.
#[derive(Clone, Debug)]
pub struct Job {
    location: String,
}

/// What became of a job.
#[derive(Clone, Debug)]
pub struct Finished {
    pub status: Value,
    pub outputs: Vec<String>,
    pub errors: Vec<Value>,
    pub failures: Vec<String>,
}

impl Job {
    /// A job of the account that `manta up` made; `phases` as in the body of a request.
    pub fn create(client: &mut Client, store: &Store, phases: &Value) -> Result<Self> {
        Self::create_of(client, store.account(), phases)
    }

    /// A job of an account.
    pub fn create_of(client: &mut Client, account: &str, phases: &Value) -> Result<Self> {
        Self::create_from(client, account, &json!({"name": "test", "phases": phases}))
    }

    /// A job of an account; `definition` is the body of the request.
    pub fn create_from(client: &mut Client, account: &str, definition: &Value) -> Result<Self> {
        let request = Request::new("POST", &format!("/{account}/jobs"))
            .header("content-type", "application/json; type=job")
            .body(definition.to_string());
        let created = client.call(&request)?.expect(201)?;
        let location = created
            .header("location")
            .context("a job has a location")?
            .to_owned();
        Ok(Self { location })
    }

    /// One that somebody else has created.
    #[must_use]
    pub fn at(location: String) -> Self {
        Self { location }
    }

    /// Path of the job's directory.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.location
    }

    #[must_use]
    pub fn id(&self) -> &str {
        self.location
            .rsplit_once('/')
            .map_or(self.location.as_str(), |(_, id)| id)
    }

    pub fn add(&self, client: &mut Client, inputs: &[String]) -> Result<()> {
        let request = Request::new("POST", &format!("{}/live/in", self.location))
            .header("content-type", "text/plain")
            .body(inputs.join("\n"));
        client.call(&request)?.expect(204)?;
        Ok(())
    }

    pub fn end(&self, client: &mut Client) -> Result<()> {
        let request = Request::new("POST", &format!("{}/live/in/end", self.location));
        client.call(&request.claiming(0))?.expect(202)?;
        Ok(())
    }

    pub fn cancel(&self, client: &mut Client) -> Result<()> {
        let request = Request::new("POST", &format!("{}/live/cancel", self.location));
        client.call(&request.claiming(0))?.expect(202)?;
        Ok(())
    }

    pub fn status(&self, client: &mut Client) -> Result<Value> {
        let status = client
            .get(&format!("{}/live/status", self.location))?
            .expect(200)?;
        serde_json::from_slice(&status.body).context("understand a job's status")
    }

    /// Waits until the job is done, then reads its lists.
    pub fn wait(&self, client: &mut Client, patience: Duration) -> Result<Finished> {
        let status = wait_for("a job", patience, || {
            let status = self.status(client)?;
            Ok((status["state"] == "done").then_some(status))
        })
        .with_context(|| format!("wait for {}: {:?}", self.location, self.status(client)))?;
        let list = |client: &mut Client, name: &str| -> Result<Vec<String>> {
            let list = client
                .get(&format!("{}/live/{name}", self.location))?
                .expect(200)?;
            Ok(list.text().lines().map(str::to_owned).collect())
        };
        let outputs = list(client, "out")?;
        let errors = list(client, "err")?;
        let failures = list(client, "fail")?;
        let errors: Vec<Value> = errors
            .iter()
            .map(|line| serde_json::from_str(line))
            .collect::<Result<_, _>>()
            .context("understand the errors")?;
        let counted = |what: &str| status["stats"][what].as_u64();
        ensure!(
            counted("outputs") == Some(outputs.len() as u64),
            "{status} against {outputs:?}"
        );
        ensure!(
            counted("errors") == Some(errors.len() as u64),
            "{status} against {errors:?}"
        );
        Ok(Finished {
            status,
            outputs,
            errors,
            failures,
        })
    }

    /// Creates, feeds and ends a job, and waits for it.
    pub fn run(
        client: &mut Client,
        store: &Store,
        phases: &Value,
        inputs: &[String],
        patience: Duration,
    ) -> Result<(Self, Finished)> {
        let job = Self::create(client, store, phases)?;
        if !inputs.is_empty() {
            job.add(client, inputs)?;
        }
        job.end(client)?;
        let finished = job.wait(client, patience)?;
        Ok((job, finished))
    }
}

impl Finished {
    /// Fails unless there is exactly one error, of this code.
    pub fn only_error(&self, code: &str) -> Result<&Value> {
        ensure!(
            self.errors.len() == 1,
            "one error is expected: {:?}",
            self.errors
        );
        ensure!(
            self.errors[0]["code"] == code,
            "{code} is expected: {:?}",
            self.errors
        );
        Ok(&self.errors[0])
    }

    /// Fails unless the job had no error, and returns the contents of its outputs, in the order of names.
    pub fn contents(&self, client: &mut Client) -> Result<Vec<String>> {
        ensure!(
            self.errors.is_empty(),
            "the job had errors: {:?}",
            self.errors
        );
        let mut names = self.outputs.clone();
        names.sort();
        names
            .iter()
            .map(|name| Ok(client.get(&url(name))?.expect(200)?.text()))
            .collect()
    }
}

/// A name as a path in a request.
#[must_use]
pub fn url(name: &str) -> String {
    name.split('/')
        .map(crate::wire::escape)
        .collect::<Vec<_>>()
        .join("/")
}
