//! Who asks. The order of the checks is part of the API: the form of the header, the date, the account,
//! the key, the signature. Source: rest-api.md sections 9, 10.2.
//!
//! A verified signature is remembered by a digest of everything it covers, so that a client that signs a date once a
//! second costs one verification a second. Account and key are looked up every time, and the date is
//! compared every time: a removed key stops working at once.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use httpsig::{Authorization, Fingerprint, ParseError, PublicKey};
use libmanta::mahi::Principal;
use libmanta::{Account, AccountId, Timestamp};
use percent_encoding::percent_decode_str;
use quick_cache::sync::Cache;
use ring::digest;

use crate::errors::{Error, Result};
use crate::exchange::Head;
use crate::server::Server;

/// An entry is a digest, however long the headers of the request were: a full cache is about a mebibyte.
const VERIFIED_MAX: usize = 16_384;
const PARSED_KEYS_MAX: usize = 4096;

/// A caller who is who they say.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) account: Arc<Account>,
}

/// What a request brings to show who it is, in good form and in time.
pub(crate) enum Credentials {
    Anonymous,
    Signature {
        authorization: Box<Authorization>,
        covered: String,
    },
    Token(String),
}

#[derive(Debug)]
pub(crate) struct SignatureCache {
    verified: Cache<Verified, ()>,
    keys: Cache<String, Arc<PublicKey>>,
}

/// SHA-256 over who signed what, with what, and how: whoever could find two questions with one digest could
/// pass for somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Verified([u8; 32]);

impl Verified {
    /// `fingerprint` is the name of the key in its account.
    fn new(
        account: AccountId,
        fingerprint: &str,
        algorithm: &str,
        covered: &str,
        signature: &[u8],
    ) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(account.as_uuid().as_bytes());
        // Lengths first, so that no byte can move from one part to the next.
        for part in [
            fingerprint.as_bytes(),
            algorithm.as_bytes(),
            covered.as_bytes(),
            signature,
        ] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_le_bytes());
            context.update(part);
        }
        let mut question = [0; 32];
        question.copy_from_slice(context.finish().as_ref());
        Self(question)
    }
}

impl Default for SignatureCache {
    fn default() -> Self {
        Self {
            verified: Cache::new(VERIFIED_MAX),
            keys: Cache::new(PARSED_KEYS_MAX),
        }
    }
}

impl SignatureCache {
    /// The parsed form of an OpenSSH line; `None` for one that does not parse.
    fn key(&self, line: &str) -> Option<Arc<PublicKey>> {
        if let Some(key) = self.keys.get(line) {
            return Some(key);
        }
        let key = Arc::new(PublicKey::parse_openssh(line).ok()?);
        self.keys.insert(line.to_owned(), key.clone());
        Some(key)
    }
}

/// Reads the header and checks the date it covers. Nobody is looked up yet.
pub(crate) fn credentials(server: &Server, head: &Head) -> Result<Credentials> {
    let Some(header) = head.header("authorization") else {
        return Ok(Credentials::Anonymous);
    };
    let authorization = match Authorization::parse(&header) {
        Ok(authorization) => authorization,
        Err(ParseError::OtherScheme(scheme)) if scheme == "token" => {
            let token = header
                .trim()
                .split_once(' ')
                .map_or("", |(_, token)| token.trim());
            return Ok(Credentials::Token(token.to_owned()));
        }
        Err(ParseError::OtherScheme(scheme)) => {
            return Err(Error::AuthorizationSchemeNotAllowed { scheme });
        }
        Err(ParseError::NoParameters) => return Err(Error::InvalidAuthorization),
        Err(ParseError::Algorithm(httpsig::AlgorithmError::NotAllowed(algorithm))) => {
            return Err(Error::InvalidAlgorithm { algorithm });
        }
        Err(
            error @ (ParseError::SchemeCase
            | ParseError::BadFormat
            | ParseError::NotSpecified(_)
            | ParseError::Algorithm(httpsig::AlgorithmError::Unknown(_))),
        ) => return Err(invalid_header(&error)),
    };
    let covered = httpsig::signing_string(
        &authorization,
        head.method.as_str(),
        head.target(),
        |name| head.header(name),
    )
    .map_err(|error| invalid_header(&error))?;
    check_skew(server, head)?;
    Ok(Credentials::Signature {
        authorization: Box::new(authorization),
        covered,
    })
}

fn invalid_header(reason: &dyn std::fmt::Display) -> Error {
    Error::InvalidSignatureHeader {
        reason: reason.to_string(),
    }
}

/// Both directions: a date from the future could be replayed until then. One that does not parse would be
/// good for ever.
fn check_skew(server: &Server, head: &Head) -> Result<()> {
    let name = if head.has("x-date") { "x-date" } else { "date" };
    let text = head.header(name).unwrap_or_default();
    let Some(date) = Timestamp::parse_http(&text) else {
        return Err(invalid_header(&format_args!("\"{text}\" is not a date")));
    };
    let now = server.clock.now();
    let skew = now.since(date).max(date.since(now));
    let max = server.config.clock_skew_max;
    if skew <= max {
        return Ok(());
    }
    let skew = format!("{}.{:03}", skew.as_secs(), skew.subsec_millis());
    let skew = skew.trim_end_matches('0').trim_end_matches('.');
    let max = max.as_secs();
    Err(invalid_header(&format_args!(
        "clock skew of {skew}s was greater than {max}s"
    )))
}

/// `None` for a request that says nothing about itself.
pub(crate) async fn authenticate(
    server: &Server,
    head: &Head,
    credentials: Credentials,
) -> Result<Option<Caller>> {
    let caller = match credentials {
        Credentials::Anonymous => return Ok(None),
        Credentials::Token(token) => by_token(server, &token).await?,
        Credentials::Signature {
            authorization,
            covered,
        } => by_signature(server, &authorization, &covered).await?,
    };
    check_roles(head)?;
    Ok(Some(caller))
}

async fn by_token(server: &Server, token: &str) -> Result<Caller> {
    let principal = server
        .identity
        .open_token(token)
        .map_err(Error::InvalidAuthenticationToken)?;
    let account = server.identity.account_by_id(principal.account).await?;
    let account = account.ok_or_else(|| Error::AccountDoesNotExist {
        login: principal.login.to_string(),
    })?;
    check_approved(&account)?;
    // Rights that were taken from the account since are taken from its tokens too.
    let operator = principal.operator && account.operator;
    Ok(Caller {
        principal: Principal {
            operator,
            ..principal
        },
        account,
    })
}

async fn by_signature(
    server: &Server,
    authorization: &Authorization,
    covered: &str,
) -> Result<Caller> {
    let key_id = KeyId::parse(&authorization.key_id).ok_or(Error::InvalidKeyId)?;
    let account = server.identity.account(&key_id.login).await?;
    let account = account.ok_or_else(|| Error::AccountDoesNotExist {
        login: key_id.login.clone(),
    })?;
    check_approved(&account)?;
    if let Some(user) = key_id.user {
        return Err(Error::UserDoesNotExist {
            account: key_id.login,
            user,
        });
    }
    let (fingerprint, line) = find_key(server, &account, &key_id.fingerprint).ok_or_else(|| {
        let key = format!("/{}/keys/{}", key_id.login, key_id.fingerprint);
        Error::KeyDoesNotExist { key }
    })?;
    let question = Verified::new(
        account.id,
        fingerprint,
        authorization.algorithm.name(),
        covered,
        &authorization.signature,
    );
    if server.signatures.verified.get(&question).is_some() {
        server.metrics.signatures_from_cache.fetch_add(1, Relaxed);
    } else {
        // Registered keys parsed when they were added; one that does not any more matches nothing.
        let key = server.signatures.key(line).ok_or(Error::InvalidSignature)?;
        key.verify(
            authorization.algorithm,
            covered.as_bytes(),
            &authorization.signature,
        )
        .map_err(|_| Error::InvalidSignature)?;
        server.metrics.signatures_verified.fetch_add(1, Relaxed);
        server.signatures.verified.insert(question, ());
    }
    let principal = Principal::of(&account);
    Ok(Caller { principal, account })
}

/// Fingerprint and OpenSSH line of the account's key that `wanted` names, by MD5 or (an extension) SHA-256.
fn find_key<'a>(server: &Server, account: &'a Account, wanted: &str) -> Option<(&'a str, &'a str)> {
    if let Some((fingerprint, line)) = account.keys.get_key_value(wanted) {
        return Some((fingerprint, line));
    }
    let wanted = wanted.parse::<Fingerprint>().ok()?;
    if let Fingerprint::Sha256(_) = wanted {
        let named = |line: &str| {
            server
                .signatures
                .key(line)
                .is_some_and(|key| key.has_fingerprint(&wanted))
        };
        let found = account.keys.iter().find(|(_, line)| named(line));
        return found.map(|(fingerprint, line)| (fingerprint.as_str(), line.as_str()));
    }
    None
}

fn check_approved(account: &Account) -> Result<()> {
    if account.approved || account.operator {
        return Ok(());
    }
    Err(Error::AccountBlocked {
        login: account.login.to_string(),
    })
}

/// Nobody holds a role, so every name is unknown.
fn check_roles(head: &Head) -> Result<()> {
    match first_name(head, "role") {
        Some(name) => Err(Error::InvalidRole { name }),
        None => Ok(()),
    }
}

/// There are no roles to tag with either; an empty list is fine and clears them.
pub(crate) fn check_role_tags(head: &Head) -> Result<()> {
    match first_name(head, "role-tag") {
        Some(name) => Err(Error::InvalidRoleTag { name }),
        None => Ok(()),
    }
}

fn first_name(head: &Head, header: &str) -> Option<String> {
    let list = head.header(header)?;
    list.split(',')
        .map(str::trim)
        .find(|name| !name.is_empty())
        .map(String::from)
}

/// The account whose tree the path lies in.
pub(crate) async fn owner(
    server: &Server,
    head: &Head,
    caller: Option<&Caller>,
) -> Result<Arc<Account>> {
    let login = head.path.login()?;
    if let Some(caller) = caller
        && caller.account.login.as_str() == login
    {
        return Ok(caller.account.clone());
    }
    let owner = server.identity.account(&login).await?;
    let owner = owner.ok_or(Error::AccountDoesNotExist { login })?;
    if !caller.is_some_and(|caller| caller.principal.operator) {
        check_approved(&owner)?;
    }
    Ok(owner)
}

/// `/login/keys/fingerprint` or `/login/user/keys/fingerprint`.
#[derive(Debug, PartialEq, Eq)]
struct KeyId {
    login: String,
    user: Option<String>,
    fingerprint: String,
}

impl KeyId {
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('/')?;
        let (login, rest) = rest.split_once('/')?;
        // The base64 of a SHA-256 fingerprint may hold slashes, so the rest is not split further.
        let (user, fingerprint) = match rest.strip_prefix("keys/") {
            Some(fingerprint) => (None, fingerprint),
            None => {
                let (user, rest) = rest.split_once('/')?;
                (Some(decode(user)?), rest.strip_prefix("keys/")?)
            }
        };
        if login.is_empty() || fingerprint.is_empty() || user.as_deref() == Some("") {
            return None;
        }
        Some(Self {
            login: decode(login)?,
            user,
            fingerprint: decode(fingerprint)?,
        })
    }
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_verified_signature_counts() {
        let (alice, bob) = (AccountId::random(), AccountId::random());
        let question = Verified::new(alice, "f", "ed25519-sha512", "date: x", b"sig");
        let again = Verified::new(alice, "f", "ed25519-sha512", "date: x", b"sig");
        assert_eq!(question, again);
        for other in [
            Verified::new(bob, "f", "ed25519-sha512", "date: x", b"sig"),
            Verified::new(alice, "g", "ed25519-sha512", "date: x", b"sig"),
            Verified::new(alice, "f", "rsa-sha256", "date: x", b"sig"),
            Verified::new(alice, "f", "ed25519-sha512", "date: y", b"sig"),
            Verified::new(alice, "f", "ed25519-sha512", "date: x", b"gis"),
            // The same bytes in a row, cut elsewhere.
            Verified::new(alice, "fe", "d25519-sha512", "date: x", b"sig"),
            Verified::new(alice, "f", "ed25519-sha512", "date: xs", b"ig"),
        ] {
            assert_ne!(question, other);
        }
    }

    #[test]
    fn key_ids_have_two_forms() {
        let id = |login: &str, user: Option<&str>, fingerprint: &str| {
            Some(KeyId {
                login: login.into(),
                user: user.map(String::from),
                fingerprint: fingerprint.into(),
            })
        };
        assert_eq!(KeyId::parse("/al/keys/aa:bb"), id("al", None, "aa:bb"));
        assert_eq!(KeyId::parse("/al/bo/keys/aa"), id("al", Some("bo"), "aa"));
        assert_eq!(
            KeyId::parse("/a%40b/keys/SHA256:x/y+z"),
            id("a@b", None, "SHA256:x/y+z")
        );
        for bad in [
            "",
            "al/keys/aa",
            "/al",
            "/al/keys",
            "/al/keys/",
            "//keys/aa",
            "/al/users/bo/keys/aa",
            "/al//keys/aa",
            "/%ff/keys/aa",
        ] {
            assert_eq!(KeyId::parse(bad), None, "{bad}");
        }
    }
}
