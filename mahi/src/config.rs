//! What an operator may change about accounts and tokens.

use std::fmt;
use std::time::Duration;

/// Settings. There is no default: the secret must be the store's own.
#[derive(Clone)]
pub struct Config {
    /// Seals tokens. Whoever knows it can act as anyone; a new one makes every token invalid.
    pub secret: [u8; 32],
    /// How long a token is good for, which bounds how long a job may run.
    pub token_life: Duration,
    /// Make tokens for users in the format of the reference with these keys, and accept such. Whoever knows them
    /// can act as anyone.
    pub auth_token: Option<AuthToken>,
}

/// Keys for tokens in the format of the reference.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthToken {
    pub(crate) key: [u8; 16],
    pub(crate) iv: [u8; 16],
    /// How long such a token is good for.
    pub(crate) max_age: Duration,
}

impl AuthToken {
    /// `None` when a text is not what it must be: 32 hexadecimal digits for the key and the initial vector, 16
    /// for the salt. The reference asks for a salt, as the tool that makes the keys prints one, and uses it
    /// nowhere; the same is done here.
    #[must_use]
    pub fn parse(key: &str, iv: &str, salt: &str, max_age: Duration) -> Option<Self> {
        let _salt: [u8; 8] = hexadecimal(salt)?;
        Some(Self {
            key: hexadecimal(key)?,
            iv: hexadecimal(iv)?,
            max_age,
        })
    }
}

fn hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.len() == 2 * N && text.bytes().all(|b| b.is_ascii_hexdigit());
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate().filter(|_| digits) {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    digits.then_some(bytes)
}

impl fmt::Debug for AuthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthToken")
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Tokens live for 7 days. Source: rest-api.md section 9.6.
    pub const TOKEN_LIFE_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);

    /// Everything but the secret at its default.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            token_life: Self::TOKEN_LIFE_DEFAULT,
            auth_token: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("secret", &"redacted")
            .field("token_life", &self.token_life)
            .field("auth_token", &self.auth_token)
            .finish()
    }
}
