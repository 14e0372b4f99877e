//! `medusa-agent`: the zone's end of an `mlogin` session, started by the script that [`crate::medusa`] offers.
//!
//! The user has left a signed URL among the assets. It says where the user's terminal waits, and is taken as
//! that alone: the local Manta, the only way out of a zone, passes this one upgrade on, with the job's token.
//! Whatever ends the session also ends the task, through the control API: what the user's programs did, core
//! dumps included, is no failure of the task, and whatever they left behind goes with the zone.
//! Source: marlin.md section 12.

mod protocol;
mod session;
mod terminal;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Method, StatusCode, Uri};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::agent::control;
use crate::front_door::{BoxError, FrontDoor, empty, encode_path, full};
use crate::tools::{FAILURE, USAGE, block_on, finish, local_manta, say, usage};

pub(super) const NAME: &str = "medusa-agent";
/// Runs a command in the terminal that standard input is. For this program itself.
const IN_TERMINAL: &str = "--in-terminal";

/// Where assets lie.
const ASSETS: &str = "/assets";
const CONFIG_BYTES_MAX: u64 = 64 << 10;

/// A store that restarts is back within that.
const ATTEMPTS: u32 = 5;
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// What the user's `mlogin` stored.
#[derive(Debug, Deserialize)]
struct Config {
    signed_url: String,
}

pub(super) fn main(args: Vec<String>) -> u8 {
    match args.split_first() {
        None => finish(NAME, block_on(serve())),
        Some((option, command)) if option == IN_TERMINAL => in_terminal(command),
        Some(_) => usage(NAME, "takes no arguments", "see mlogin"),
    }
}

/// The task knows how it went before anybody else does.
async fn serve() -> Result<(), BoxError> {
    let front_door = local_manta();
    let went = run(&front_door).await;
    let (what, body) = match &went {
        Ok(()) => ("commit", empty()),
        Err(message) => {
            let error = serde_json::json!({ "error": { "message": message } });
            ("fail", full(error.to_string().into()))
        }
    };
    let path = format!("{}{what}", control::PREFIX);
    let request = front_door.request(Method::POST, &path, None);
    let request = request.header(CONTENT_TYPE, "application/json");
    front_door.call(request, body).await?;
    went.map_err(Into::into)
}

/// Errors: for the user, in the list of the job's errors.
async fn run(front_door: &FrontDoor) -> Result<(), String> {
    let login = std::env::var("MANTA_USER").map_err(|_| "MANTA_USER is not set".to_owned())?;
    let file = find_config(&Path::new(ASSETS).join(&login).join("stor"))?;
    let target = read_config(&file)?;
    // It is of no use any more, and lets whoever reads it join the session.
    if let Ok(name) = file.strip_prefix(ASSETS) {
        let path = encode_path(&format!("/{}", name.display()));
        let request = front_door.request(Method::DELETE, &path, None);
        if let Err(error) = front_door.call(request, empty()).await {
            say(&format!("medusa-agent: {path} not deleted: {error}"));
        }
    }
    let socket = connect(front_door, &target).await?;
    session::run(socket, &login).await
}

fn find_config(directory: &Path) -> Result<PathBuf, String> {
    let none = || format!("no session is described in {}", directory.display());
    let entries = std::fs::read_dir(directory).map_err(|_| none())?;
    let is_config = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("medusa-config-") && name.ends_with(".json"))
    };
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(is_config).ok_or_else(none)
}

/// Path and query of the URL in it.
fn read_config(file: &Path) -> Result<String, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let length = file.metadata().map_err(|error| wrong(&error))?.len();
    if length > CONFIG_BYTES_MAX {
        return Err(wrong(&"too long"));
    }
    let text = std::fs::read(file).map_err(|error| wrong(&error))?;
    let config: Config = serde_json::from_slice(&text).map_err(|error| wrong(&error))?;
    let url: Uri = config.signed_url.parse().map_err(|_| wrong(&"no URL"))?;
    let target = url.path_and_query().ok_or_else(|| wrong(&"no path"))?;
    Ok(target.as_str().to_owned())
}

async fn connect(front_door: &FrontDoor, target: &str) -> Result<Socket, String> {
    let mut attempt = 1;
    loop {
        let request = front_door
            .request(Method::GET, target, None)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, generate_key())
            .body(empty())
            .map_err(|error| error.to_string())?;
        let answer = front_door.send(request).await;
        let why = match answer {
            Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                let upgraded = hyper::upgrade::on(answer).await;
                let upgraded = upgraded.map_err(|error| error.to_string())?;
                let socket = TokioIo::new(upgraded);
                return Ok(WebSocketStream::from_raw_socket(socket, Role::Client, None).await);
            }
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND => {
                return Err("the terminal is gone".to_owned());
            }
            Ok(answer) if !answer.status().is_server_error() => {
                return Err(format!("the session was refused: {}", answer.status()));
            }
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.to_string(),
        };
        if attempt == ATTEMPTS {
            return Err(format!("the session cannot be reached: {why}"));
        }
        attempt += 1;
        tokio::time::sleep(ATTEMPT_PAUSE).await;
    }
}

/// Makes standard input the controlling terminal of a session of its own, and becomes the command.
fn in_terminal(command: &[String]) -> u8 {
    let Some((program, args)) = command.split_first() else {
        return USAGE;
    };
    let controlled =
        rustix::process::setsid().and_then(|_| rustix::process::ioctl_tiocsctty(std::io::stdin()));
    if let Err(error) = controlled {
        say(&format!("medusa-agent: no controlling terminal: {error}"));
        return FAILURE;
    }
    let error = std::process::Command::new(program).args(args).exec();
    say(&format!("{program}: {error}"));
    // What shells say of a command that cannot be executed.
    127
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_of_a_session_is_found_and_read() {
        let directory = tempfile::tempdir().unwrap();
        assert!(find_config(&directory.path().join("none")).is_err());
        std::fs::write(directory.path().join("medusa-config-x.txt"), "").unwrap();
        assert!(find_config(directory.path()).is_err());
        let file = directory.path().join("medusa-config-1.json");
        let url = "https://manta.example:8443/u/medusa/attach/1/slave?a=b&c=%2F";
        let config = serde_json::json!({ "signed_url": url, "insecure_tls": false });
        std::fs::write(&file, config.to_string()).unwrap();
        let found = find_config(directory.path()).unwrap();
        let target = read_config(&found).unwrap();
        assert_eq!(target, "/u/medusa/attach/1/slave?a=b&c=%2F");
        for wrong in ["", "{}", r#"{"signed_url": 1}"#, r#"{"signed_url": "a b"}"#] {
            std::fs::write(&file, wrong).unwrap();
            assert!(read_config(&file).is_err(), "{wrong}");
        }
    }
}
