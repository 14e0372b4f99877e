//! Uploads in parts, as tests drive them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use crate::client::{Request, Response};
use crate::store::{Store, User};

/// An upload of alice.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) id: String,
    /// The directory of the parts.
    pub(crate) directory: String,
}

pub(crate) fn md5_of(bytes: &[u8]) -> String {
    STANDARD.encode(Md5::digest(bytes))
}

pub(crate) fn creation(account: &str, body: &Value) -> Request {
    Request::new("POST", &format!("/{account}/uploads"))
        .header("content-type", "application/json")
        .body(body.to_string())
}

impl Upload {
    pub(crate) fn of(created: &Response) -> Self {
        assert_eq!(created.status, 201, "{}", created.text());
        let document = document_of(created);
        Self {
            id: document["id"].as_str().unwrap().to_owned(),
            directory: document["partsDirectory"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) async fn create(store: &Store, path: &str, headers: Value) -> Self {
        let body = json!({"objectPath": path, "headers": headers});
        Self::of(&store.send(creation("alice", &body)).await)
    }

    /// Returns the etag.
    pub(crate) async fn put(&self, store: &Store, number: usize, bytes: &[u8]) -> String {
        let path = format!("{}/{number}", self.directory);
        let put = store.put(&path, bytes).await;
        assert_eq!(put.status, 204, "{}", put.text());
        put.header("etag").to_owned()
    }

    /// Puts parts in order.
    pub(crate) async fn put_all(&self, store: &Store, parts: &[&[u8]]) -> Vec<String> {
        let mut etags = Vec::new();
        for (number, bytes) in parts.iter().enumerate() {
            etags.push(self.put(store, number, bytes).await);
        }
        etags
    }

    pub(crate) fn commit_request(&self, etags: &[String]) -> Request {
        Request::new("POST", &format!("{}/commit", self.directory))
            .header("content-type", "application/json")
            .body(json!({"parts": etags}).to_string())
    }

    pub(crate) async fn commit(&self, store: &Store, etags: &[String]) -> Response {
        store.send(self.commit_request(etags)).await
    }

    pub(crate) fn abort_request(&self) -> Request {
        Request::new("POST", &format!("{}/abort", self.directory)).body("")
    }

    pub(crate) async fn abort(&self, store: &Store) -> Response {
        store.send(self.abort_request()).await
    }

    pub(crate) async fn state(&self, store: &Store) -> Value {
        let state = store.get(&format!("{}/state", self.directory)).await;
        assert_eq!(state.status, 200, "{}", state.text());
        document_of(&state)
    }
}

/// Sends a request in somebody's name.
pub(crate) async fn send_as(store: &Store, user: &User, request: Request) -> Response {
    request.signed_by(user).send(store.address).await
}

pub(crate) fn document_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_default()
}

/// Status and code of a refusal.
pub(crate) fn refusal(response: &Response) -> (u16, String) {
    let document = document_of(response);
    let code = document["code"].as_str().unwrap_or_default().to_owned();
    (response.status, code)
}

pub(crate) fn message(response: &Response) -> String {
    let document = document_of(response);
    document["message"].as_str().unwrap_or_default().to_owned()
}
