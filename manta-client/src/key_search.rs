//! Finding the private key that a fingerprint names.
//!
//! Order: the file that was named, then `~/.ssh`, then ssh-agent. Whatever is looked at is remembered, so
//! that a failure can say everything that was tried and why it did not fit.

use std::fmt;
use std::path::{Path, PathBuf};

use httpsig::{Fingerprint, KeyError, PrivateKey, PublicKey};

use crate::agent::Agent;
use crate::signer::Signer;

/// A private key file is a few kilobytes; nobody's log file in `~/.ssh` has to be read to the end.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Where to look, and for what.
#[derive(Clone, Debug, Default)]
pub struct KeySearch {
    /// `MANTA_KEY_FILE`. Without `key_id` this is the key, whichever it is.
    pub key_file: Option<PathBuf>,
    /// `MANTA_KEY_ID`, MD5 or SHA256.
    pub key_id: Option<Fingerprint>,
    /// `~/.ssh`.
    pub ssh_dir: Option<PathBuf>,
    /// `SSH_AUTH_SOCK`.
    pub agent: Option<Agent>,
}

/// No key fits. The text lists every place, one to a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoKey {
    /// What was looked for: the fingerprint as the user gave it, if any.
    pub wanted: Option<String>,
    /// Each place and why nothing there was the key.
    pub tried: Vec<(String, String)>,
}

impl KeySearch {
    /// Finds the key and makes it sign for `account` or its `subuser`.
    pub async fn signer(&self, account: &str, subuser: Option<&str>) -> Result<Signer, NoKey> {
        let mut tried = Vec::new();
        if let Some(path) = &self.key_file {
            match self.read_named(path) {
                Ok(key) => return Ok(Signer::from_key(account, subuser, key)),
                Err(why) => tried.push((format!("{} (MANTA_KEY_FILE)", path.display()), why)),
            }
        } else {
            tried.push(("MANTA_KEY_FILE".to_owned(), "is not set".to_owned()));
        }
        let Some(wanted) = &self.key_id else {
            tried.push(("MANTA_KEY_ID".to_owned(), "is not set".to_owned()));
            return Err(NoKey {
                wanted: None,
                tried,
            });
        };
        match &self.ssh_dir {
            None => tried.push(("~/.ssh".to_owned(), "HOME is not set".to_owned())),
            Some(dir) => {
                if let Some(key) = search_dir(dir, wanted, &mut tried) {
                    return Ok(Signer::from_key(account, subuser, key));
                }
            }
        }
        match &self.agent {
            None => tried.push((
                "ssh-agent".to_owned(),
                "SSH_AUTH_SOCK is not set".to_owned(),
            )),
            Some(agent) => match search_agent(agent, wanted).await {
                Ok(key) => return Ok(Signer::from_agent(account, subuser, agent.clone(), key)),
                Err(why) => {
                    tried.push((format!("ssh-agent at {}", agent.socket().display()), why));
                }
            },
        }
        Err(NoKey {
            wanted: Some(wanted.to_string()),
            tried,
        })
    }

    fn read_named(&self, path: &Path) -> Result<PrivateKey, String> {
        let text = read_small(path).map_err(|error| error.to_string())?;
        let key = PrivateKey::parse(&text).map_err(|error| error.to_string())?;
        match &self.key_id {
            Some(wanted) if !key.public().has_fingerprint(wanted) => {
                Err(format!("is {}", in_the_form_of(wanted, key.public())))
            }
            _ => Ok(key),
        }
    }
}

/// The key in `dir`, by reading its files. A file that is no key is passed over in silence; one that is a
/// key and is not the one, or cannot be read, is listed.
fn search_dir(
    dir: &Path,
    wanted: &Fingerprint,
    tried: &mut Vec<(String, String)>,
) -> Option<PrivateKey> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            tried.push((dir.display().to_string(), error.to_string()));
            return None;
        }
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let listed = tried.len();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let known = matches!(name.as_ref(), "config" | "environment" | "rc")
            || name.starts_with("known_hosts")
            || name.starts_with("authorized_keys");
        if known || name.ends_with(".pub") || !path.is_file() {
            continue;
        }
        let why = match read_small(&path) {
            Err(error) => error.to_string(),
            Ok(text) => match PrivateKey::parse(&text) {
                Ok(key) if key.public().has_fingerprint(wanted) => return Some(key),
                Ok(key) => format!("is {}", in_the_form_of(wanted, key.public())),
                Err(KeyError::UnknownFormat) => continue,
                Err(KeyError::Encrypted) => encrypted(&path, wanted),
                Err(error) => error.to_string(),
            },
        };
        tried.push((path.display().to_string(), why));
    }
    if tried.len() == listed {
        tried.push((dir.display().to_string(), "holds no private key".to_owned()));
    }
    None
}

/// What to say of a protected key: with its `.pub` file beside it, whether it is the one.
fn encrypted(path: &Path, wanted: &Fingerprint) -> String {
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    let beside = read_small(Path::new(&public)).ok();
    match beside.and_then(|line| PublicKey::parse(&line).ok()) {
        Some(key) if key.has_fingerprint(wanted) => {
            format!("is the key, but {}", KeyError::Encrypted)
        }
        Some(key) => format!("is {}", in_the_form_of(wanted, &key)),
        None => KeyError::Encrypted.to_string(),
    }
}

async fn search_agent(agent: &Agent, wanted: &Fingerprint) -> Result<PublicKey, String> {
    let keys = agent.keys().await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        cause.unwrap_or_else(|| error.to_string())
    })?;
    if let Some(key) = keys.iter().find(|key| key.has_fingerprint(wanted)) {
        return Ok(key.clone());
    }
    if keys.is_empty() {
        return Err("holds no key".to_owned());
    }
    let held: Vec<_> = keys.iter().map(|key| in_the_form_of(wanted, key)).collect();
    Err(format!("holds {}", held.join(", ")))
}

/// A fingerprint of `key` that can be compared with the wanted one by eye.
fn in_the_form_of(wanted: &Fingerprint, key: &PublicKey) -> String {
    match wanted {
        Fingerprint::Md5(_) => key.md5_fingerprint(),
        Fingerprint::Sha256(_) => key.sha256_fingerprint(),
    }
}

/// Key files are text; anything else, and anything large, is not one.
fn read_small(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > KEY_FILE_BYTES_MAX {
        return Ok(String::new());
    }
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wanted {
            Some(wanted) => write!(
                f,
                "no private key with fingerprint {wanted} was found; tried:"
            )?,
            None => f.write_str("there is no key to sign with; tried:")?,
        }
        for (place, why) in &self.tried {
            write!(f, "\n    {place}: {why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NoKey {}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../httpsig/tests/fixtures/keys")
    }

    fn fingerprint(name: &str, line: usize) -> Fingerprint {
        let text = std::fs::read_to_string(keys().join(format!("{name}.fingerprints"))).unwrap();
        text.lines().nth(line).unwrap().parse().unwrap()
    }

    fn ssh_dir(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::copy(keys().join(file), dir.path().join(file)).unwrap();
        }
        dir
    }

    #[tokio::test]
    async fn finds_a_key_of_a_directory_by_either_fingerprint() {
        let dir = ssh_dir(&[
            "rsa2048.pkcs8.pem",
            "p521.openssh",
            "rsa2048.pub",
            "encrypted.openssh",
        ]);
        for line in [0, 1] {
            let search = KeySearch {
                key_id: Some(fingerprint("p521", line)),
                ssh_dir: Some(dir.path().to_owned()),
                ..KeySearch::default()
            };
            let signer = search.signer("alice", None).await.unwrap();
            let md5 = fingerprint("p521", 0);
            assert_eq!(signer.key_id(), format!("/alice/keys/{md5}"));
        }
    }

    #[tokio::test]
    async fn a_named_file_needs_no_fingerprint() {
        let search = KeySearch {
            key_file: Some(keys().join("p256.sec1.pem")),
            ..KeySearch::default()
        };
        assert!(search.signer("alice", None).await.is_ok());
    }

    #[tokio::test]
    async fn a_failure_lists_everything_that_was_tried() {
        let dir = ssh_dir(&["rsa1024.pkcs1.pem", "encrypted.pkcs8.pem"]);
        std::fs::write(dir.path().join("notes"), "no key").unwrap();
        let wanted = fingerprint("p521", 0);
        let search = KeySearch {
            key_file: Some(keys().join("p256.sec1.pem")),
            key_id: Some(wanted),
            ssh_dir: Some(dir.path().to_owned()),
            agent: Some(Agent::new("/nonexistent/agent")),
        };
        let text = search.signer("alice", None).await.unwrap_err().to_string();
        let path = dir.path().display();
        let expected = [
            format!("no private key with fingerprint {wanted} was found; tried:"),
            format!(
                "    {} (MANTA_KEY_FILE): is {}",
                keys().join("p256.sec1.pem").display(),
                fingerprint("p256", 0)
            ),
            format!("    {path}/encrypted.pkcs8.pem: {}", KeyError::Encrypted),
            format!(
                "    {path}/rsa1024.pkcs1.pem: is {}",
                fingerprint("rsa1024", 0)
            ),
            "    ssh-agent at /nonexistent/agent: No such file or directory (os error 2)"
                .to_owned(),
        ];
        assert_eq!(text, expected.join("\n"));
    }

    #[tokio::test]
    async fn a_protected_key_that_is_the_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(keys().join("encrypted.openssh"), dir.path().join("id")).unwrap();
        std::fs::copy(keys().join("p256.pub"), dir.path().join("id.pub")).unwrap();
        let search = KeySearch {
            key_id: Some(fingerprint("p256", 0)),
            ssh_dir: Some(dir.path().to_owned()),
            ..KeySearch::default()
        };
        let error = search.signer("alice", None).await.unwrap_err();
        assert!(
            error
                .tried
                .iter()
                .any(|(_, why)| why.starts_with("is the key, but "))
        );
    }
}
