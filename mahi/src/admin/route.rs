//! Which request is which command.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::refusal::{Refused, refusal, refuse};
use super::server::Commands;
use super::{
    AccountView, AddKey, AddMember, CreateAccount, CreatePolicy, CreateRole, CreateUser, Done,
    KeyView, MemberName, Others, PolicyName, RemoveKey, SetRules, UserView, view,
};
use crate::groups::Groups;
use crate::service::{NewAccount, Service};

/// A key file is a few kibibytes at most, and so are the rules of a policy that people can read.
const BODY_BYTES_MAX: usize = 64 << 10;

pub(super) async fn answer(
    Commands { service, others }: &Commands,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let answered = match segments.as_slice() {
        ["accounts", rest @ ..] => match rest {
            [login, "users", rest @ ..] => users(service, login, rest, request).await,
            [login, "policies", rest @ ..] => policies(service, login, rest, request).await,
            [login, "roles", rest @ ..] => roles(service, login, rest, request).await,
            rest => accounts(service, rest, request).await,
        },
        _ => other(others.as_ref(), request).await,
    };
    answered.unwrap_or_else(|(status, refusal)| json(status, &refusal))
}

async fn other(others: Option<&Others>, request: Request<Incoming>) -> Answer {
    let no_such_command = no_such_command(&request);
    let others = others.ok_or(no_such_command.clone())?;
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = body(request).await?;
    match others(method, path, body).await {
        Some(Ok(document)) => Ok(json(StatusCode::OK, &document)),
        Some(Err(refusal)) => Err((StatusCode::BAD_REQUEST, refusal)),
        None => Err(no_such_command),
    }
}

type Answer = Result<Response<Full<Bytes>>, Refused>;

async fn accounts(service: &Service, rest: &[&str], request: Request<Incoming>) -> Answer {
    match (request.method(), rest) {
        (&Method::GET, []) => {
            let accounts = service.accounts();
            let views: Vec<_> = accounts.iter().map(|a| AccountView::from(&**a)).collect();
            Ok(json(StatusCode::OK, &views))
        }
        (&Method::POST, []) => {
            let CreateAccount { login, operator } = read(request).await?;
            let account = service.create_account(NewAccount { login, operator }).await;
            let account = account.map_err(refuse)?;
            tracing::info!(login = account.login.as_str(), operator, "account created");
            Ok(json(StatusCode::CREATED, &AccountView::from(&*account)))
        }
        (&Method::GET, [login]) => {
            let state = service.state(login).map_err(refuse)?;
            Ok(json(StatusCode::OK, &AccountView::from(&*state.account)))
        }
        (&Method::PATCH, [login]) => {
            let groups: Groups = read(request).await?;
            let account = service.set_groups(login, &groups).await.map_err(refuse)?;
            tracing::info!(login, ?groups, "account changed");
            Ok(json(StatusCode::OK, &AccountView::from(&*account)))
        }
        (&Method::POST, [login, "keys"]) => {
            let AddKey { key } = read(request).await?;
            let fingerprint = service.add_key(login, &key).await.map_err(refuse)?;
            tracing::info!(login, fingerprint, "key added");
            Ok(json(StatusCode::CREATED, &KeyView { fingerprint }))
        }
        (&Method::DELETE, [login, "keys"]) => {
            let RemoveKey { fingerprint } = read(request).await?;
            let removed = service.remove_key(login, &fingerprint).await;
            let fingerprint = removed.map_err(refuse)?;
            tracing::info!(login, fingerprint, "key removed");
            Ok(json(StatusCode::OK, &KeyView { fingerprint }))
        }
        _ => Err(no_such_command(&request)),
    }
}

async fn users(
    service: &Service,
    login: &str,
    rest: &[&str],
    request: Request<Incoming>,
) -> Answer {
    match (request.method(), rest) {
        (&Method::GET, []) => {
            let state = service.state(login).map_err(refuse)?;
            Ok(json(StatusCode::OK, &view::users(&state)))
        }
        (&Method::POST, []) => {
            let CreateUser { login: user } = read(request).await?;
            let user = service.create_user(login, &user).await.map_err(refuse)?;
            tracing::info!(login, user = user.login.as_str(), "subuser created");
            let view = UserView {
                id: user.id.to_string(),
                login: user.login.to_string(),
                keys: Vec::new(),
                default_roles: Vec::new(),
                other_roles: Vec::new(),
            };
            Ok(json(StatusCode::CREATED, &view))
        }
        (&Method::DELETE, [user]) => {
            service.remove_user(login, user).await.map_err(refuse)?;
            tracing::info!(login, user, "subuser removed");
            Ok(json(StatusCode::OK, &Done {}))
        }
        (&Method::POST, [user, "keys"]) => {
            let AddKey { key } = read(request).await?;
            let added = service.add_user_key(login, user, &key).await;
            let fingerprint = added.map_err(refuse)?;
            tracing::info!(login, user, fingerprint, "key added");
            Ok(json(StatusCode::CREATED, &KeyView { fingerprint }))
        }
        (&Method::DELETE, [user, "keys"]) => {
            let RemoveKey { fingerprint } = read(request).await?;
            let removed = service.remove_user_key(login, user, &fingerprint).await;
            let fingerprint = removed.map_err(refuse)?;
            tracing::info!(login, user, fingerprint, "key removed");
            Ok(json(StatusCode::OK, &KeyView { fingerprint }))
        }
        _ => Err(no_such_command(&request)),
    }
}

async fn policies(
    service: &Service,
    login: &str,
    rest: &[&str],
    request: Request<Incoming>,
) -> Answer {
    match (request.method(), rest) {
        (&Method::GET, []) => {
            let state = service.state(login).map_err(refuse)?;
            Ok(json(StatusCode::OK, &view::policies(&state)))
        }
        (&Method::POST, []) => {
            let CreatePolicy { name, rules } = read(request).await?;
            let created = service.create_policy(login, &name, &rules).await;
            created.map_err(refuse)?;
            tracing::info!(login, policy = name, "policy created");
            Ok(json(StatusCode::CREATED, &Done {}))
        }
        (&Method::PUT, [policy]) => {
            let SetRules { rules } = read(request).await?;
            let set = service.set_rules(login, policy, &rules).await;
            set.map_err(refuse)?;
            tracing::info!(login, policy, "policy changed");
            Ok(json(StatusCode::OK, &Done {}))
        }
        (&Method::DELETE, [policy]) => {
            let removed = service.remove_policy(login, policy).await;
            removed.map_err(refuse)?;
            tracing::info!(login, policy, "policy removed");
            Ok(json(StatusCode::OK, &Done {}))
        }
        _ => Err(no_such_command(&request)),
    }
}

async fn roles(
    service: &Service,
    login: &str,
    rest: &[&str],
    request: Request<Incoming>,
) -> Answer {
    match (request.method(), rest) {
        (&Method::GET, []) => {
            let state = service.state(login).map_err(refuse)?;
            let views = view::roles(&state, &service.known());
            Ok(json(StatusCode::OK, &views))
        }
        (&Method::POST, []) => {
            let CreateRole { name, policies } = read(request).await?;
            let created = service.create_role(login, &name, &policies).await;
            created.map_err(refuse)?;
            tracing::info!(login, role = name, "role created");
            Ok(json(StatusCode::CREATED, &Done {}))
        }
        (&Method::DELETE, [role]) => {
            service.remove_role(login, role).await.map_err(refuse)?;
            tracing::info!(login, role, "role removed");
            Ok(json(StatusCode::OK, &Done {}))
        }
        (&Method::POST, [role, "policies"]) => {
            let PolicyName { policy } = read(request).await?;
            let attached = service.attach_policy(login, role, &policy).await;
            attached.map_err(refuse)?;
            tracing::info!(login, role, policy, "policy attached");
            Ok(json(StatusCode::OK, &Done {}))
        }
        (&Method::DELETE, [role, "policies"]) => {
            let PolicyName { policy } = read(request).await?;
            let detached = service.detach_policy(login, role, &policy).await;
            detached.map_err(refuse)?;
            tracing::info!(login, role, policy, "policy detached");
            Ok(json(StatusCode::OK, &Done {}))
        }
        (&Method::POST, [role, "members"]) => {
            let AddMember { member, default } = read(request).await?;
            let who = member.as_member();
            let added = service.add_member(login, role, who, default).await;
            added.map_err(refuse)?;
            tracing::info!(login, role, ?member, default, "member added");
            Ok(json(StatusCode::OK, &Done {}))
        }
        (&Method::DELETE, [role, "members"]) => {
            let member: MemberName = read(request).await?;
            let removed = service.remove_member(login, role, member.as_member()).await;
            removed.map_err(refuse)?;
            tracing::info!(login, role, ?member, "member removed");
            Ok(json(StatusCode::OK, &Done {}))
        }
        _ => Err(no_such_command(&request)),
    }
}

fn no_such_command(request: &Request<Incoming>) -> Refused {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("{method} {path} is not a command");
    refusal(StatusCode::NOT_FOUND, "NoSuchCommand", message)
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refused> {
    serde_json::from_slice(&body(request).await?).map_err(|error| bad_request(error.to_string()))
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Refused> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX);
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(bad_request(error.to_string())),
    }
}

fn bad_request(message: String) -> Refused {
    refusal(StatusCode::BAD_REQUEST, "BadRequest", message)
}

fn json(status: StatusCode, document: &impl Serialize) -> Response<Full<Bytes>> {
    let (status, body) = match serde_json::to_vec(document) {
        Ok(body) => (status, body),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written down");
            let refusal =
                br#"{"code":"InternalError","message":"the answer cannot be written down"}"#;
            (StatusCode::INTERNAL_SERVER_ERROR, refusal.to_vec())
        }
    };
    let length = body.len();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}
