//! Administration of a running store: JSON over HTTP/1 on a Unix socket that only its owner can open.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `GET /accounts` | | 200, list of [`AccountView`] |
//! | `POST /accounts` | [`CreateAccount`] | 201, [`AccountView`] |
//! | `GET /accounts/:login` | | 200, [`AccountView`] |
//! | `PATCH /accounts/:login` | [`Groups`](crate::Groups) | 200, [`AccountView`] |
//! | `POST /accounts/:login/keys` | [`AddKey`] | 201, [`KeyView`] |
//! | `DELETE /accounts/:login/keys` | [`RemoveKey`] | 200, [`KeyView`] |
//! | `GET /accounts/:login/users` | | 200, list of [`UserView`] |
//! | `POST /accounts/:login/users` | [`CreateUser`] | 201, [`UserView`] |
//! | `DELETE /accounts/:login/users/:user` | | 200, [`Done`] |
//! | `POST /accounts/:login/users/:user/keys` | [`AddKey`] | 201, [`KeyView`] |
//! | `DELETE /accounts/:login/users/:user/keys` | [`RemoveKey`] | 200, [`KeyView`] |
//! | `GET /accounts/:login/policies` | | 200, list of [`PolicyView`] |
//! | `POST /accounts/:login/policies` | [`CreatePolicy`] | 201, [`Done`] |
//! | `PUT /accounts/:login/policies/:policy` | [`SetRules`] | 200, [`Done`] |
//! | `DELETE /accounts/:login/policies/:policy` | | 200, [`Done`] |
//! | `GET /accounts/:login/roles` | | 200, list of [`RoleView`] |
//! | `POST /accounts/:login/roles` | [`CreateRole`] | 201, [`Done`] |
//! | `DELETE /accounts/:login/roles/:role` | | 200, [`Done`] |
//! | `POST /accounts/:login/roles/:role/policies` | [`PolicyName`] | 200, [`Done`] |
//! | `DELETE /accounts/:login/roles/:role/policies` | [`PolicyName`] | 200, [`Done`] |
//! | `POST /accounts/:login/roles/:role/members` | [`AddMember`] | 200, [`Done`] |
//! | `DELETE /accounts/:login/roles/:role/members` | [`MemberName`] | 200, [`Done`] |
//!
//! What else a store has to offer its operator is answered by [`Others`].
//!
//! A refusal is 400, 404, 409 or 503 with a [`Refusal`]. Logins and names need no escaping in a path. Lists are in
//! order of their names.

mod client;
mod message;
mod refusal;
mod route;
mod server;
mod view;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

pub use client::{Client, ClientError};
pub use message::{
    AddKey, AddMember, CreateAccount, CreatePolicy, CreateRole, CreateUser, MemberName, PolicyName,
    RemoveKey, SetRules,
};
pub use refusal::Refusal;
pub use server::{Handle, serve, serve_with};
pub use view::{AccountView, Done, KeyView, MemberView, PolicyView, RoleView, UserView};

/// Commands that do not concern accounts: method, path and body to a document, or `None` for what is no
/// command. Refusals of theirs are answered with 400. The future is dropped when the operator leaves.
pub type Others = Arc<dyn Fn(http::Method, String, Bytes) -> Answering + Send + Sync>;

pub type Answering =
    Pin<Box<dyn Future<Output = Option<Result<serde_json::Value, Refusal>>> + Send>>;
