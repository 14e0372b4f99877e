//! One session: what is typed goes into the terminal, what is written there goes out, until the command ends
//! or the user's end is gone.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::process::Child;
use tokio_tungstenite::tungstenite::Message;

use super::Socket;
use super::protocol::{Exit, Order, Report, Start};
use super::terminal::{self, Keys, Screen};
use crate::names;

/// How long a terminal that has been joined may take to say what it wants.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// A command that has ended has written everything. What it left behind may still hold the terminal, and go
/// on writing; a moment of silence is the end.
const SILENCE: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(5);
/// How long the terminal may take to close once it knows.
const PARTING: Duration = Duration::from_secs(5);
const PIECE_BYTES: usize = 16 << 10;

type Sink = SplitSink<Socket, Message>;

/// Returns when the session is over, for whatever reason. Errors: it did not begin.
pub(super) async fn run(socket: Socket, login: &str) -> Result<(), String> {
    let (mut sink, mut stream) = socket.split();
    let start = tokio::time::timeout(START_TIMEOUT, await_start(&mut stream)).await;
    let start = match start {
        // The user has thought better of it.
        Ok(None) => return Ok(()),
        Ok(Some(start)) => start,
        Err(_) => Err("the terminal does not say what to start".to_owned()),
    };
    let begun = start.and_then(|start| begin(start, login));
    let Begun {
        mut screen,
        mut keys,
        mut child,
        banner,
    } = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let report = Report::Error {
                error: error.clone(),
            };
            let _ = sink.send(Message::text(report.text())).await;
            part(&mut sink, &mut stream).await;
            return Err(error);
        }
    };
    let started = Report::Started {
        pid: child.id().unwrap_or_default(),
    };
    let greeting = [Message::text(started.text()), Message::binary(banner)];
    let mut greeting = futures_util::stream::iter(greeting.into_iter().map(Ok));
    if sink.send_all(&mut greeting).await.is_err() {
        return Ok(());
    }
    let exit = tokio::select! {
        () = type_in(&mut stream, &mut keys) => return Ok(()),
        exit = show(&mut sink, &mut screen, &mut child) => exit,
    };
    if let Some(exit) = exit {
        let _ = sink.send(Message::text(Report::Exit(exit).text())).await;
        part(&mut sink, &mut stream).await;
    }
    Ok(())
}

/// `None` when the terminal leaves before it says anything.
async fn await_start(stream: &mut SplitStream<Socket>) -> Option<Result<Start, String>> {
    loop {
        match stream.next().await? {
            Ok(Message::Text(text)) => match Order::parse(&text) {
                Some(Ok(Order::Start(start))) => return Some(Ok(start)),
                Some(Err(error)) => return Some(Err(format!("unknown order: {error}"))),
                Some(Ok(Order::Resize(_) | Order::Other)) | None => {}
            },
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// A command in its terminal.
struct Begun {
    screen: Screen,
    keys: Keys,
    child: Child,
    /// What the user sees first.
    banner: Vec<u8>,
}

fn begin(start: Start, login: &str) -> Result<Begun, String> {
    let failed = |what: &str, error: std::io::Error| format!("{what}: {error}");
    let (screen, keys, theirs) =
        terminal::open(start.size.get()).map_err(|error| failed("no terminal", error))?;
    let command = start.command(|program| std::path::Path::new(program).exists());
    let variables = [
        ("TERM", start.term().to_owned()),
        // Source: operations.md section 10.
        ("PS1", format!("{login}@manta # ")),
    ];
    let child = terminal::start(&theirs, &command, start.cwd(), &variables);
    let child =
        child.map_err(|error| failed(&format!("cannot start in {}", start.cwd()), error))?;
    let input = std::env::var("MANTA_INPUT_FILE").ok();
    let banner = match input.filter(|_| start.is_shell() && !start.quiet) {
        Some(file) => format!(" * your object is at $MANTA_INPUT_FILE: {file}\r\n").into_bytes(),
        None => Vec::new(),
    };
    Ok(Begun {
        screen,
        keys,
        child,
        banner,
    })
}

/// Until the user's end is gone.
async fn type_in(stream: &mut SplitStream<Socket>, keys: &mut Keys) {
    loop {
        let message = tokio::select! {
            message = stream.next() => message,
            () = keys.write_some(), if keys.has_some() => continue,
        };
        match message {
            Some(Ok(Message::Binary(bytes))) => keys.push(&bytes),
            Some(Ok(Message::Text(text))) => {
                if let Some(Ok(Order::Resize(size))) = Order::parse(&text) {
                    // A terminal that cannot be resized is as large as before.
                    let _ = keys.resize(size.get());
                }
            }
            None | Some(Ok(Message::Close(_)) | Err(_)) => return,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
        }
    }
}

/// Until the command has ended and everything it wrote has been sent; `None` if that cannot be sent.
async fn show(sink: &mut Sink, screen: &mut Screen, child: &mut Child) -> Option<Exit> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut ended = None;
    loop {
        let read = tokio::select! {
            biased;
            read = screen.read(&mut piece) => read,
            status = child.wait(), if ended.is_none() => {
                ended = Some((status.ok()?, tokio::time::Instant::now()));
                continue;
            }
            () = tokio::time::sleep(SILENCE), if ended.is_some() => Ok(0),
        };
        let over = ended.is_some_and(|(_, at)| at.elapsed() >= REST_MAX);
        match read {
            Ok(length) if length > 0 && !over => {
                let piece = piece.get(..length).unwrap_or_default();
                sink.send(Message::binary(piece.to_vec())).await.ok()?;
            }
            // Nobody holds the terminal; whoever lives on without it is waited for.
            _ => match ended {
                Some((status, _)) => return Some(exit(status)),
                None => return Some(exit(child.wait().await.ok()?)),
            },
        }
    }
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code { code },
        (None, Some(signal)) => Exit::Signal {
            signal: names::signal(signal),
        },
        (None, None) => Exit::Code { code: 0 },
    }
}

/// Waits for the other end to close, which it does when it has heard everything.
async fn part(sink: &mut Sink, stream: &mut SplitStream<Socket>) {
    let parting = async {
        while let Some(Ok(message)) = stream.next().await {
            if message.is_close() {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(PARTING, parting).await;
    let _ = tokio::time::timeout(PARTING, sink.close()).await;
}
