//! Reading and changing the records of uploads. Every change names the state it was decided on, and does not
//! happen when that is no longer the state.

use libmanta::moray::{BatchError, Expect, Moray, MorayError, Record, RecordKey, Write};
use libmanta::{ObjectKey, Timestamp};

use super::records::{
    self, Gate, Outcome, PartsSummary, RecordError, State, Upload, Verdict, gate_key, upload_key,
};

/// An upload as it was a moment ago.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) directory: ObjectKey,
    pub(crate) upload: Upload,
    etag: u64,
}

/// What becomes of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GateChange {
    Stays,
    /// There must be none yet.
    Closes,
    Opens,
}

/// The upload with this directory.
pub(crate) async fn upload(
    moray: &dyn Moray,
    directory: &ObjectKey,
) -> Result<Option<Seen>, MorayError> {
    let Some(record) = moray.get(&upload_key(directory)).await? else {
        return Ok(None);
    };
    let upload = Upload::decode(&record.value).map_err(|error| corrupt(&record, &error))?;
    Ok(Some(Seen {
        directory: directory.clone(),
        upload,
        etag: record.etag,
    }))
}

/// Begins the upload's life; false if there is one of that name.
pub(crate) async fn begin(
    moray: &dyn Moray,
    directory: &ObjectKey,
    upload: &Upload,
) -> Result<bool, MorayError> {
    let write = Write {
        key: upload_key(directory),
        value: Some(upload.encode()),
        expect: Expect::Absent,
    };
    batch(moray, vec![write]).await
}

/// False if the upload is no longer what was seen.
pub(crate) async fn change(
    moray: &dyn Moray,
    seen: &Seen,
    state: State,
    gate: GateChange,
    now: Timestamp,
) -> Result<bool, MorayError> {
    let mut upload = seen.upload.with(state);
    if matches!(gate, GateChange::Opens) {
        upload = upload.opened_again();
    }
    let mut writes = vec![Write {
        key: upload_key(&seen.directory),
        value: Some(upload.encode()),
        expect: Expect::Etag(seen.etag),
    }];
    let key = gate_key(&seen.directory);
    match gate {
        GateChange::Stays => {}
        GateChange::Closes => writes.push(Write {
            key,
            value: Some(Gate::new(now).encode()),
            expect: Expect::Absent,
        }),
        GateChange::Opens => writes.push(Write {
            key,
            value: None,
            expect: Expect::Anything,
        }),
    }
    batch(moray, writes).await
}

/// Demands, in the transaction that it is given to, that the gate is open.
pub(crate) fn gate_is_open(directory: &ObjectKey) -> Write {
    Write {
        key: gate_key(directory),
        value: None,
        expect: Expect::Absent,
    }
}

/// Makes the outcome, which must happen before anybody can know the upload.
pub(crate) async fn begin_outcome(
    moray: &dyn Moray,
    directory: &ObjectKey,
    upload: &Upload,
) -> Result<bool, MorayError> {
    let write = Write {
        key: upload.outcome(),
        value: Some(Outcome::new(directory.clone(), Verdict::Pending).encode()),
        expect: Expect::Absent,
    };
    batch(moray, vec![write]).await
}

/// The outcome of an upload, and its etag; `None` when it was collected.
pub(crate) async fn outcome(
    moray: &dyn Moray,
    upload: &Upload,
) -> Result<Option<(Verdict, u64)>, MorayError> {
    let Some(record) = moray.get(&upload.outcome()).await? else {
        return Ok(None);
    };
    let outcome = Outcome::decode(&record.value).map_err(|error| corrupt(&record, &error))?;
    Ok(Some((outcome.result, record.etag)))
}

/// The write that makes a pending outcome final, for the transaction that writes the target.
pub(crate) fn commits(seen: &Seen, parts: PartsSummary, md5: String, etag: u64) -> Write {
    let verdict = Verdict::Committed { parts, md5 };
    Write {
        key: seen.upload.outcome(),
        value: Some(Outcome::new(seen.directory.clone(), verdict).encode()),
        expect: Expect::Etag(etag),
    }
}

/// Makes a pending outcome an abort; false if it is no longer what was seen.
pub(crate) async fn aborts(moray: &dyn Moray, seen: &Seen, etag: u64) -> Result<bool, MorayError> {
    let write = Write {
        key: seen.upload.outcome(),
        value: Some(Outcome::new(seen.directory.clone(), Verdict::Aborted).encode()),
        expect: Expect::Etag(etag),
    };
    batch(moray, vec![write]).await
}

/// Notes the outcome in the upload, unless somebody else did.
pub(crate) async fn settle(
    moray: &dyn Moray,
    seen: &Seen,
    verdict: Verdict,
    now: Timestamp,
) -> Result<(), MorayError> {
    let state = match verdict {
        Verdict::Pending => return Ok(()),
        Verdict::Committed { parts, md5 } => State::Committed {
            parts,
            md5,
            at: now,
        },
        Verdict::Aborted => State::Aborted { at: now },
    };
    change(moray, seen, state, GateChange::Stays, now)
        .await
        .map(drop)
}

/// Forgets the outcome.
pub(crate) async fn forget_outcome(moray: &dyn Moray, key: RecordKey) -> Result<(), MorayError> {
    batch(moray, vec![gone(key)]).await.map(drop)
}

/// Forgets upload and gate, together.
pub(crate) async fn forget(moray: &dyn Moray, directory: &ObjectKey) -> Result<(), MorayError> {
    let writes = vec![gone(upload_key(directory)), gone(gate_key(directory))];
    batch(moray, writes).await.map(drop)
}

/// The directory that a gate belongs to.
pub(crate) fn directory_of_gate(record: &Record) -> Result<ObjectKey, MorayError> {
    ObjectKey::parse(&record.key.route).map_err(|error| MorayError::Corrupt {
        shard: records::GATES.to_owned(),
        reason: error.to_string(),
    })
}

fn gone(key: RecordKey) -> Write {
    Write {
        key,
        value: None,
        expect: Expect::Anything,
    }
}

async fn batch(moray: &dyn Moray, writes: Vec<Write>) -> Result<bool, MorayError> {
    match moray.batch(writes).await {
        Ok(()) => Ok(true),
        Err(BatchError::Conflict(_)) => Ok(false),
        Err(BatchError::Routes) => Err(MorayError::Corrupt {
            shard: records::UPLOADS.to_owned(),
            reason: "the records of an upload have different routes".to_owned(),
        }),
        Err(BatchError::Moray(error)) => Err(error),
    }
}

pub(crate) fn corrupt(record: &Record, error: &RecordError) -> MorayError {
    MorayError::Corrupt {
        shard: record.key.bucket.clone(),
        reason: format!("{}: {error}", record.key.key),
    }
}

#[cfg(test)]
impl Seen {
    pub(crate) fn for_test(directory: ObjectKey, upload: Upload) -> Self {
        Self {
            directory,
            upload,
            etag: 0,
        }
    }
}
