//! What names are bound to, and the copies of promoted objects: GET of one name, and pages of many.
//!
//! Most names are sole, and say so themselves. For the others the records are asked, all that lie in one shard
//! with one call.

use futures_util::future::try_join_all;
use libmanta::link::{Binding, Lookup, Next, Reply, Seen, Step};
use libmanta::moray::MorayError;
use libmanta::moray::shard::Look;
use libmanta::namespace::Token;
use libmanta::{Entry, EntryKind, ObjectId, ObjectKey, StorageId};

use crate::attempts::{ATTEMPTS_MAX, pause_before};
use crate::router::Router;

/// A name as it was read from its shard.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) key: ObjectKey,
    pub(crate) binding: Binding,
    /// What is there, or what enters.
    pub(crate) entry: Option<Entry>,
    /// What is there until it has entered.
    pub(crate) before: Option<Entry>,
}

impl Found {
    pub(crate) fn new(key: &ObjectKey, look: Look) -> Self {
        Self {
            key: key.clone(),
            binding: look.binding,
            entry: look.entry,
            before: look.before,
        }
    }

    /// Whether [`Router::resolve`] has nothing to ask anybody.
    pub(crate) fn is_plain(&self) -> bool {
        !matches!(Lookup::from_binding(self.binding), Next::Send(..))
    }

    /// The entry that somebody sees to whom the name turned out to be bound like this.
    fn seen(self, seen: Seen, copies: Vec<StorageId>) -> Option<Entry> {
        let there = match self.binding {
            Binding::Entering { .. } => self.before,
            _ => self.entry.clone(),
        };
        match seen {
            Seen::Missing => None,
            Seen::Directory | Seen::Sole(_) => there,
            Seen::Linked(_) => there.map(|entry| with_copies(entry, copies)),
            Seen::Entered(_) => self.entry.map(|entry| with_copies(entry, copies)),
        }
    }
}

fn with_copies(mut entry: Entry, copies: Vec<StorageId>) -> Entry {
    if let EntryKind::Object(object) = &mut entry.kind {
        object.copies = copies;
    }
    entry
}

/// A name whose lookup waits for a reply.
struct Asking {
    /// Its place in the answer.
    at: usize,
    found: Found,
    lookup: Lookup,
    step: Step,
}

impl Router {
    /// What each name is bound to, at one moment for each. Errors: whatever a shard failed with, `Overloaded`
    /// when others were faster too often.
    pub(crate) async fn resolve(
        &self,
        found: Vec<Found>,
    ) -> Result<Vec<Option<Entry>>, MorayError> {
        let mut entries: Vec<Option<Entry>> = found.iter().map(|_| None).collect();
        let mut asking = Vec::new();
        for (at, found) in found.into_iter().enumerate() {
            let next = Lookup::from_binding(found.binding);
            advance(at, found, next, Vec::new(), &mut entries, &mut asking);
        }
        // A lookup asks twice when it meets an operation that ends, and again when it meets the next one.
        for round in 0..ATTEMPTS_MAX {
            if asking.is_empty() {
                return Ok(entries);
            }
            pause_before(round.saturating_sub(3)).await;
            asking = self.ask(asking, &mut entries).await?;
        }
        match asking.first() {
            None => Ok(entries),
            Some(unlucky) => Err(self.overloaded(&unlucky.found.key)),
        }
    }

    /// Sends the step of each lookup. Returns those that wait for another one.
    async fn ask(
        &self,
        asking: Vec<Asking>,
        entries: &mut [Option<Entry>],
    ) -> Result<Vec<Asking>, MorayError> {
        let mut records: Vec<Vec<(ObjectId, Token)>> = vec![Vec::new(); self.shards.len()];
        for asking in &asking {
            if let Step::ReadRecord { object, label } = asking.step {
                records[self.index_of(&object.record_route())].push((object, label));
            }
        }
        let reads = self
            .shards
            .iter()
            .zip(&records)
            .map(async |(shard, wanted)| {
                if wanted.is_empty() {
                    Ok(Vec::new())
                } else {
                    shard.references(wanted).await
                }
            });
        let mut read: Vec<_> = try_join_all(reads)
            .await?
            .into_iter()
            .map(Vec::into_iter)
            .collect();
        let mut left = Vec::new();
        for asked in asking {
            let Asking {
                at,
                mut found,
                lookup,
                step,
            } = asked;
            let (reply, copies) = match step {
                Step::ReadRecord { object, .. } => {
                    let index = self.index_of(&object.record_route());
                    let Some(reference) = read[index].next() else {
                        return Err(self.fault(&found.key, "a reference was not read"));
                    };
                    (Reply::Standing(reference.standing), reference.copies)
                }
                Step::ReadName { .. } => {
                    let look = self.entry_shard(&found.key).look(&found.key).await?;
                    found = Found::new(&found.key, look);
                    (Reply::Name(found.binding), Vec::new())
                }
                step => return Err(self.fault(&found.key, format!("a reader sends {step:?}"))),
            };
            let next = lookup
                .on(reply)
                .map_err(|illegal| self.fault(&found.key, illegal))?;
            advance(at, found, next, copies, entries, &mut left);
        }
        Ok(left)
    }
}

fn advance(
    at: usize,
    found: Found,
    next: Next<Lookup, Seen>,
    copies: Vec<StorageId>,
    entries: &mut [Option<Entry>],
    asking: &mut Vec<Asking>,
) {
    let (lookup, step) = match next {
        Next::Answer(seen) => {
            entries[at] = found.seen(seen, copies);
            return;
        }
        Next::Send(lookup, step) => (lookup, step),
        Next::Again => Lookup::start(),
    };
    asking.push(Asking {
        at,
        found,
        lookup,
        step,
    });
}
