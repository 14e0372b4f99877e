//! The client's side of the admin socket. A connection for each command.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;

use super::{
    AccountView, AddKey, AddMember, CreateAccount, CreatePolicy, CreateRole, CreateUser, Done,
    KeyView, MemberName, PolicyName, PolicyView, Refusal, RemoveKey, RoleView, SetRules, UserView,
};
use crate::groups::Groups;
use crate::policies::check_name;

/// A list of tens of thousands of accounts is below this.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Talks to the store whose admin socket it was given.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why a command was not done.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The store does not run, or is somebody else's.
    #[error("cannot open the admin socket {path}")]
    Connect {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The connection broke; the command may have been done.
    #[error("the connection to the store broke")]
    Http(#[from] hyper::Error),
    #[error("{}", .0.message)]
    Refused(Refusal),
    #[error("the store answered something else than expected: {0}")]
    Unexpected(String),
}

impl Client {
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// All accounts in order of their logins.
    pub async fn accounts(&self) -> Result<Vec<AccountView>, ClientError> {
        self.call(Method::GET, "/accounts", None::<&()>).await
    }

    pub async fn create_account(&self, new: &CreateAccount) -> Result<AccountView, ClientError> {
        self.call(Method::POST, "/accounts", Some(new)).await
    }

    pub async fn account(&self, login: &str) -> Result<AccountView, ClientError> {
        self.call(Method::GET, &account(login)?, None::<&()>).await
    }

    pub async fn set_groups(
        &self,
        login: &str,
        groups: &Groups,
    ) -> Result<AccountView, ClientError> {
        self.call(Method::PATCH, &account(login)?, Some(groups))
            .await
    }

    /// `key` is a public key as OpenSSH or PEM has it; `user` is `None` for the account itself.
    pub async fn add_key(
        &self,
        login: &str,
        user: Option<&str>,
        key: &str,
    ) -> Result<KeyView, ClientError> {
        let key = key.to_owned();
        let add = AddKey { key };
        self.call(Method::POST, &keys_of(login, user)?, Some(&add))
            .await
    }

    /// `fingerprint` in MD5 or `SHA256:` form; `user` is `None` for the account itself.
    pub async fn remove_key(
        &self,
        login: &str,
        user: Option<&str>,
        fingerprint: &str,
    ) -> Result<KeyView, ClientError> {
        let fingerprint = fingerprint.to_owned();
        let remove = RemoveKey { fingerprint };
        self.call(Method::DELETE, &keys_of(login, user)?, Some(&remove))
            .await
    }

    pub async fn users(&self, login: &str) -> Result<Vec<UserView>, ClientError> {
        let path = format!("{}/users", account(login)?);
        self.call(Method::GET, &path, None::<&()>).await
    }

    pub async fn create_user(&self, login: &str, user: &str) -> Result<UserView, ClientError> {
        let path = format!("{}/users", account(login)?);
        let login = user.to_owned();
        self.call(Method::POST, &path, Some(&CreateUser { login }))
            .await
    }

    pub async fn remove_user(&self, login: &str, user: &str) -> Result<Done, ClientError> {
        let path = self::user(login, user)?;
        self.call(Method::DELETE, &path, None::<&()>).await
    }

    pub async fn policies(&self, login: &str) -> Result<Vec<PolicyView>, ClientError> {
        let path = format!("{}/policies", account(login)?);
        self.call(Method::GET, &path, None::<&()>).await
    }

    pub async fn create_policy(
        &self,
        login: &str,
        new: &CreatePolicy,
    ) -> Result<Done, ClientError> {
        let path = format!("{}/policies", account(login)?);
        self.call(Method::POST, &path, Some(new)).await
    }

    pub async fn set_rules(
        &self,
        login: &str,
        policy: &str,
        rules: &[String],
    ) -> Result<Done, ClientError> {
        let path = format!("{}/policies/{}", account(login)?, name(policy)?);
        let rules = rules.to_vec();
        self.call(Method::PUT, &path, Some(&SetRules { rules }))
            .await
    }

    pub async fn remove_policy(&self, login: &str, policy: &str) -> Result<Done, ClientError> {
        let path = format!("{}/policies/{}", account(login)?, name(policy)?);
        self.call(Method::DELETE, &path, None::<&()>).await
    }

    pub async fn roles(&self, login: &str) -> Result<Vec<RoleView>, ClientError> {
        let path = format!("{}/roles", account(login)?);
        self.call(Method::GET, &path, None::<&()>).await
    }

    pub async fn create_role(&self, login: &str, new: &CreateRole) -> Result<Done, ClientError> {
        let path = format!("{}/roles", account(login)?);
        self.call(Method::POST, &path, Some(new)).await
    }

    pub async fn remove_role(&self, login: &str, role: &str) -> Result<Done, ClientError> {
        let path = self::role(login, role)?;
        self.call(Method::DELETE, &path, None::<&()>).await
    }

    pub async fn attach_policy(
        &self,
        login: &str,
        role: &str,
        policy: &str,
    ) -> Result<Done, ClientError> {
        let path = format!("{}/policies", self::role(login, role)?);
        let policy = policy.to_owned();
        self.call(Method::POST, &path, Some(&PolicyName { policy }))
            .await
    }

    pub async fn detach_policy(
        &self,
        login: &str,
        role: &str,
        policy: &str,
    ) -> Result<Done, ClientError> {
        let path = format!("{}/policies", self::role(login, role)?);
        let policy = policy.to_owned();
        self.call(Method::DELETE, &path, Some(&PolicyName { policy }))
            .await
    }

    pub async fn add_member(
        &self,
        login: &str,
        role: &str,
        add: &AddMember,
    ) -> Result<Done, ClientError> {
        let path = format!("{}/members", self::role(login, role)?);
        self.call(Method::POST, &path, Some(add)).await
    }

    pub async fn remove_member(
        &self,
        login: &str,
        role: &str,
        member: &MemberName,
    ) -> Result<Done, ClientError> {
        let path = format!("{}/members", self::role(login, role)?);
        self.call(Method::DELETE, &path, Some(member)).await
    }

    /// One of the commands that do not concern accounts.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        self.call(method, path, body).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let unexpected = |error: &dyn std::fmt::Display| ClientError::Unexpected(error.to_string());
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| unexpected(&error))?,
            None => Vec::new(),
        };
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error| unexpected(&error))?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));

        let stream =
            UnixStream::connect(&self.socket)
                .await
                .map_err(|source| ClientError::Connect {
                    path: self.socket.clone(),
                    source,
                })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // The connection moves only while it is polled, and ends when its sender is dropped.
        let exchange = async move {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await;
            drop(sender);
            Ok::<_, hyper::Error>((status, body))
        };
        let (exchanged, ended) = tokio::join!(exchange, connection);
        if let Err(error) = ended {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "admin connection ended"
            );
        }
        let (status, body) = exchanged?;
        let body = body.map_err(|error| unexpected(&error))?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| unexpected(&error));
        }
        let refusal = serde_json::from_slice(&body).map_err(|error| unexpected(&error))?;
        Err(ClientError::Refused(refusal))
    }
}

/// A login that is none would make another path.
fn account(login: &str) -> Result<String, ClientError> {
    match libmanta::Login::parse(login) {
        Some(login) => Ok(format!("/accounts/{login}")),
        None => Err(ClientError::Refused(Refusal {
            code: String::from("InvalidLogin"),
            message: format!("\"{login}\" is not a login"),
        })),
    }
}

fn user(login: &str, user: &str) -> Result<String, ClientError> {
    Ok(format!("{}/users/{}", account(login)?, name(user)?))
}

fn role(login: &str, role: &str) -> Result<String, ClientError> {
    Ok(format!("{}/roles/{}", account(login)?, name(role)?))
}

fn keys_of(login: &str, user: Option<&str>) -> Result<String, ClientError> {
    let owner = match user {
        Some(user) => self::user(login, user)?,
        None => account(login)?,
    };
    Ok(format!("{owner}/keys"))
}

fn name(name: &str) -> Result<&str, ClientError> {
    check_name(name).map_err(|error| {
        ClientError::Refused(Refusal {
            code: String::from("InvalidName"),
            message: error.to_string(),
        })
    })?;
    Ok(name)
}
