//! The options and variables that every command has: which server, which account, which key.

use std::env;
use std::path::PathBuf;

use clap::{ArgAction, Args};
use http::{HeaderMap, HeaderName, HeaderValue};
use httpsig::PrivateKey;
use manta_client::{Agent, Auth, Client, Config, KeySearch, Proxy, Signer, TlsOptions};

use super::failure::Failure;

/// Fewer could wait for each other: a listing is read while what it lists is worked on.
const CONNECTIONS_MIN: usize = 4;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Manta connection options")]
pub(super) struct Connection {
    /// Manta account (login name)
    #[arg(short = 'a', long, env = "MANTA_USER", hide_env_values = true)]
    account: Option<String>,
    /// Manta subuser (login name)
    #[arg(
        long = "user",
        visible_alias = "subuser",
        env = "MANTA_SUBUSER",
        hide_env_values = true
    )]
    subuser: Option<String>,
    /// Assume a role; use it several times or once with a list
    #[arg(
        long = "role",
        value_delimiter = ',',
        env = "MANTA_ROLE",
        hide_env_values = true
    )]
    roles: Vec<String>,
    /// Do not validate TLS certificates (also MANTA_TLS_INSECURE=1). Rather name the file of an authority of
    /// your own in SSL_CERT_FILE
    #[arg(short = 'i', long)]
    insecure: bool,
    /// Key fingerprint, MD5 or SHA256
    #[arg(
        short = 'k',
        long = "keyId",
        env = "MANTA_KEY_ID",
        hide_env_values = true
    )]
    key_id: Option<String>,
    /// Manta URL; reached through https_proxy or http_proxy where these are set
    #[arg(short = 'u', long, env = "MANTA_URL", hide_env_values = true)]
    url: Option<String>,
    /// Log what is done on stderr
    #[arg(short = 'v', long, action = ArgAction::Count)]
    verbose: u8,
    /// Print version
    #[arg(long, action = ArgAction::Version)]
    version: Option<bool>,
}

impl Connection {
    /// The client these options describe. Finds the key, but opens no connection.
    pub(super) async fn client(&self) -> Result<Client, Failure> {
        self.start_log();
        let url = self.url()?;
        let unsigned = is_on("MANTA_NO_AUTH");
        let account = match self.account() {
            Some(account) => account,
            None if unsigned => "",
            None => return Err(required("account")),
        };
        let auth = if unsigned {
            Auth::None
        } else {
            Auth::Signature(self.signer(None).await?.into())
        };
        let mut config = Config::new(url, account, auth);
        config.roles = self.roles().map(str::to_owned).collect();
        config.raw_paths = raw_paths();
        config.tls = TlsOptions {
            insecure: self.is_insecure(),
            ca_file: variable("SSL_CERT_FILE").map(PathBuf::from),
        };
        config.proxy = Proxy::of_environment(url, variable)?;
        if let Some(text) = variable("MANTA_MAX_SOCKETS") {
            let count: usize = text.parse().map_err(|_| {
                Failure::Message(format!("MANTA_MAX_SOCKETS \"{text}\" is not a number"))
            })?;
            config.connections_max = count.max(CONNECTIONS_MIN);
        }
        Ok(Client::new(config)?)
    }

    /// Takes the first levels of `-v` for the command itself, and leaves the rest to the log.
    pub(super) fn take_verbosity(&mut self, levels: u8) -> u8 {
        let taken = self.verbose.min(levels);
        self.verbose -= taken;
        taken
    }

    /// The key that signs for the account, or for its subuser; from `key_file` if there is one.
    pub(super) async fn signer(&self, key_file: Option<PathBuf>) -> Result<Signer, Failure> {
        let account = self.account().ok_or_else(|| required("account"))?;
        let subuser = given(&self.subuser);
        let Some(file) = key_file else {
            let signer = self.key_search()?.signer(account, subuser).await;
            return signer.map_err(|error| Failure::Message(error.to_string()));
        };
        // The file that was named is the key, whatever the environment says.
        let named = |why: String| Failure::Message(format!("{}: {why}", file.display()));
        let text = std::fs::read_to_string(&file).map_err(|error| named(error.to_string()))?;
        let key = PrivateKey::parse(&text).map_err(|error| named(error.to_string()))?;
        Ok(Signer::from_key(account, subuser, key))
    }

    /// Whether certificates are not validated.
    pub(super) fn is_insecure(&self) -> bool {
        self.insecure || is_on("MANTA_TLS_INSECURE")
    }

    /// Where the server is, as it was given.
    pub(super) fn url(&self) -> Result<&str, Failure> {
        given(&self.url).ok_or_else(|| required("url"))
    }

    /// The roles to take on.
    pub(super) fn roles(&self) -> impl Iterator<Item = &str> {
        let roles = self.roles.iter().map(String::as_str);
        roles.filter(|role| !role.is_empty())
    }

    /// Whether requests act as the account itself, which may do anything in its own tree.
    pub(super) fn acts_as_account(&self) -> bool {
        given(&self.subuser).is_none() && !is_on("MANTA_NO_AUTH")
    }

    /// The account whose tree `~~` is.
    pub(super) fn account(&self) -> Option<&str> {
        given(&self.account)
    }

    fn key_search(&self) -> Result<KeySearch, Failure> {
        let key_id = given(&self.key_id).map(str::parse).transpose();
        Ok(KeySearch {
            key_file: variable("MANTA_KEY_FILE").map(PathBuf::from),
            key_id: key_id.map_err(|error: httpsig::FingerprintError| {
                Failure::Message(format!("keyId {error}"))
            })?,
            ssh_dir: variable("HOME").map(|home| PathBuf::from(home).join(".ssh")),
            agent: variable("SSH_AUTH_SOCK").map(Agent::new),
        })
    }

    fn start_log(&self) {
        let named = ["LOG_LEVEL", "MANTA_LOG_LEVEL"]
            .into_iter()
            .find_map(variable);
        let level = match (self.verbose, named.as_deref()) {
            (1.., _) | (_, Some("trace")) => tracing::Level::TRACE,
            (_, Some("debug")) => tracing::Level::DEBUG,
            _ if variable("DEBUG").as_deref() == Some("1") => tracing::Level::DEBUG,
            _ => return,
        };
        // A second start within one process (in tests) keeps the first log.
        let _ = tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_max_level(level)
            .try_init();
    }
}

fn required(name: &str) -> Failure {
    Failure::Usage(format!("{name} is a required argument"))
}

/// An empty variable counts as none.
fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|value| !value.is_empty())
}

/// Whether paths are to be sent as they are (`MANTA_SKIP_URLENCODE`).
pub(super) fn raw_paths() -> bool {
    variable("MANTA_SKIP_URLENCODE").is_some()
}

/// A variable that switches something on.
fn is_on(name: &str) -> bool {
    matches!(variable(name).as_deref(), Some("true" | "1"))
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Headers as they are written on the command line, `name: value`.
pub(super) fn headers(lines: &[String], role_tags: &[String]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            let message = "header must be in the form of \"[header]: value\"";
            return Err(Failure::Usage(message.to_owned()));
        };
        let name: HeaderName = name
            .trim()
            .parse()
            .map_err(|_| Failure::Message(format!("\"{name}\" is not a header name")))?;
        // Bytes beyond ASCII travel as they are.
        let value = HeaderValue::from_bytes(value.trim().as_bytes())
            .map_err(|_| Failure::Message(format!("the value of {name} cannot be sent")))?;
        headers.insert(name, value);
    }
    if !role_tags.is_empty() {
        let tags: Vec<&str> = role_tags.iter().flat_map(|tags| tags.split(',')).collect();
        let tags: Vec<&str> = tags.into_iter().map(str::trim).collect();
        let value = HeaderValue::from_str(&tags.join(","))
            .map_err(|_| Failure::Message("a role tag cannot be sent".to_owned()))?;
        headers.insert("role-tag", value);
    }
    Ok(headers)
}

/// Refuses a call without any path, as all commands do.
pub(super) fn at_least_one(paths: &[String]) -> Result<(), Failure> {
    if paths.is_empty() {
        return Err(Failure::Usage("path required".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_split_at_the_first_colon() {
        let lines = ["m-a: b: c".to_owned(), "Content-Type:text/plain".to_owned()];
        let headers = headers(&lines, &["x, y".to_owned(), "z".to_owned()]).unwrap();
        assert_eq!(headers["m-a"], "b: c");
        assert_eq!(headers["content-type"], "text/plain");
        assert_eq!(headers["role-tag"], "x,y,z");
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert!(matches!(
            headers(&["nocolon".to_owned()], &[]),
            Err(Failure::Usage(_))
        ));
        assert!(matches!(
            headers(&["a b: c".to_owned()], &[]),
            Err(Failure::Message(_))
        ));
    }
}
