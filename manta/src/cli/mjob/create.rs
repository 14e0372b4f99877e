//! `mjob create`: make a job, feed it from stdin, and if asked wait for it and print its outputs.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;
use http::HeaderMap;
use manta_client::{Client, LiveList};

use super::bar::Bars;
use super::errors;
use super::inputs::{Batching, add_from_stdin};
use super::phases::PhaseOptions;
use super::wait::wait;
use crate::cli::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::json_text;
use crate::cli::output::Output;

/// Create a job.
///
/// Its phases are written as options (-m grep -r wc), as an expression (grep ^^ wc), or in a file (-f).
#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    batching: Batching,
    /// Wait until the job is done, then print its outputs
    #[arg(short = 'o', long)]
    cat_outputs: bool,
    /// No inputs will follow: end the input at once
    #[arg(long)]
    close: bool,
    /// Print the definition of the job instead of creating it
    #[arg(long)]
    dry_run: bool,
    /// Name of the job
    #[arg(short = 'n', long)]
    name: Option<String>,
    /// Leave the input open
    #[arg(long)]
    open: bool,
    /// Do not say how many inputs were added
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Wait until the job is done
    #[arg(short = 'w', long)]
    watch: bool,
    /// Take the whole definition from a JSON file
    #[arg(short = 'f', long)]
    file: Option<PathBuf>,
    #[command(flatten)]
    phases: PhaseOptions,
    /// Phases as words: MAP [^ MAP]... [^^ REDUCE]...
    expression: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Create {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let definition = self.definition()?;
        let mut output = Output::new();
        if self.dry_run {
            output.line(&json_text::pretty(&definition, 4))?;
            return output.finish();
        }
        let client = self.connection.client().await?;
        let id = client.create_job(definition).await?;
        if !self.cat_outputs {
            // Before the inputs are read, so that a pipeline can follow the job while it is fed.
            output.line(&id)?;
            output.finish()?;
        }
        let fed = self.feed(&client, &id).await;
        cancel_unfed(&client, &id, fed).await?;
        if self.watch || self.cat_outputs {
            let bars = Bars::new(self.quiet);
            let status = wait(&client, &id, bars.job(&id)).await?;
            errors::check(&client, &id, &status).await?;
        }
        if self.cat_outputs {
            print_outputs(&client, &id, &mut output).await?;
        }
        output.finish()
    }

    /// The definition as JSON text.
    fn definition(&self) -> Result<String, Failure> {
        if let Some(file) = &self.file {
            let named = |error: &dyn std::fmt::Display| {
                Failure::Message(format!("Error: {}: {error}", file.display()))
            };
            let text = std::fs::read_to_string(file).map_err(|error| named(&error))?;
            check_json(&text).map_err(|error| named(&error))?;
            return Ok(text);
        }
        let account = self.connection.account().unwrap_or_default();
        let phases = self.phases.phases(&self.expression, account)?;
        let name = self
            .name
            .as_deref()
            .map(|name| ("name", json_text::quote(name)));
        let phases = ("phases", format!("[{}]", phases.join(",")));
        Ok(json_text::object(name.into_iter().chain([phases])))
    }

    async fn feed(&self, client: &Client, id: &str) -> Result<(), Failure> {
        let ids = [id.to_owned()];
        if !io::stdin().is_terminal() {
            add_from_stdin(client, &ids, &self.batching, self.quiet).await?;
            if !self.open || self.close {
                client.end_job_input(id).await?;
            }
        } else if self.close {
            client.end_job_input(id).await?;
        } else if !self.open {
            eprintln!("mjob: warning: input stream left open");
        }
        Ok(())
    }
}

/// A job that did not get all its inputs must not run on with some of them. The failure stays what it was,
/// whatever becomes of the cancellation.
async fn cancel_unfed(client: &Client, id: &str, fed: Result<(), Failure>) -> Result<(), Failure> {
    if fed.is_err() {
        match client.cancel_job(id).await {
            Ok(()) => eprintln!("mjob: job {id} cancelled: its inputs were not added"),
            Err(error) => eprintln!("mjob: job {id} lacks inputs and was not cancelled: {error}"),
        }
    }
    fed
}

/// Whether the job makes sense the server says; that it is JSON at all is cheaper to say here.
fn check_json(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(drop)
}

/// The contents of the outputs, in the order they are listed, with nothing between them.
async fn print_outputs(client: &Client, id: &str, output: &mut Output) -> Result<(), Failure> {
    let mut outputs = client.job_list(id, LiveList::Outputs).await?;
    while let Some(path) = outputs.next().await? {
        let mut content = client.get(&path, HeaderMap::new()).await?;
        while let Some(chunk) = content.chunk().await? {
            output.bytes(&chunk)?;
        }
        output.finish()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(version, disable_version_flag = true)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    fn create(words: &[&str]) -> Create {
        Line::try_parse_from([&["create"], words].concat())
            .unwrap()
            .create
    }

    #[test]
    fn short_options_combine() {
        let create = create(&["--close", "-or", "echo hello"]);
        assert!(create.close && create.cat_outputs);
        assert_eq!(
            create.definition().unwrap(),
            r#"{"phases":[{"exec":"echo hello","type":"reduce"}]}"#
        );
    }

    #[test]
    fn the_definition_reads_as_the_ecosystems() {
        let definition = create(&["-n", "x \"y\"", "-m", "grep", "--count", "2", "-r", "wc"])
            .definition()
            .unwrap();
        let expected = r#"{
    "name": "x \"y\"",
    "phases": [
        {
            "exec": "grep",
            "type": "map"
        },
        {
            "count": 2,
            "exec": "wc",
            "type": "reduce"
        }
    ]
}"#;
        assert_eq!(json_text::pretty(&definition, 4), expected);
    }

    #[test]
    fn a_definition_from_a_file_must_be_json() {
        assert!(check_json("{\"phases\": [{}],\n \"name\": 1}\n").is_ok());
        for text in ["", "{", "{} {}", "phases"] {
            assert!(check_json(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_job_without_its_inputs_is_cancelled() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let token = manta_client::Auth::Token("token".to_owned().into());
        let client = Client::new(manta_client::Config::new(url, "user", token)).unwrap();
        let id = "c1a37a19-2d8a-4a36-9ca5-0b1a6c1c0c1a";
        assert!(cancel_unfed(&client, id, Ok(())).await.is_ok());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            String::from_utf8(request).unwrap()
        };
        let failed = Err(Failure::Message("no".to_owned()));
        let (request, result) = tokio::join!(server, cancel_unfed(&client, id, failed));
        assert!(matches!(result, Err(Failure::Message(message)) if message == "no"));
        let expected = format!("POST /user/jobs/{id}/live/cancel ");
        assert!(request.starts_with(&expected), "{request}");
    }
}
