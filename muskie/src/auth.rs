//! Who asks. The order of the checks is part of the API: the form of what is sent, the times in it, the
//! account, the subuser, the key, the signature. Source: rest-api.md section 9.
//!
//! What comes out is somebody; which roles they act in is found out later ([`crate::roles`]), for the owner
//! of what they ask for is looked up before. A delegated token (`X-Auth-Token`) is an optional feature that
//! this store does not have: it is answered as one that the signing service never issued.

mod key_id;
mod verified;

use std::collections::BTreeMap;
use std::sync::Arc;

use httpsig::{Algorithm, Authorization, Fingerprint, ParseError};
use libmanta::mahi::{ActingUser, Bearer, InvalidToken, OPERATOR_ROLE};
use libmanta::{Account, Timestamp};

use crate::errors::{Error, Result};
use crate::exchange::Head;
use crate::presigned;
use crate::server::Server;

use self::key_id::KeyId;
pub(crate) use self::verified::SignatureCache;
use self::verified::{Signed, Signer};

/// What a request brings to show who it is, in good form and in time.
#[derive(Debug)]
pub(crate) struct Credentials {
    proof: Proof,
    /// Roles to act in, as a list of names.
    role: Option<String>,
    /// Tags for what is stored, as a list of names of roles.
    pub(crate) role_tag: Option<String>,
}

#[derive(Debug)]
enum Proof {
    Nothing,
    Signature(Box<Signature>),
    Token(String),
}

/// A signature, wherever it was found.
#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) key_id: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) bytes: Vec<u8>,
    /// The text it has to be over.
    pub(crate) covered: String,
    /// In the query, where it is good for one request as it stands.
    pub(crate) in_query: bool,
}

/// Somebody who is who they say.
#[derive(Clone, Debug)]
pub(crate) struct Somebody {
    pub(crate) account: Arc<Account>,
    /// `None` is the account itself.
    pub(crate) user: Option<ActingUser>,
    pub(crate) asked: Asked,
}

/// Which roles somebody wants to act in.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// A list of names; without one, whatever is active by default.
    Names(Option<String>),
    /// What a token says, which holds whatever the request says.
    Stored(Bearer),
}

impl Credentials {
    /// Whether this is a signed URL, which may come over an insecure connection.
    pub(crate) fn is_presigned(&self) -> bool {
        matches!(&self.proof, Proof::Signature(signature) if signature.in_query)
    }

    /// Whether they say that the request is somebody's.
    pub(crate) fn claim_something(&self) -> bool {
        !matches!(self.proof, Proof::Nothing)
    }

    /// The same, unless it is by a token that only we can have made, were it no longer good.
    pub(crate) fn may_be_guessed(&self, server: &Server) -> bool {
        match &self.proof {
            Proof::Token(token) => {
                matches!(
                    server.identity.open_token(token),
                    Err(InvalidToken::Malformed)
                )
            }
            _ => self.claim_something(),
        }
    }

    /// Reads headers and query, and checks the times in them. Nobody is looked up yet.
    pub(crate) fn read(server: &Server, head: &Head) -> Result<Self> {
        if !head.has("authorization")
            && let Some(presigned) = presigned::read(head, server.clock.now())?
        {
            return Ok(Self {
                proof: Proof::Signature(Box::new(presigned.signature)),
                role: presigned.role,
                role_tag: presigned.role_tag,
            });
        }
        Ok(Self {
            proof: proof(server, head)?,
            role: head.header("role"),
            role_tag: head.header("role-tag"),
        })
    }
}

fn proof(server: &Server, head: &Head) -> Result<Proof> {
    let Some(header) = head.header("authorization") else {
        return Ok(Proof::Nothing);
    };
    let authorization = match Authorization::parse(&header) {
        Ok(authorization) => authorization,
        Err(ParseError::OtherScheme(scheme)) if scheme == "token" => {
            let token = header
                .trim()
                .split_once(' ')
                .map_or("", |(_, token)| token.trim());
            return Ok(Proof::Token(token.to_owned()));
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
    Ok(Proof::Signature(Box::new(Signature {
        key_id: authorization.key_id,
        algorithm: authorization.algorithm,
        bytes: authorization.signature,
        covered,
        in_query: false,
    })))
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
) -> Result<Option<Somebody>> {
    let delegated = head.has("x-auth-token");
    let somebody = match credentials.proof {
        // It would need a signature besides.
        Proof::Nothing if delegated => return Err(Error::AuthorizationRequired),
        Proof::Nothing => return Ok(None),
        Proof::Token(token) => by_token(server, &token).await?,
        Proof::Signature(signature) => {
            let asked = Asked::Names(credentials.role);
            by_signature(server, &signature, asked).await?
        }
    };
    if delegated {
        return Err(Error::InvalidHttpAuthenticationToken);
    }
    Ok(Some(somebody))
}

async fn by_token(server: &Server, token: &str) -> Result<Somebody> {
    let bearer = server
        .identity
        .open_token(token)
        .map_err(Error::InvalidAuthenticationToken)?;
    let principal = &bearer.principal;
    let account = server.identity.account_by_id(principal.account).await?;
    let account = account.ok_or_else(|| Error::AccountDoesNotExist {
        login: principal.login.to_string(),
    })?;
    check_approved(&account)?;
    // By its id: another one who got the login of one that is gone is somebody else.
    if let Some(user) = &principal.user
        && !account.users.values().any(|known| known.id == user.id)
    {
        return Err(Error::UserDoesNotExist {
            account: account.login.to_string(),
            user: user.login.to_string(),
        });
    }
    Ok(Somebody {
        account,
        user: principal.user.clone(),
        asked: Asked::Stored(bearer),
    })
}

async fn by_signature(server: &Server, signature: &Signature, asked: Asked) -> Result<Somebody> {
    let key_id = KeyId::parse(&signature.key_id).ok_or(Error::InvalidKeyId)?;
    let account = server.identity.account(&key_id.login).await?;
    let account = account.ok_or_else(|| Error::AccountDoesNotExist {
        login: key_id.login.clone(),
    })?;
    check_approved(&account)?;
    let (user, keys) = match &key_id.user {
        None => (None, &account.keys),
        Some(login) => {
            let user = account.users.get(login);
            let user = user.ok_or_else(|| Error::UserDoesNotExist {
                account: key_id.login.clone(),
                user: login.clone(),
            })?;
            let acting = ActingUser {
                id: user.id,
                login: user.login.clone(),
            };
            (Some(acting), &user.keys)
        }
    };
    let (fingerprint, line) =
        find_key(server, keys, &key_id.fingerprint).ok_or_else(|| Error::KeyDoesNotExist {
            key: key_id.to_string(),
        })?;
    let signer = Signer {
        account: account.id,
        user: user.as_ref().map(|user| user.id),
        fingerprint,
        line,
    };
    let signed = Signed {
        algorithm: signature.algorithm,
        covered: &signature.covered,
        signature: &signature.bytes,
    };
    server.signatures.check(&server.metrics, signer, signed)?;
    Ok(Somebody {
        account,
        user,
        asked,
    })
}

/// Fingerprint and OpenSSH line of the key that `wanted` names, by MD5 or (an extension) SHA-256.
fn find_key<'a>(
    server: &Server,
    keys: &'a BTreeMap<String, String>,
    wanted: &str,
) -> Option<(&'a str, &'a str)> {
    if let Some((fingerprint, line)) = keys.get_key_value(wanted) {
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
        let found = keys.iter().find(|(_, line)| named(line));
        return found.map(|(fingerprint, line)| (fingerprint.as_str(), line.as_str()));
    }
    None
}

pub(crate) fn check_approved(account: &Account) -> Result<()> {
    if account.approved || account.operator {
        return Ok(());
    }
    Err(Error::AccountBlocked {
        login: account.login.to_string(),
    })
}

/// The account whose tree the path lies in.
pub(crate) async fn owner(
    server: &Server,
    head: &Head,
    caller: Option<&Somebody>,
) -> Result<Arc<Account>> {
    let login = head.path.login()?;
    if let Some(caller) = caller
        && caller.account.login.as_str() == login
    {
        return Ok(caller.account.clone());
    }
    let owner = server.identity.account(&login).await?;
    let owner = owner.ok_or(Error::AccountDoesNotExist { login })?;
    if !caller.is_some_and(Somebody::may_be_operator) {
        check_approved(&owner)?;
    }
    Ok(owner)
}

impl Somebody {
    /// `account` or `account/user`.
    pub(crate) fn name(&self) -> String {
        match &self.user {
            None => self.account.login.to_string(),
            Some(user) => format!("{}/{}", self.account.login, user.login),
        }
    }

    /// Whether a blocked owner does not concern them.
    fn may_be_operator(&self) -> bool {
        let operator = match &self.asked {
            Asked::Stored(bearer) => bearer.principal.operator,
            Asked::Names(names) => {
                !self.account.role_operator
                    || names.as_deref().map(str::trim) == Some(OPERATOR_ROLE)
            }
        };
        self.user.is_none() && operator && (self.account.operator || self.account.role_operator)
    }
}
