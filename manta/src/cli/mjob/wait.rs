//! Waiting for a job. The server answers when there is news, so a job that is done is known at once and one
//! that takes its time costs nothing; a server that answers at once instead is asked again and again.

use std::time::{Duration, Instant};

use manta_client::{Client, Error};
use serde::Deserialize;

use super::bar::Bar;
use crate::cli::failure::Failure;

/// How long a server is asked to wait for news: shorter than what stands between us takes for a dead
/// connection.
const WAIT: Duration = Duration::from_secs(25);
/// While somebody looks at how far the job is: counters are no news.
const WAIT_SEEN: Duration = Duration::from_secs(1);
/// Between questions to a server that does not wait. A small job is done within a tenth of a second; asking
/// only every so often would be most of its time.
const POLL_MIN: Duration = Duration::from_millis(20);
/// And at the end of a long one nobody wants to wait for the next question.
const POLL_MAX: Duration = Duration::from_secs(1);
/// Questions in a row that may go unanswered before the wait is given up; the job itself goes on.
const FAILURES_MAX: u32 = 10;

/// What matters of a status document.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) state: String,
    #[serde(default)]
    pub(super) input_done: bool,
    #[serde(default)]
    pub(super) stats: Stats,
    /// The document itself.
    #[serde(skip)]
    pub(super) text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Stats {
    pub(super) errors: u64,
    pub(super) outputs: u64,
    pub(super) retries: u64,
    pub(super) tasks: u64,
    pub(super) tasks_done: u64,
}

impl Status {
    pub(super) fn read(text: String) -> Result<Status, Error> {
        let status: Result<Status, _> = serde_json::from_str(&text);
        match status {
            Ok(status) => Ok(Status { text, ..status }),
            Err(error) => Err(Error::Malformed(format!("the job's status: {error}"))),
        }
    }

    pub(super) fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "done" | "archiving")
    }
}

/// Returns when the job is done. A server that cannot answer for a moment does not end the wait.
pub(super) async fn wait(client: &Client, id: &str, mut bar: Bar<'_>) -> Result<Status, Failure> {
    let at_most = if bar.is_seen() { WAIT_SEEN } else { WAIT };
    let mut pause = POLL_MIN;
    let mut failures = 0;
    loop {
        let asked = Instant::now();
        match client.job_news(id, at_most).await {
            Ok(text) => {
                failures = 0;
                let status = Status::read(text)?;
                if status.is_final() {
                    return Ok(status);
                }
                bar.show(&status);
            }
            Err(error) if failures < FAILURES_MAX && is_passing(&error) => failures += 1,
            Err(error) => return Err(error.into()),
        }
        // Who answers early and has no more to say either had other news, which are few, or does not wait,
        // however long its answers are on their way.
        if asked.elapsed() < at_most / 2 {
            tokio::time::sleep(pause).await;
            pause = pause.mul_f64(1.5).min(POLL_MAX);
        } else {
            pause = POLL_MIN;
        }
    }
}

fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Broken(_) | Error::Connect { .. })
        || error
            .status()
            .is_some_and(|status| status.is_server_error())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::cli::mjob::bar::Bars;

    #[test]
    fn done_and_archiving_are_final() {
        for (state, ends) in [
            ("queued", false),
            ("running", false),
            ("archiving", true),
            ("done", true),
        ] {
            let text = format!(r#"{{"id":"x","state":"{state}","stats":{{}}}}"#);
            let status = Status::read(text.clone()).unwrap();
            assert_eq!(status.is_final(), ends, "{state}");
            assert_eq!((status.stats.errors, status.text), (0, text));
        }
        assert!(Status::read("[]".to_owned()).is_err());
    }

    async fn request(stream: &mut TcpStream) -> String {
        let mut request = Vec::new();
        while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        String::from_utf8(request).unwrap()
    }

    /// A server from before there was anything to wait for, far away: it ignores the rest of the question.
    #[tokio::test]
    async fn a_server_that_does_not_wait_is_asked_again_but_not_without_a_pause() {
        const TIMES: u32 = 5;
        const AWAY: Duration = Duration::from_millis(30);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let token = manta_client::Auth::Token("token".to_owned().into());
        let client = Client::new(manta_client::Config::new(url, "user", token)).unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            for time in 1..=TIMES {
                let asked = request(&mut stream).await;
                let expected = "GET /user/jobs/some/live/status?wait=25 HTTP/1.1\r\n";
                assert!(asked.starts_with(expected), "{asked}");
                let state = if time == TIMES { "done" } else { "running" };
                let body = format!("{{\"state\":\"{state}\"}}");
                let length = body.len();
                tokio::time::sleep(AWAY).await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                stream.write_all(head.as_bytes()).await.unwrap();
            }
            stream
        };
        let bars = Bars::new(true);
        let begun = Instant::now();
        let (_stream, status) = tokio::join!(server, wait(&client, "some", bars.job("some")));
        assert_eq!(status.unwrap().state, "done");
        // 20, 30, 45 and 67 milliseconds.
        let pauses = begun.elapsed() - TIMES * AWAY;
        assert!(pauses >= Duration::from_millis(160), "{pauses:?}");
    }
}
