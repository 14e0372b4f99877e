//! A session, seen from the terminal: what is typed goes out, what is shown comes in, until either side has
//! had enough. Source: marlin.md section 12.3.

use std::time::Duration;

use manta_client::{Said, Session};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};

use super::escapes::{Escape, Escapes};
use super::terminal::{self, Log, Raw};
use crate::cli::failure::Failure;
use crate::cli::stdin::stdin;

/// What keeps a session alive in which nothing is typed.
const PING_PERIOD: Duration = Duration::from_secs(15);
const TYPED_BYTES: usize = 4096;
/// How long the other end may take to hear that we leave.
const PARTING: Duration = Duration::from_secs(3);

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The command did, with this exit code; 128 and more for a signal, as shells say it.
    Exited(u8),
    /// The user has left.
    Left,
    Interrupted,
    /// The zone could not start what was asked for.
    Refused(String),
    /// The connection ended, for the reason that was given.
    Lost(String),
    /// The job did, before the session began.
    JobEnded,
}

/// What the user wants of the session.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) command: Option<String>,
    pub(super) quiet: bool,
    pub(super) escape: Option<u8>,
    pub(super) job: String,
}

/// Until the zone is there.
pub(super) async fn linked(session: &mut Session, log: &mut Log) -> Result<(), End> {
    loop {
        let text = match session.next().await {
            Said::Text(text) => text,
            Said::Bytes(_) => continue,
            Said::Closed(reason) => return Err(End::Lost(reason)),
        };
        match kind(&text, "medusa:").as_deref() {
            Some("linkup") => {
                log.established();
                return Ok(());
            }
            Some("wait") => log.waits(),
            _ => {}
        }
    }
}

/// To the end.
pub(super) async fn run(
    mut session: Session,
    wishes: Wishes,
    log: &mut Log,
) -> Result<End, Failure> {
    if !session.send_text(start(&wishes)).await {
        return Ok(lost(session).await);
    }
    let mut resized = signal(SignalKind::window_change())?;
    let mut keys = stdin()?;
    let mut typed = vec![0; TYPED_BYTES];
    let mut escapes = Escapes::new(wishes.escape);
    let mut pings = tokio::time::interval(PING_PERIOD);
    let mut raw = None;
    loop {
        let goes_on = tokio::select! {
            said = session.next() => match said {
                Said::Bytes(bytes) => {
                    terminal::show(&bytes);
                    true
                }
                Said::Closed(reason) => return Ok(End::Lost(reason)),
                Said::Text(text) => match kind(&text, "mlogin:").as_deref() {
                    Some("started") => {
                        log.others_write();
                        raw = Some(Raw::enter()?);
                        true
                    }
                    Some("exit") => {
                        drop(raw.take());
                        part(session).await;
                        return Ok(End::Exited(code(&text)));
                    }
                    Some("error") => {
                        part(session).await;
                        let error = document(&text, "mlogin:")["error"].clone();
                        return Ok(End::Refused(error.as_str().unwrap_or("?").to_owned()));
                    }
                    _ => true,
                },
            },
            read = keys.read(&mut typed), if raw.is_some() => match read? {
                0 => {
                    part(session).await;
                    return Ok(End::Left);
                }
                length => {
                    let (passed, wanted) = escapes.sort(&typed[..length]);
                    if wanted.contains(&Escape::End) {
                        drop(raw.take());
                        part(session).await;
                        return Ok(End::Left);
                    }
                    wanted.iter().for_each(|wish| answer(*wish, &wishes));
                    passed.is_empty() || session.send_bytes(passed).await
                }
            },
            _ = resized.recv() => session.send_text(resize()).await,
            _ = pings.tick() => session.send_text("ping".to_owned()).await,
        };
        if !goes_on {
            return Ok(lost(session).await);
        }
    }
}

fn start(wishes: &Wishes) -> String {
    let shell = match &wishes.command {
        Some(command) => vec!["-c", command],
        None => vec!["--norc"],
    };
    let (columns, lines) = terminal::size().unzip();
    let start = json!({
        "type": "start",
        "cwd": "/",
        "term": std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned()),
        "columns": columns,
        "lines": lines,
        "command": "/bin/bash",
        "arguments": shell,
        "quiet": wishes.quiet,
    });
    format!("mlogin:{start}")
}

fn resize() -> String {
    let (columns, lines) = terminal::size().unzip();
    let resize = json!({ "type": "resize", "columns": columns, "lines": lines });
    format!("mlogin:{resize}")
}

/// What could not be sent could not because the session is over, and why, was said before.
async fn lost(mut session: Session) -> End {
    let reason = async {
        loop {
            if let Said::Closed(reason) = session.next().await {
                return reason;
            }
        }
    };
    let reason = tokio::time::timeout(PARTING, reason).await;
    End::Lost(reason.unwrap_or_default())
}

async fn part(session: Session) {
    let _ = tokio::time::timeout(PARTING, session.close()).await;
}

/// The terminal is raw, so a line ends with both characters.
fn answer(wish: Escape, wishes: &Wishes) {
    let text = match wish {
        Escape::End => return,
        Escape::Information => format!(
            "\r\nInformation about this Manta job:\r\n   Job ID: {}\r\n",
            wishes.job
        ),
        Escape::Help => [
            "\r\nSupported escape sequences:",
            " !.   - terminate session",
            " !i   - print job information",
            " !?   - this message",
            " !!   - send the escape character by typing it twice",
            "(Note that escapes are only recognized immediately after newline.)\r\n",
        ]
        .join("\r\n")
        .replace('!', &char::from(wishes.escape.unwrap_or(b'~')).to_string()),
    };
    terminal::show(text.as_bytes());
}

/// The message's own word for itself, if it is one with that prefix.
fn kind(text: &str, prefix: &str) -> Option<String> {
    document(text, prefix)["type"].as_str().map(str::to_owned)
}

/// Null for anything else.
fn document(text: &str, prefix: &str) -> Value {
    let document = text.strip_prefix(prefix);
    document
        .and_then(|document| serde_json::from_str(document).ok())
        .unwrap_or_default()
}

fn code(text: &str) -> u8 {
    let exit = document(text, "mlogin:");
    let code = exit["code"]
        .as_u64()
        .and_then(|code| u8::try_from(code).ok());
    let signal = exit["signal"].as_str().and_then(signal_number);
    match (code, signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        // A zone that does not say is one of Manta's own.
        (None, None) => 0,
    }
}

/// Those that end programs without their doing.
fn signal_number(name: &str) -> Option<u8> {
    let known = [
        ("SIGHUP", 1),
        ("SIGINT", 2),
        ("SIGQUIT", 3),
        ("SIGILL", 4),
        ("SIGABRT", 6),
        ("SIGBUS", 7),
        ("SIGFPE", 8),
        ("SIGKILL", 9),
        ("SIGSEGV", 11),
        ("SIGPIPE", 13),
        ("SIGTERM", 15),
    ];
    let found = known.iter().find(|(known, _)| *known == name);
    found.map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_commands() {
        for (text, expected) in [
            (r#"mlogin:{"type":"exit","code":3}"#, 3),
            (r#"mlogin:{"type":"exit","signal":"SIGKILL"}"#, 137),
            (r#"mlogin:{"type":"exit"}"#, 0),
            (r#"mlogin:{"type":"exit","code":300}"#, 0),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
    }
}
