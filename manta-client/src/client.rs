//! The client: requests on objects and directories.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, EXPECT, HOST, LAST_MODIFIED,
    RETRY_AFTER, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use hyper::Uri;
use serde::Deserialize;

use crate::body::{Body, Payload};
use crate::connector::Connector;
use crate::directories::MissingDirectories;
use crate::download::Download;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorReply, code_of_status};
use crate::path::{encode_path, resolve_path};
use crate::pool::Pool;
use crate::proxy::Proxy;
use crate::signer::Auth;
use crate::tls::TlsOptions;
use crate::transport;

/// Error bodies are two short strings.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// What the ecosystem's clients use.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const CONNECT_ATTEMPTS: u32 = 4;
const CONNECTIONS_MAX: usize = 1000;

pub(crate) const DIRECTORY_TYPE: &str = "application/json; type=directory";
pub(crate) const JSON_STREAM: &str = "application/x-json-stream";
const USER_AGENT_DEFAULT: &str = concat!("manta-rust/", env!("CARGO_PKG_VERSION"));

/// What a [`Client`] is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// `http[s]://host[:port]`.
    pub url: String,
    /// What `~~` stands for, and whose jobs are meant.
    pub account: String,
    pub auth: Auth,
    /// Roles to take on, sent as the `Role` header.
    pub roles: Vec<String>,
    /// Send paths as they are, for callers that escaped them already (`MANTA_SKIP_URLENCODE`).
    pub raw_paths: bool,
    pub user_agent: String,
    pub connect_timeout: Duration,
    /// How often a connection is tried before the request fails, at least once.
    pub connect_attempts: u32,
    /// Exchanges under way at once, at least one; further ones wait (`MANTA_MAX_SOCKETS`). A body that
    /// nobody reads to its end or drops counts as well.
    pub connections_max: usize,
    pub tls: TlsOptions,
    pub proxy: Option<Proxy>,
}

impl Config {
    /// The configuration that needs nothing more; every other field has its default.
    #[must_use]
    pub fn new(url: impl Into<String>, account: impl Into<String>, auth: Auth) -> Config {
        Config {
            url: url.into(),
            account: account.into(),
            auth,
            roles: Vec::new(),
            raw_paths: false,
            user_agent: USER_AGENT_DEFAULT.to_owned(),
            connect_timeout: CONNECT_TIMEOUT,
            connect_attempts: CONNECT_ATTEMPTS,
            connections_max: CONNECTIONS_MAX,
            tls: TlsOptions::default(),
            proxy: None,
        }
    }
}

/// A client of one server, for one account. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Arc<Pool>,
    settings: Arc<Settings>,
    auth: Auth,
}

#[derive(Clone, Debug)]
struct Settings {
    account: String,
    raw_paths: bool,
    /// Paths are resolved already. `.` and `..` are names like any other to the server, so what a listing
    /// says is never resolved again: it would lead out of the directory.
    exact_paths: bool,
    /// Sent with every request.
    headers: HeaderMap,
}

/// Options of an upload.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// Sent besides and instead of what the client sends itself.
    pub headers: HeaderMap,
    /// Number of copies.
    pub copies: Option<u32>,
    pub content_type: Option<String>,
    /// Base64; the server refuses the upload if the bytes have another digest.
    pub content_md5: Option<String>,
    /// Create the directories above if the object's is missing.
    pub parents: bool,
}

/// What the server said of a stored object.
#[derive(Clone, Debug)]
pub struct Stored {
    pub etag: Option<String>,
    /// Base64 MD5 of what was stored.
    pub computed_md5: Option<String>,
    pub headers: HeaderMap,
}

/// The answer to a HEAD.
#[derive(Clone, Debug)]
pub struct Info {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
}

impl Client {
    /// Opens no connection yet. Errors: `Url`, `Tls`, or `Request` for roles that cannot be a header.
    pub fn new(config: Config) -> Result<Client, Error> {
        let endpoint = Endpoint::parse(&config.url)?;
        let authority = endpoint.authority();
        let value = |text: &str| HeaderValue::from_str(text).map_err(http::Error::from);
        let mut headers = HeaderMap::new();
        headers.insert(HOST, value(&authority)?);
        headers.insert(USER_AGENT, value(&config.user_agent)?);
        headers.insert("accept-version", HeaderValue::from_static("~1.0"));
        if !config.roles.is_empty() {
            headers.insert("role", value(&config.roles.join(","))?);
        }
        let settings = Settings {
            account: config.account,
            raw_paths: config.raw_paths,
            exact_paths: false,
            headers,
        };
        let connector =
            Connector::new(endpoint, config.proxy, &config.tls, config.connect_timeout)?;
        let attempts = config.connect_attempts.max(1);
        let pool = Pool::new(connector, attempts, config.connections_max);
        Ok(Client {
            pool: Arc::new(pool),
            settings: Arc::new(settings),
            auth: config.auth,
        })
    }

    /// The same client, sharing its connections, with another proof of identity.
    #[must_use]
    pub fn with_auth(&self, auth: Auth) -> Client {
        Client {
            auth,
            ..self.clone()
        }
    }

    /// The same client, sharing its connections, for another account.
    #[must_use]
    pub fn for_account(&self, account: &str) -> Client {
        let settings = Settings {
            account: account.to_owned(),
            ..(*self.settings).clone()
        };
        Client {
            settings: Arc::new(settings),
            ..self.clone()
        }
    }

    /// The same client, sharing its connections, that takes every path for a resolved one. For paths made
    /// of what listings said: `.` and `..` are ordinary names to the server.
    #[must_use]
    pub fn exact(&self) -> Client {
        let settings = Settings {
            exact_paths: true,
            ..(*self.settings).clone()
        };
        Client {
            settings: Arc::new(settings),
            ..self.clone()
        }
    }

    #[must_use]
    pub fn account(&self) -> &str {
        &self.settings.account
    }

    /// The path of something of the account, unescaped.
    pub(crate) fn own(&self, below: &str) -> String {
        format!("/{}/{below}", self.settings.account)
    }

    /// A path as a user writes it, resolved and escaped: ready for [`Client::request`].
    pub fn target(&self, path: &str) -> Result<String, Error> {
        let resolved = if self.settings.exact_paths {
            path.to_owned()
        } else {
            resolve_path(path, &self.settings.account)?
        };
        Ok(if self.settings.raw_paths {
            resolved
        } else {
            encode_path(&resolved)
        })
    }

    /// Sends any request. `target` is the escaped path with its query; the headers given win over the
    /// client's own. Error answers come back as answers.
    ///
    /// With `Expect: 100-continue` among the headers the payload is not touched before the server asks
    /// for it.
    pub async fn request(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        payload: Payload,
    ) -> Result<Response<Body>, Error> {
        let uri = Uri::try_from(target).map_err(http::Error::from)?;
        let mut all = self.settings.headers.clone();
        let date = httpdate::fmt_http_date(SystemTime::now());
        let id = uuid::Uuid::new_v4().to_string();
        let value = |text: &str| HeaderValue::from_str(text).map_err(http::Error::from);
        match &self.auth {
            Auth::None => {}
            Auth::Token(token) => {
                all.insert(AUTHORIZATION, value(&format!("Token {token}"))?);
            }
            Auth::Signature(signer) => {
                all.insert(AUTHORIZATION, value(&signer.authorization(&date).await?)?);
            }
        }
        all.insert(DATE, value(&date)?);
        all.insert("x-request-id", value(&id)?);
        all.insert(ACCEPT, HeaderValue::from_static("*/*"));
        replace(&mut all, headers);
        tracing::debug!(%method, target, request_id = id, "request");
        transport::exchange(&self.pool, &method, &uri, &all, payload).await
    }

    /// Like [`Client::request`], with error answers as errors.
    pub async fn request_ok(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        payload: Payload,
    ) -> Result<Response<Body>, Error> {
        let response = self
            .request(method.clone(), target, headers, payload)
            .await?;
        check(response, method, target).await
    }

    /// The headers of an object or a directory. Also for errors, see [`Info::status`].
    pub async fn info(&self, path: &str) -> Result<Info, Error> {
        let target = self.target(path)?;
        let headers = accept("application/json, */*");
        let response = self
            .request(Method::HEAD, &target, headers, Payload::Empty)
            .await?;
        let (parts, _) = response.into_parts();
        Ok(Info {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
        })
    }

    /// HEAD, with error answers as errors. They carry no message: HEAD has no body.
    pub async fn head(&self, path: &str) -> Result<Info, Error> {
        let target = self.target(path)?;
        let headers = accept("application/json, */*");
        let response = self
            .request_ok(Method::HEAD, &target, headers, Payload::Empty)
            .await?;
        let (parts, _) = response.into_parts();
        Ok(Info {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
        })
    }

    /// Starts to read an object. Length and MD5 are checked while reading, and a connection that breaks
    /// is replaced by another one that goes on where it stopped.
    pub async fn get(&self, path: &str, headers: HeaderMap) -> Result<Download, Error> {
        let target = self.target(path)?;
        Download::start(self.clone(), target, headers).await
    }

    /// Stores an object. A stream is not touched before the server has agreed to take it.
    pub async fn put(
        &self,
        path: &str,
        payload: Payload,
        options: PutOptions,
    ) -> Result<Stored, Error> {
        let target = self.target(path)?;
        let value = |text: &str| HeaderValue::from_str(text).map_err(http::Error::from);
        let mut headers = accept("application/json");
        let content_type = options
            .content_type
            .as_deref()
            .unwrap_or("application/octet-stream");
        headers.insert(CONTENT_TYPE, value(content_type)?);
        if let Some(copies) = options.copies {
            headers.insert("x-durability-level", HeaderValue::from(copies));
        }
        if let Some(md5) = &options.content_md5 {
            headers.insert("content-md5", value(md5)?);
        }
        if matches!(payload, Payload::Stream { .. }) {
            headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        }
        replace(&mut headers, options.headers);
        if !options.parents {
            return self.put_once(&target, headers, payload).await;
        }
        // With a stream there is only one try: look for the directory first.
        let parent = parent_of(path, self.account())?;
        let directories = MissingDirectories::new(self.clone(), HeaderMap::new());
        match payload.duplicate() {
            None => {
                if let Some(parent) = parent {
                    directories.ensure(&parent).await?;
                }
                self.put_once(&target, headers, payload).await
            }
            Some(second) => match self.put_once(&target, headers.clone(), payload).await {
                Err(error) if error.is_code("DirectoryDoesNotExist") => {
                    if let Some(parent) = parent {
                        directories.make(&parent).await?;
                    }
                    self.put_once(&target, headers, second).await
                }
                other => other,
            },
        }
    }

    async fn put_once(
        &self,
        target: &str,
        headers: HeaderMap,
        payload: Payload,
    ) -> Result<Stored, Error> {
        let response = self
            .request_ok(Method::PUT, target, headers, payload)
            .await?;
        let (parts, body) = response.into_parts();
        body.drain().await?;
        Ok(Stored::of(parts.headers))
    }

    /// Replaces the metadata headers of an object or directory: what is not among `headers` is gone.
    pub async fn put_metadata(&self, path: &str, headers: HeaderMap) -> Result<(), Error> {
        let target = format!("{}?metadata=true", self.target(path)?);
        let mut all = accept("application/json");
        replace(&mut all, headers);
        // Chunked: a length, even zero, would be taken for an attempt to change the object's.
        let nothing = Payload::stream(futures_util::stream::empty(), None);
        let response = self.request_ok(Method::PUT, &target, all, nothing).await?;
        response.into_body().drain().await
    }

    /// Creates a directory, whose parent must exist. One that exists is no error.
    pub async fn mkdir(&self, path: &str, headers: HeaderMap) -> Result<(), Error> {
        let target = self.target(path)?;
        let mut all = accept("application/json");
        all.insert(CONTENT_TYPE, HeaderValue::from_static(DIRECTORY_TYPE));
        replace(&mut all, headers);
        let response = self
            .request_ok(Method::PUT, &target, all, Payload::Empty)
            .await?;
        response.into_body().drain().await
    }

    /// Deletes an object or an empty directory.
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        let target = self.target(path)?;
        let headers = accept("application/json");
        let response = self
            .request_ok(Method::DELETE, &target, headers, Payload::Empty)
            .await?;
        response.into_body().drain().await
    }
}

impl Stored {
    pub(crate) fn of(headers: HeaderMap) -> Stored {
        Stored {
            etag: text_of(&headers, ETAG),
            computed_md5: text_of(&headers, HeaderName::from_static("computed-md5")),
            headers,
        }
    }
}

impl Info {
    /// Whether the answer is about a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        is_directory(&self.headers)
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Bytes of the object, if the server says.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH.as_str())?.parse().ok()
    }

    /// The roles that may act on it, in the order of the header; none if it has no tags.
    #[must_use]
    pub fn role_tags(&self) -> Vec<String> {
        let tags = self.header("role-tag").unwrap_or_default().split(',');
        let tags = tags.map(str::trim).filter(|tag| !tag.is_empty());
        tags.map(str::to_owned).collect()
    }

    #[must_use]
    pub fn last_modified(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.header(LAST_MODIFIED.as_str())?).ok()
    }
}

pub(crate) fn is_directory(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| {
        kind.split(';')
            .skip(1)
            .any(|parameter| parameter.trim() == "type=directory")
    })
}

pub(crate) fn accept(what: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(what));
    headers
}

/// Turns an error answer into an error.
pub(crate) async fn check(
    response: Response<Body>,
    method: Method,
    target: &str,
) -> Result<Response<Body>, Error> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(response);
    }
    #[derive(Deserialize, Default)]
    struct Reply {
        code: String,
        message: String,
    }
    let (parts, body) = response.into_parts();
    let retry_after = text_of(&parts.headers, RETRY_AFTER)
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs);
    // An error whose explanation is lost on the way is still that error.
    let text = body.collect(ERROR_BYTES_MAX).await.unwrap_or_default();
    let reply: Option<Reply> = serde_json::from_slice(&text).ok();
    let Reply { code, message } =
        reply
            .filter(|reply| !reply.code.is_empty())
            .unwrap_or_else(|| Reply {
                code: code_of_status(status),
                message: String::new(),
            });
    let target = target.to_owned();
    Err(Error::Reply(Box::new(ErrorReply {
        method,
        target,
        status,
        code,
        message,
        retry_after,
    })))
}

pub(crate) fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Lets `wins` replace whatever is there under the same names.
pub(crate) fn replace(headers: &mut HeaderMap, wins: HeaderMap) {
    for name in wins.keys() {
        headers.remove(name);
    }
    let mut last = None;
    for (name, value) in wins {
        last = name.or(last);
        if let Some(name) = &last {
            headers.append(name, value);
        }
    }
}

/// The directory that holds `path`, unless it is one that always exists.
fn parent_of(path: &str, account: &str) -> Result<Option<String>, Error> {
    let resolved = resolve_path(path, account)?;
    let parent = resolved
        .rsplit_once('/')
        .map(|(parent, _)| parent)
        .unwrap_or_default();
    Ok((parent.matches('/').count() > 2).then(|| parent.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_headers_win() {
        let mut headers = accept("a");
        let mut wins = HeaderMap::new();
        wins.append(ACCEPT, HeaderValue::from_static("b"));
        wins.append(ACCEPT, HeaderValue::from_static("c"));
        replace(&mut headers, wins);
        let values: Vec<_> = headers.get_all(ACCEPT).iter().collect();
        assert_eq!(values, ["b", "c"]);
    }

    #[test]
    fn directories_that_always_exist_are_not_made() {
        let parent = |path: &str| parent_of(path, "a").unwrap();
        assert_eq!(parent("~~/stor/x"), None);
        assert_eq!(parent("~~/stor/d/x"), Some("/a/stor/d".to_owned()));
        assert_eq!(parent("~~/stor"), None);
    }
}
