//! An account as it lies in moray: JSON, one record for each, named by its login. Everything that belongs to
//! an account is in its record (subusers, policies, roles and who is a member of them), so that no change can
//! be done by half.
//!
//! `version` says how to read the rest: 1 had neither subusers, policies, roles nor groups other than operators,
//! and reads as an account without; 2 is what is written. `revision` counts the writes of this record, so that
//! of two states seen in any order the later one can be told.

use std::collections::{BTreeMap, BTreeSet};

use libmanta::moray::RecordKey;
use libmanta::{Account, AccountId, Login, User, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) const BUCKET: &str = "mahi";
/// One for all accounts, so that they lie in one shard.
pub(crate) const ROUTE: &str = "accounts";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountRecord {
    version: Version,
    pub(crate) revision: u64,
    pub(crate) account: StoredAccount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
enum Version {
    One,
    Two,
}

impl TryFrom<u32> for Version {
    type Error = String;
    fn try_from(number: u32) -> Result<Self, String> {
        match number {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            other => Err(format!("version {other} of the record is unknown")),
        }
    }
}

impl From<Version> for u32 {
    fn from(version: Version) -> Self {
        match version {
            Version::One => 1,
            Version::Two => 2,
        }
    }
}

/// What the fields mean that [`Account`] has too is said there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredAccount {
    pub(crate) id: AccountId,
    pub(crate) login: Login,
    pub(crate) operator: bool,
    pub(crate) approved: bool,
    pub(crate) keys: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) role_operator: bool,
    #[serde(default)]
    pub(crate) reader: bool,
    #[serde(default)]
    pub(crate) snaplinks_disabled: bool,
    #[serde(default)]
    pub(crate) users: BTreeMap<Login, StoredUser>,
    /// By name.
    #[serde(default)]
    pub(crate) policies: BTreeMap<String, StoredPolicy>,
    /// By name.
    #[serde(default)]
    pub(crate) roles: BTreeMap<String, StoredRole>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredUser {
    pub(crate) id: UserId,
    pub(crate) keys: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredPolicy {
    pub(crate) id: Uuid,
    /// As they were written. Each parsed when it was.
    pub(crate) rules: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredRole {
    pub(crate) id: Uuid,
    /// Ids of policies of this account; each exists.
    pub(crate) policies: BTreeSet<Uuid>,
    /// Subusers of this account, each of whom exists; whether it is one of their default roles.
    pub(crate) users: BTreeMap<UserId, bool>,
    /// Other accounts; whether it is one of their default roles.
    pub(crate) accounts: BTreeMap<AccountId, bool>,
}

impl AccountRecord {
    pub(crate) fn first(account: StoredAccount) -> Self {
        Self {
            version: Version::Two,
            revision: 1,
            account,
        }
    }

    /// The record after a change.
    pub(crate) fn next(&self, account: StoredAccount) -> Self {
        Self {
            version: Version::Two,
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

impl StoredAccount {
    /// As [`Account::new`].
    pub(crate) fn new(id: AccountId, login: Login) -> Self {
        Self {
            id,
            login,
            operator: false,
            approved: true,
            keys: BTreeMap::new(),
            role_operator: false,
            reader: false,
            snaplinks_disabled: false,
            users: BTreeMap::new(),
            policies: BTreeMap::new(),
            roles: BTreeMap::new(),
        }
    }

    /// What everybody else sees of it.
    pub(crate) fn account(&self) -> Account {
        let user = |(login, user): (&Login, &StoredUser)| {
            let known = User {
                id: user.id,
                login: login.clone(),
                keys: user.keys.clone(),
            };
            (login.to_string(), known)
        };
        let role = |(name, role): (&String, &StoredRole)| (name.clone(), role.id);
        Account {
            id: self.id,
            login: self.login.clone(),
            operator: self.operator,
            approved: self.approved,
            keys: self.keys.clone(),
            role_operator: self.role_operator,
            reader: self.reader,
            snaplinks_disabled: self.snaplinks_disabled,
            users: self.users.iter().map(user).collect(),
            roles: self.roles.iter().map(role).collect(),
        }
    }

    /// The rules of a role's policies, as they were written.
    pub(crate) fn rules<'a>(&'a self, role: &'a StoredRole) -> impl Iterator<Item = &'a str> {
        let policies = self.policies.values();
        let attached = policies.filter(|policy| role.policies.contains(&policy.id));
        attached.flat_map(|policy| policy.rules.iter().map(String::as_str))
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
    const GOLDEN_1: &str = r#"{"version":1,"revision":2,"account":{"id":"bc8cd146-fecb-11e1-bd8a-bb6f54b49808","login":"alice","operator":false,"approved":true,"keys":{"aa:bb":"ssh-ed25519 AAAA alice"}}}"#;

    /// The same account, one change later, in version 2.
    const GOLDEN_1_CHANGED: &str = r#"{"version":2,"revision":3,"account":{"id":"bc8cd146-fecb-11e1-bd8a-bb6f54b49808","login":"alice","operator":false,"approved":true,"keys":{"aa:bb":"ssh-ed25519 AAAA alice"},"role_operator":false,"reader":true,"snaplinks_disabled":false,"users":{},"policies":{},"roles":{}}}"#;

    /// What version 2 looks like on disk, for ever.
    const GOLDEN_2: &str = concat!(
        r#"{"version":2,"revision":9,"account":{"id":"bc8cd146-fecb-11e1-bd8a-bb6f54b49808","#,
        r#""login":"alice","operator":false,"approved":false,"keys":{},"role_operator":true,"#,
        r#""reader":false,"snaplinks_disabled":true,"#,
        r#""users":{"bob":{"id":"bc8cd146-fecb-11e1-bd8a-bb6f54b49801","#,
        r#""keys":{"aa:bb":"ssh-ed25519 AAAA bob"}}},"#,
        r#""policies":{"read":{"id":"bc8cd146-fecb-11e1-bd8a-bb6f54b49802","#,
        r#""rules":["CAN getobject","can x if day = mon"]}},"#,
        r#""roles":{"guest":{"id":"bc8cd146-fecb-11e1-bd8a-bb6f54b49803","#,
        r#""policies":["bc8cd146-fecb-11e1-bd8a-bb6f54b49802"],"#,
        r#""users":{"bc8cd146-fecb-11e1-bd8a-bb6f54b49801":true},"#,
        r#""accounts":{"bc8cd146-fecb-11e1-bd8a-bb6f54b49804":false}}}}}"#,
    );

    #[test]
    fn version_1_reads_as_ever_and_is_written_as_version_2() {
        let record = AccountRecord::decode(GOLDEN_1.as_bytes()).unwrap();
        assert_eq!(record.account.login.as_str(), "alice");
        assert_eq!(record.revision, 2);
        let mut account = record.account.clone();
        assert!(account.users.is_empty() && account.roles.is_empty());
        account.reader = true;
        let changed = record.next(account);
        assert_eq!(
            String::from_utf8(changed.encode()).unwrap(),
            GOLDEN_1_CHANGED
        );
    }

    #[test]
    fn version_2_reads_and_writes_as_ever() {
        let record = AccountRecord::decode(GOLDEN_2.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(record.encode()).unwrap(), GOLDEN_2);
        let account = record.account.account();
        assert_eq!(account.users["bob"].login.as_str(), "bob");
        assert_eq!(account.users["bob"].keys.len(), 1);
        let role = &record.account.roles["guest"];
        assert_eq!(account.roles["guest"], role.id);
        let rules: Vec<_> = record.account.rules(role).collect();
        assert_eq!(rules, ["CAN getobject", "can x if day = mon"]);
    }

    #[test]
    fn records_of_a_later_store_are_not_misread() {
        let later = GOLDEN_2.replace("\"version\":2", "\"version\":3");
        assert!(AccountRecord::decode(later.as_bytes()).is_err());
        assert!(AccountRecord::decode(b"{}").is_err());
    }
}
