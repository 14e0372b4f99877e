//! LINK and RENAME in one transaction, where one shard has all it takes.

use super::binding::{Binding, Bound, Disposal, Kind, Over, Overwritten, Pin};
use super::record::{Dropped, Prepared, Record};
use crate::ObjectId;
use crate::namespace::Token;

/// What was done, to be stored as a whole.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Here<N> {
    pub source: Binding,
    pub target: Binding,
    /// Of what the target was bound to before.
    pub disposal: Option<Disposal>,
    pub moved: Moved<N>,
}

/// Where the copies are afterwards.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Moved<N> {
    /// In the target's entry. No record was touched.
    Alone,
    /// In this record, which replaces the one that was given. If `raised`, the source's copies replace those
    /// in the record.
    Promoted { record: Record<N>, raised: bool },
}

/// A RENAME of a sole object within a shard: the target becomes its only name, the source goes. `label` is
/// fresh. `None` if it takes the steps. Safe beside every linker, since the old label is gone.
#[must_use]
pub fn rename_alone<N>(source: Binding, target: Binding, label: Token) -> Option<Here<N>> {
    let Binding::Bound(Bound::Sole {
        object, version, ..
    }) = source
    else {
        return None;
    };
    let disposal = free(target)?.map(Bound::disposal);
    let target = Binding::Bound(Bound::Sole {
        object,
        label,
        version,
    });
    Some(Here {
        source: Binding::Missing,
        target,
        disposal,
        moved: Moved::Alone,
    })
}

/// All the steps at once: the record of the source's object lies in the shard of both names. `record` looks at
/// the source's label. `None` if something is in the way that takes the steps one by one.
#[must_use]
pub fn transfer_here<N: Clone>(
    source: (Binding, &N),
    target: (Binding, &N),
    record: Option<Record<N>>,
    token: Token,
    kind: Kind,
) -> Option<Here<N>> {
    let Binding::Bound(bound) = source.0 else {
        return None;
    };
    let (object, label) = (bound.object(), bound.label());
    let version_before = record.as_ref().map(|record| record.version);
    let (record, Prepared::Ready { version }) =
        Record::prepare(record, bound, source.1, target.1, token, kind)
    else {
        return None;
    };
    let mut record = record?;
    let (pinned, Pin::Pinned) = source.0.pin(object, label, version, token, kind) else {
        return None;
    };
    free(target.0)?;
    let entering = target.0.enter(Over::Free, object, token)?;
    record.commit(object, token, label)?;
    let (settled, _, disposal) = entering.settle(object, token);
    let source = match kind {
        Kind::Link => pinned,
        Kind::Rename => {
            let (erased, _) = pinned.erase(object, label);
            if record.forget_moved(label) != Dropped::Kept {
                return None;
            }
            erased
        }
    };
    let raised = version_before != Some(record.version);
    Some(Here {
        source,
        target: settled,
        disposal,
        moved: Moved::Promoted { record, raised },
    })
}

/// What is replaced if nobody else has to do with the name.
#[expect(
    clippy::option_option,
    reason = "nothing is in the way; nothing is there"
)]
fn free(target: Binding) -> Option<Option<Bound>> {
    match (target, target.overwrite(Over::Free)) {
        (Binding::Directory, _) | (_, Overwritten::Busy) => None,
        (_, Overwritten::Yes { bound }) => Some(bound),
    }
}

impl<N> Here<N> {
    /// The object that was transferred.
    #[must_use]
    pub fn object(&self) -> Option<ObjectId> {
        match self.target {
            Binding::Bound(bound) => Some(bound.object()),
            _ => None,
        }
    }
}
