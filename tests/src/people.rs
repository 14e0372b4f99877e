//! Accounts, subusers, policies and roles of a running store, made over the administrator's socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::home::run;
use crate::{Client, Signer, Store};

/// An RSA key, and what it is called.
#[derive(Debug)]
struct Key {
    fingerprint: String,
    public: String,
}

fn make_key(file: &Path) -> Result<Key> {
    let words = [
        "-q", "-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "", "-f",
    ];
    run(Command::new("ssh-keygen").args(words).arg(file))?;
    let public = file.with_extension("pub");
    let shown = run(Command::new("ssh-keygen")
        .args(["-l", "-E", "md5", "-f"])
        .arg(&public))?;
    let fingerprint = shown.split(' ').nth(1).context("a fingerprint")?;
    Ok(Key {
        fingerprint: fingerprint.trim_start_matches("MD5:").to_owned(),
        public: std::fs::read_to_string(&public).context("read the public key")?,
    })
}

impl Store {
    /// A command to the administrator's socket; fails unless it succeeded.
    pub fn administer(&self, method: &str, path: &str, document: &Value) -> Result<Value> {
        let socket = self.data_dir().join("admin.sock");
        let mut stream = UnixStream::connect(&socket).context("connect to admin.sock")?;
        // In one piece, and with a body only if there is something to say: whoever does not read it may
        // have answered and left before all of it is written.
        let body = match document {
            Value::Null => String::new(),
            document => document.to_string(),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream
            .write_all(request.as_bytes())
            .with_context(|| format!("ask for {method} {path}"))?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .with_context(|| format!("read the answer to {method} {path}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
        let succeeded = head.split(' ').nth(1).is_some_and(|s| s.starts_with('2'));
        ensure!(succeeded, "{method} {path} {document}: {answer}");
        Ok(serde_json::from_str(body).unwrap_or_default())
    }

    /// A new account, and a client of it.
    pub fn add_account(&self, login: &str) -> Result<Client> {
        self.administer("POST", "/accounts", &json!({ "login": login }))?;
        self.add_key(login, &format!("/accounts/{login}"))
    }

    /// A new account that may do everything, and a client of it.
    pub fn add_operator(&self, login: &str) -> Result<Client> {
        let account = json!({ "login": login, "operator": true });
        self.administer("POST", "/accounts", &account)?;
        self.add_key(login, &format!("/accounts/{login}"))
    }

    /// A new subuser of the account that `manta up` made, and a client of it.
    pub fn add_user(&self, login: &str) -> Result<Client> {
        self.add_user_of(self.account(), login)
    }

    /// A new subuser of an account, and a client of it.
    pub fn add_user_of(&self, account: &str, login: &str) -> Result<Client> {
        let users = format!("/accounts/{account}/users");
        self.administer("POST", &users, &json!({ "login": login }))?;
        self.add_key(&format!("{account}/{login}"), &format!("{users}/{login}"))
    }

    fn add_key(&self, name: &str, path: &str) -> Result<Client> {
        let file = self.scratch().join(name.replace('/', "-"));
        let key = make_key(&file)?;
        let keys = format!("{path}/keys");
        self.administer("POST", &keys, &json!({ "key": key.public }))?;
        let signer = Signer::open(name, &key.fingerprint, &file)?;
        Ok(Client::new(self.address(), Some(signer)))
    }

    /// A role of the account that `manta up` made, with one policy of one rule.
    pub fn add_role(&self, name: &str, rule: &str) -> Result<()> {
        self.add_role_of(self.account(), name, &[rule])
    }

    /// A role of an account, with one policy.
    pub fn add_role_of(&self, account: &str, name: &str, rules: &[&str]) -> Result<()> {
        let policies = format!("/accounts/{account}/policies");
        let policy = json!({ "name": name, "rules": rules });
        self.administer("POST", &policies, &policy)?;
        let roles = format!("/accounts/{account}/roles");
        let role = json!({ "name": name, "policies": [name] });
        self.administer("POST", &roles, &role)?;
        Ok(())
    }

    /// Puts a role of that account into the hands of `{"user": …}` or `{"account": …}`.
    pub fn give_role(&self, name: &str, member: &Value, default: bool) -> Result<()> {
        self.give_role_of(self.account(), name, member, default)
    }

    /// Puts a role of an account into the hands of `{"user": …}` or `{"account": …}`.
    pub fn give_role_of(
        &self,
        account: &str,
        name: &str,
        member: &Value,
        default: bool,
    ) -> Result<()> {
        let path = format!("/accounts/{account}/roles/{name}/members");
        let given = json!({ "member": member, "default": default });
        self.administer("POST", &path, &given)?;
        Ok(())
    }
}
