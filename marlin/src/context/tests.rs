//! What tests of the agent work for.

use libmanta::mahi::Principal;
use libmanta::marlin::JobDefinition;
use libmanta::{Account, AccountId, Login, Timestamp};

use super::*;

impl JobContext {
    /// A job to which nothing happens.
    pub(crate) fn of_nobody() -> Arc<Self> {
        let owner = AccountId::random();
        let login = Login::parse("user").expect("a login");
        let principal = Principal {
            from_job: true,
            ..Principal::of(&Account::new(owner, login))
        };
        let record = JobRecord {
            version: JobRecord::version_for(&principal),
            id: JobId::random(),
            owner,
            principal,
            token: String::new(),
            definition: JobDefinition {
                name: String::new(),
                transient: false,
                phases: Vec::new(),
                options: None,
            },
            created: Timestamp::from_millis(0),
            summary: None,
        };
        Self::new(record, CancellationToken::new(), mpsc::channel(1).0)
    }
}
