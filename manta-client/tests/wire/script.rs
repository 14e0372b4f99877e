//! A server that plays a script.

use std::time::Duration;

use manta_client::{Auth, Client, Config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does with one request.
pub(crate) enum Step {
    /// Reads the head (and a body with a length), then writes this.
    Answer(&'static str),
    /// As `Answer`, and closes the connection.
    AnswerAndClose(&'static str),
    /// Reads the head only, then writes this and closes.
    RefuseBody(&'static str),
    /// `100 Continue`, the body, then this.
    Continue(&'static str),
    /// Closes without an answer, after reading the head.
    Drop,
}

/// Plays each script on a connection of its own, in order. Gives back the heads and bodies it read.
pub(crate) async fn serve(scripts: Vec<Vec<Step>>) -> (Client, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut requests = Vec::new();
        for script in scripts {
            let (mut stream, _) = listener.accept().await.unwrap();
            for step in script {
                play(&mut stream, step, &mut requests).await;
            }
        }
        requests
    });
    let mut config = Config::new(url, "alice", Auth::None);
    config.connect_attempts = 1;
    (Client::new(config).unwrap(), server)
}

async fn play(stream: &mut TcpStream, step: Step, requests: &mut Vec<String>) {
    let head = read_head(stream).await;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |text| text.parse().unwrap());
    let mut request = head;
    let answer = match &step {
        Step::Drop => "",
        Step::RefuseBody(answer) => answer,
        Step::Answer(answer) | Step::AnswerAndClose(answer) => {
            request.push_str(&read_body(stream, length).await);
            answer
        }
        Step::Continue(answer) => {
            stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .unwrap();
            request.push_str(&read_body(stream, length).await);
            answer
        }
    };
    requests.push(request);
    stream.write_all(answer.as_bytes()).await.unwrap();
    if matches!(
        step,
        Step::Drop | Step::AnswerAndClose(_) | Step::RefuseBody(_)
    ) {
        stream.shutdown().await.unwrap();
    }
}

pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(
            stream
                .read_u8()
                .await
                .expect("the client sends another request"),
        );
    }
    String::from_utf8(head).unwrap()
}

async fn read_body(stream: &mut TcpStream, length: usize) -> String {
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    String::from_utf8(body).unwrap()
}

/// Ends a test that waits for ever with a message instead.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("this must not take long")
}
