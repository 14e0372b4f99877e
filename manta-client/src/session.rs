//! The terminal's end of an interactive session in a job. What the two ends say to each other is theirs; this
//! carries it.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use crate::body::Payload;
use crate::client::{Client, check};
use crate::error::Error;
use crate::path::encode_segment;

/// A connection that both ends of a session share, seen from the terminal.
#[derive(Debug)]
pub struct Session(WebSocketStream<TokioIo<Upgraded>>);

/// What comes over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The session's own messages, `medusa:` or `mlogin:` and JSON.
    Text(String),
    /// Of the terminal.
    Bytes(Bytes),
    /// It is over. The reason, where one was given.
    Closed(String),
}

impl Client {
    /// Becomes the terminal's end of a job's session. Errors: `Reply` when the job is over, when it has such an
    /// end already, or may not be joined.
    pub async fn attach(&self, job: &str) -> Result<Session, Error> {
        let end = format!("medusa/attach/{}/master", encode_segment(job));
        let target = self.target(&self.own(&end))?;
        let key = generate_key();
        let value = |text: &str| HeaderValue::from_str(text).map_err(http::Error::from);
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, value(&key)?);
        let answer = self
            .request(Method::GET, &target, headers, Payload::Empty)
            .await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let refused = check(answer, Method::GET, &target).await?;
            return Err(malformed(&format!("{} to an upgrade", refused.status())));
        }
        let accept = derive_accept_key(key.as_bytes());
        let accepted = answer.headers().get(SEC_WEBSOCKET_ACCEPT);
        if accepted.is_none_or(|accepted| accepted.as_bytes() != accept.as_bytes()) {
            return Err(malformed("an upgrade of something else"));
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(Error::Broken)?;
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None);
        Ok(Session(socket.await))
    }
}

fn malformed(what: &str) -> Error {
    Error::Malformed(what.to_owned())
}

impl Session {
    /// The next thing said. After [`Said::Closed`] there is nothing more. Cancel-safe.
    pub async fn next(&mut self) -> Said {
        loop {
            return match self.0.next().await {
                Some(Ok(Message::Text(text))) => Said::Text(text.to_string()),
                Some(Ok(Message::Binary(bytes))) => Said::Bytes(bytes),
                Some(Ok(Message::Close(frame))) => Said::Closed(reason(frame)),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Err(error)) => Said::Closed(error.to_string()),
                None => Said::Closed(String::new()),
            };
        }
    }

    /// `false`: the session is over; [`next`](Self::next) says why.
    pub async fn send_text(&mut self, text: String) -> bool {
        self.0.send(Message::text(text)).await.is_ok()
    }

    /// The same for bytes of the terminal.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) -> bool {
        self.0.send(Message::binary(bytes)).await.is_ok()
    }

    /// Ends the session. The other end hears that it was meant so.
    pub async fn close(mut self) {
        // Where it cannot be said, it is over already.
        if self.0.close(None).await.is_ok() {
            while let Some(Ok(_)) = self.0.next().await {}
        }
    }
}

fn reason(frame: Option<CloseFrame>) -> String {
    frame.map_or_else(String::new, |frame| frame.reason.to_string())
}
