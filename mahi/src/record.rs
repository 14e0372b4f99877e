//! An account as it lies in moray: JSON, one record for each, named by its login.
//!
//! `version` says how to read the rest and is 1. `revision` counts the writes of this record, so that of
//! two states seen in any order the later one can be told.

use libmanta::Account;
use libmanta::moray::RecordKey;
use serde::{Deserialize, Serialize};

pub(crate) const BUCKET: &str = "mahi";
/// One for all accounts, so that they lie in one shard.
pub(crate) const ROUTE: &str = "accounts";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountRecord {
    version: Version,
    pub(crate) revision: u64,
    pub(crate) account: Account,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
enum Version {
    One,
}

impl TryFrom<u32> for Version {
    type Error = String;
    fn try_from(number: u32) -> Result<Self, String> {
        match number {
            1 => Ok(Self::One),
            other => Err(format!("version {other} of the record is unknown")),
        }
    }
}

impl From<Version> for u32 {
    fn from(version: Version) -> Self {
        match version {
            Version::One => 1,
        }
    }
}

impl AccountRecord {
    pub(crate) fn first(account: Account) -> Self {
        Self {
            version: Version::One,
            revision: 1,
            account,
        }
    }

    /// The record after a change.
    pub(crate) fn next(&self, account: Account) -> Self {
        Self {
            version: Version::One,
            revision: self.revision + 1,
            account,
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps have text keys: AccountRecord holds no others")
    }
}

pub(crate) fn key(login: &str) -> RecordKey {
    RecordKey {
        bucket: BUCKET.to_owned(),
        route: ROUTE.to_owned(),
        key: login.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 1 looks like on disk, for ever.
    const GOLDEN: &str = r#"{"version":1,"revision":2,"account":{"id":"bc8cd146-fecb-11e1-bd8a-bb6f54b49808","login":"alice","operator":false,"approved":true,"keys":{"aa:bb":"ssh-ed25519 AAAA alice"}}}"#;

    #[test]
    fn version_1_reads_and_writes_as_ever() {
        let record = AccountRecord::decode(GOLDEN.as_bytes()).unwrap();
        assert_eq!(record.account.login.as_str(), "alice");
        assert_eq!(record.revision, 2);
        assert_eq!(String::from_utf8(record.encode()).unwrap(), GOLDEN);
    }

    #[test]
    fn records_of_a_later_store_are_not_misread() {
        let later = GOLDEN.replace("\"version\":1", "\"version\":2");
        assert!(AccountRecord::decode(later.as_bytes()).is_err());
        assert!(AccountRecord::decode(b"{}").is_err());
    }
}
