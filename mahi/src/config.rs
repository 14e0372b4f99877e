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
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("secret", &"redacted")
            .field("token_life", &self.token_life)
            .finish()
    }
}
