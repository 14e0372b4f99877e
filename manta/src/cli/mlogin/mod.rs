//! `mlogin`: a shell in a zone, next to an object. A job whose one task is the zone's end of a session; the
//! terminal's end is here.

mod escapes;
mod session;
mod terminal;

use std::io::{self, IsTerminal as _};
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use manta_client::{
    Client, Error, LiveList, Payload, PutOptions, Session, SignedUrl, resolve_path,
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::command::Command;
use super::connection::{Connection, raw_paths};
use super::failure::Failure;
use super::printable::printable;
use session::{End, Wishes};
use terminal::Log;

/// What the job runs, and its asset: the store has it. Source: marlin.md section 12.2.
const AGENT: &str = "/poseidon/public/medusa/agent.sh";

/// How long the zone may take to use what it is told of the session.
const INVITATION: Duration = Duration::from_secs(300);

/// A job that ends without its session is noticed within this.
const POLL: Duration = Duration::from_secs(5);
/// Between two looks at one that is about to end.
const LOOK: Duration = Duration::from_millis(50);

/// Run a shell or a command in a compute zone, next to an object
#[derive(Debug, Parser)]
#[command(
    name = "mlogin",
    version,
    disable_version_flag = true,
    after_help = "Right after a newline, these are for mlogin itself (with another character: -e):
  ~.  end the session        ~i  print the id of the job
  ~?  list these             ~~  send the character

Examples:
  mlogin ~~/stor/book.txt
  mlogin -c 'wc \"$MANTA_INPUT_FILE\"' ~~/stor/book.txt
  mlogin --memory 2048 -s ~~/stor/tool"
)]
pub(super) struct Arguments {
    /// Command to run instead of a shell
    #[arg(short = 'c', long)]
    command: Option<String>,
    /// Object to place in the zone; repeat it for several
    #[arg(short = 's', long = "asset", value_name = "OBJECT")]
    assets: Vec<String>,
    /// Say nothing but what the session says
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Disk space
    #[arg(long, value_name = "GB")]
    disk: Option<NonZeroU32>,
    /// Memory
    #[arg(long, value_name = "MB")]
    memory: Option<NonZeroU32>,
    /// Command to run before the session begins
    #[arg(long, value_name = "CMD")]
    init: Option<String>,
    /// Compute image, a semver range
    #[arg(long, value_name = "RANGE")]
    image: Option<String>,
    /// Escape character, or none
    #[arg(short = 'e', long, value_name = "CHAR", default_value = "~", value_parser = parse_escape)]
    escape: EscapeCharacter,
    /// The object to sit next to; without one, a reducer without input
    object: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EscapeCharacter(Option<u8>);

fn parse_escape(text: &str) -> Result<EscapeCharacter, String> {
    match text.as_bytes() {
        b"none" => Ok(EscapeCharacter(None)),
        b"\r" | b"\n" => Err("must not be a carriage return or linefeed".to_owned()),
        [character] => Ok(EscapeCharacter(Some(*character))),
        _ => Err("must be a single character, or none".to_owned()),
    }
}

/// What is left to clean up.
struct Guest {
    client: Client,
    job: String,
    /// The description of the session, for the zone.
    description: String,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        let mut log = Log::new(self.quiet);
        let ends = [
            ("stdin", io::stdin().is_terminal()),
            ("stdout", io::stdout().is_terminal()),
        ];
        if let Some((name, _)) = ends.iter().find(|(_, terminal)| !terminal) {
            return Err(Failure::Message(format!("{name} is not a TTY; aborting.")));
        }
        let client = self.connection.client().await?;
        let account = self.connection.account().unwrap_or_default();
        let object = self.object.as_deref();
        let object = object
            .map(|object| resolve_path(object, account))
            .transpose()?;
        if let Some(object) = &object {
            check_object(&client, object).await?;
        }
        let name = uuid::Uuid::new_v4();
        let description = format!("/{account}/stor/medusa-config-{name}.json");
        let definition = self.definition(account, object.is_some(), &description)?;
        // From now on there is something to clean up.
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminates = signal(SignalKind::terminate())?;
        let mut hangs_up = signal(SignalKind::hangup())?;
        let job = client.create_job(definition.to_string()).await?;
        log.line(&format!("created interactive job -- {job}"));
        let guest = Guest {
            client,
            job,
            description,
        };
        let end = tokio::select! {
            end = self.host(&guest, object, &mut log) => end,
            _ = interrupts.recv() => Ok(End::Interrupted),
            _ = terminates.recv() => Ok(End::Interrupted),
            _ = hangs_up.recv() => Ok(End::Interrupted),
        };
        // The zone ends the job itself, for it knows how.
        let cancel = !matches!(end, Ok(End::Exited(_)));
        let goodbye = async {
            let outcome = explain(&guest, end, &mut log).await;
            log.line("cleaning up resources...");
            guest.leave(cancel).await;
            outcome
        };
        tokio::select! {
            outcome = goodbye => outcome,
            // The store does not answer, and nobody wants to wait for it any more.
            _ = interrupts.recv() => Err(Failure::Reported),
        }
    }
}

impl Arguments {
    fn definition(&self, account: &str, map: bool, description: &str) -> Result<Value, Failure> {
        let mut assets = vec![AGENT.to_owned(), description.to_owned()];
        for asset in &self.assets {
            assets.push(resolve_path(asset, account)?);
        }
        let mut phase = json!({
            "exec": format!("/assets{AGENT}"),
            "type": if map { "map" } else { "reduce" },
            "assets": assets,
        });
        for (name, value) in [
            ("memory", self.memory.map(|memory| json!(memory))),
            ("disk", self.disk.map(|disk| json!(disk))),
            ("init", self.init.as_ref().map(|init| json!(init))),
            ("image", self.image.as_ref().map(|image| json!(image))),
        ] {
            if let Some(value) = value {
                phase[name] = value;
            }
        }
        Ok(json!({ "name": "interactive compute job", "phases": [phase] }))
    }

    /// From an empty job to the end of the session. The terminal's end comes first, then the zone is invited.
    async fn host(
        &self,
        guest: &Guest,
        object: Option<String>,
        log: &mut Log,
    ) -> Result<End, Failure> {
        let session = guest.client.attach(&guest.job).await?;
        self.invite(guest).await?;
        if let Some(object) = object {
            guest.client.add_job_inputs(&guest.job, &[object]).await?;
        }
        guest.client.end_job_input(&guest.job).await?;
        let wishes = Wishes {
            command: self.command.clone(),
            quiet: self.quiet,
            escape: self.escape.0,
            job: guest.job.clone(),
        };
        self.meet(guest, session, wishes, log).await
    }

    /// Leaves a description of the session where the zone finds it: a URL that is good for a while.
    async fn invite(&self, guest: &Guest) -> Result<(), Failure> {
        let signer = self.connection.signer(None).await?;
        let roles: Vec<&str> = self.connection.roles().collect();
        let roles = roles.join(",");
        let account = self.connection.account().unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let until = now.unwrap_or_default() + INVITATION;
        let url = SignedUrl {
            server: self.connection.url()?,
            path: &format!("/{account}/medusa/attach/{}/slave", guest.job),
            account,
            raw_path: raw_paths(),
            methods: &["GET"],
            expires: until.as_secs(),
            algorithm: None,
            query: if roles.is_empty() {
                &[]
            } else {
                &[("role", roles.as_str())]
            },
        };
        let url = signer.sign_url(&url).await?;
        let insecure = self.connection.is_insecure();
        let description = json!({ "signed_url": url, "insecure_tls": insecure }).to_string();
        let options = PutOptions {
            copies: Some(1),
            content_type: Some("application/json".to_owned()),
            ..PutOptions::default()
        };
        let payload = Payload::from(description);
        guest
            .client
            .put(&guest.description, payload, options)
            .await?;
        Ok(())
    }

    /// Waits for the zone, unless its job ends without it, and stays to the end.
    async fn meet(
        &self,
        guest: &Guest,
        mut session: Session,
        wishes: Wishes,
        log: &mut Log,
    ) -> Result<End, Failure> {
        let linked = tokio::select! {
            linked = session::linked(&mut session, log) => linked,
            () = guest.job_ends(POLL) => Err(End::JobEnded),
        };
        match linked {
            Ok(()) => session::run(session, wishes, log).await,
            Err(end) => Ok(end),
        }
    }
}

async fn check_object(client: &Client, object: &str) -> Result<(), Failure> {
    let is_directory = match client.head(object).await {
        Ok(info) => info.is_directory(),
        Err(error) if error.is_not_found() => {
            return Err(Failure::Message("object not found in Manta".to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    if is_directory {
        let message = "mlogin only works on objects, not directories";
        return Err(Failure::Message(message.to_owned()));
    }
    Ok(())
}

/// Tells the user why the session is over, where they cannot know.
async fn explain(guest: &Guest, end: Result<End, Failure>, log: &mut Log) -> Result<(), Failure> {
    let end = match end {
        Ok(end) => end,
        Err(Failure::Client(error)) => {
            log.line(&format!("ERROR: {}", error.line()));
            return Err(Failure::Client(error));
        }
        Err(failure) => return Err(failure),
    };
    match end {
        End::Exited(0) => {
            log.line("remote process exited");
            Ok(())
        }
        End::Exited(code) => {
            log.line("remote process exited");
            Err(Failure::Status(code))
        }
        End::Left => {
            log.line("session complete");
            Ok(())
        }
        End::Interrupted => {
            log.line("caught interrupt; aborting...");
            Err(Failure::Reported)
        }
        End::Refused(error) => Err(Failure::Message(format!(
            "remote error: {}",
            printable(&error)
        ))),
        End::Lost(reason) => {
            let reason = if reason.is_empty() {
                "no reason given"
            } else {
                &reason
            };
            log.line(&format!("connection ended unexpectedly ({reason})"));
            guest.explain_job(log).await;
            Err(Failure::Reported)
        }
        End::JobEnded => {
            guest.explain_job(log).await;
            Err(Failure::Reported)
        }
    }
}

impl Guest {
    async fn status(&self) -> Result<Value, Error> {
        let text = self.client.job(&self.job).await?;
        serde_json::from_str(&text).map_err(|error| Error::Malformed(error.to_string()))
    }

    /// Until the job is over, however often the store cannot tell.
    async fn job_ends(&self, pause: Duration) {
        loop {
            tokio::time::sleep(pause).await;
            if self
                .status()
                .await
                .is_ok_and(|status| status["state"] == "done")
            {
                return;
            }
        }
    }

    /// What the job says about its end.
    async fn explain_job(&self, log: &mut Log) {
        // A session that ended by itself is soon followed by its job.
        let _ = tokio::time::timeout(POLL, self.job_ends(LOOK)).await;
        let Ok(status) = self.status().await else {
            return;
        };
        let count = |name: &str| status["stats"][name].as_u64().unwrap_or(0);
        if status["cancelled"] == true {
            log.line("The job was cancelled.");
        } else if count("errors") > 0 {
            log.line("Error during job run; please check errors.");
            let _ = self.show_errors(log).await;
        } else if count("retries") > 0 {
            log.line(
                "Job experienced transient failures in the Manta compute engine.  Please try \
                 mlogin again.",
            );
        } else if status["state"] == "done" {
            log.line("Job is now \"done\".");
        }
    }

    async fn show_errors(&self, log: &mut Log) -> Result<(), Error> {
        let mut errors = self.client.job_list(&self.job, LiveList::Errors).await?;
        while let Some(line) = errors.next().await? {
            let error: Value = serde_json::from_str(&line).unwrap_or_default();
            let text = |name: &str| printable(error[name].as_str().unwrap_or("?"));
            log.line(&format!(
                "IN-JOB ERROR: {}: {}",
                text("code"),
                text("message")
            ));
        }
        Ok(())
    }

    /// Leaves nothing: neither a job that waits for us, nor the description of a session that is over. Of a job
    /// that has ended and an object that the zone has deleted the store says so.
    async fn leave(self, cancel: bool) {
        if cancel {
            let _ = self.client.cancel_job(&self.job).await;
        }
        let _ = self.client.delete(&self.description).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_is_what_the_clients_of_manta_make() {
        let arguments = Arguments::parse_from([
            "mlogin",
            "--memory",
            "512",
            "--disk",
            "4",
            "-s",
            "~~/stor/x",
            "--init",
            "true",
            "o",
        ]);
        let definition = arguments.definition("u", true, "/u/stor/d.json").unwrap();
        let expected = json!({
            "name": "interactive compute job",
            "phases": [{
                "exec": "/assets/poseidon/public/medusa/agent.sh",
                "type": "map",
                "assets": [AGENT, "/u/stor/d.json", "/u/stor/x"],
                "memory": 512, "disk": 4, "init": "true",
            }],
        });
        assert_eq!(definition, expected);
        let alone = arguments.definition("u", false, "/u/stor/d.json").unwrap();
        assert_eq!(alone["phases"][0]["type"], "reduce");
    }

    #[test]
    fn an_escape_is_one_character_or_none() {
        assert_eq!(parse_escape("%"), Ok(EscapeCharacter(Some(b'%'))));
        assert_eq!(parse_escape("none"), Ok(EscapeCharacter(None)));
        for wrong in ["", "ab", "\n", "\r", "ü"] {
            assert!(parse_escape(wrong).is_err(), "{wrong:?}");
        }
    }
}
