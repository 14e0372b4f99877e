//! What a session of `mlogin` runs in its zone, as an object that everybody may read: clients name it as the
//! command of their job, and as its asset. Source: marlin.md section 12.2.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use libmanta::mahi::{Identity, Principal};

use crate::front_door::{FrontDoor, FrontDoorError, full};

/// The operator's account.
const LOGIN: &str = "poseidon";
const DIRECTORY: &str = "/poseidon/public/medusa";
const NAME: &str = "/poseidon/public/medusa/agent.sh";

/// The zone has the program in its `PATH`, of the same version as the store it speaks to.
const SCRIPT: &str = "#!/bin/bash\n# The zone's end of an mlogin session.\nexec medusa-agent\n";

/// Longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Stores the script, unless it is there as it should be, however often that takes.
pub(crate) async fn offer(front_door: &FrontDoor, identity: &dyn Identity) {
    let mut pause = Duration::from_secs(1);
    while let Err(reason) = try_offer(front_door, identity).await {
        tracing::warn!(reason, "interactive sessions are not available yet");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Errors: why it could not be.
async fn try_offer(front_door: &FrontDoor, identity: &dyn Identity) -> Result<(), String> {
    let account = identity
        .account(LOGIN)
        .await
        .map_err(|error| error.to_string())?;
    let Some(account) = account else {
        return Err(format!("there is no account {LOGIN}"));
    };
    let token = identity.mint_token(&Principal::of(&account), None);
    let told = |error: FrontDoorError| {
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {source}");
        }
        text
    };
    match front_door.get(&token, NAME).await {
        Ok(answer) => {
            let there = Limited::new(answer.into_body(), 2 * SCRIPT.len())
                .collect()
                .await;
            if there.is_ok_and(|there| there.to_bytes() == SCRIPT) {
                return Ok(());
            }
        }
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => {
            front_door
                .make_directory(&token, DIRECTORY)
                .await
                .map_err(told)?;
        }
        Err(error) => return Err(told(error)),
    }
    let size = u64::try_from(SCRIPT.len()).ok();
    let body = full(Bytes::from_static(SCRIPT.as_bytes()));
    let put = front_door.put(&token, NAME, "application/x-sh", size, body);
    put.await.map_err(told)
}
