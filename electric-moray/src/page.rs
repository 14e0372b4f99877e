//! From what a shard lists to what a client sees: names that are being entered take their places, those that
//! were renamed away go. All of it as it was at the moment at which the shard listed it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use libmanta::link::{Binding, Bound, Snapshot, Value};
use libmanta::moray::shard::links::ReadReference;
use libmanta::moray::shard::{Entering, Listed};
use libmanta::moray::{List, MorayError, Only, Order};
use libmanta::namespace::Token;
use libmanta::{Entry, EntryKind, ObjectId};

use crate::router::Router;

/// What has become of a page.
pub(crate) enum Paged {
    Page {
        entries: Vec<Entry>,
        /// So many names of the directory are counted, but bound to nothing.
        unbound: u64,
    },
    /// So many entries of a full page are seen by nobody; a page longer by as many may be full.
    Short(usize),
    /// An operation that was under way has ended since the page was read: read it again.
    Again,
}

type References = BTreeMap<(ObjectId, Token), ReadReference>;

impl Router {
    /// `read` is the limit with which `listed` was read, at least that of `list`. `snapshot` goes from one
    /// attempt to the next.
    pub(crate) async fn page(
        &self,
        list: &List,
        read: usize,
        listed: Listed,
        snapshot: &mut Snapshot,
    ) -> Result<Paged, MorayError> {
        let Listed {
            mut entries,
            linked,
            entering,
            moving,
            ..
        } = listed;
        let unresolved: Vec<Binding> = moving
            .into_iter()
            .map(Binding::Bound)
            .chain(entering.iter().map(|entering| entering.binding))
            .collect();
        if linked.is_empty() && unresolved.is_empty() {
            return Ok(Paged::Page {
                entries,
                unbound: 0,
            });
        }
        let unknown = snapshot.unknown(unresolved.iter().copied());
        let shown = linked.iter().map(|(_, bound)| *bound);
        let beside = entering
            .iter()
            .flat_map(|entering| bound_by(entering.binding));
        let references = self
            .read_references(
                (unknown.iter().copied())
                    .chain(shown.filter_map(reference))
                    .chain(beside),
            )
            .await?;
        let mut stands = true;
        for &binding in &unresolved {
            for of in Snapshot::default().unknown([binding]) {
                if unknown.binary_search(&of).is_ok() {
                    let standing = references.get(&of).and_then(|read| read.standing);
                    stands &= snapshot.learn(binding, standing);
                }
            }
        }
        if !stands {
            return Ok(Paged::Again);
        }
        let is_unbound = |binding: &&Binding| snapshot.value(**binding) == Value::Missing;
        let unbound = unresolved.iter().filter(is_unbound).count() as u64;

        let is_full = entries.len() >= read;
        let last = entries.last().cloned();
        let mut hidden = 0;
        for &(place, bound) in linked.iter().rev() {
            if snapshot.value(Binding::Bound(bound)) == Value::Missing {
                entries.remove(place);
                hidden += 1;
            } else if !complete(&mut entries[place], reference(bound), &references) {
                return Ok(Paged::Again);
            }
        }
        // Behind the last one of a full page there may be others before these.
        let belongs = |entry: &Entry| {
            admits(list, entry)
                && (!is_full
                    || last
                        .as_ref()
                        .is_none_or(|last| compare(&list.order, entry, last) != Ordering::Greater))
        };
        for Entering {
            binding,
            entry,
            before,
        } in entering
        {
            let Binding::Entering {
                object,
                token,
                before: bound,
            } = binding
            else {
                continue;
            };
            let (entry, of) = match snapshot.value(binding) {
                Value::Missing => continue,
                Value::Before => (before, bound.and_then(reference)),
                Value::Entered => (Some(entry), Some((object, token))),
            };
            if let Some(mut entry) = entry.filter(|entry| belongs(entry)) {
                if !complete(&mut entry, of, &references) {
                    return Ok(Paged::Again);
                }
                entries.push(entry);
            }
        }
        entries.sort_by(|a, b| compare(&list.order, a, b));
        if is_full && entries.len() < list.limit {
            return Ok(Paged::Short(hidden));
        }
        entries.truncate(list.limit);
        Ok(Paged::Page { entries, unbound })
    }

    /// All that lie in one shard with one call.
    async fn read_references(
        &self,
        wanted: impl Iterator<Item = (ObjectId, Token)>,
    ) -> Result<References, MorayError> {
        let mut of_shard: Vec<Vec<(ObjectId, Token)>> = vec![Vec::new(); self.shards.len()];
        for (object, label) in wanted {
            of_shard[self.index_of(&object.record_route())].push((object, label));
        }
        let reads = self
            .shards
            .iter()
            .zip(&of_shard)
            .filter(|(_, wanted)| !wanted.is_empty())
            .map(async |(shard, wanted)| {
                let read = shard.references(wanted).await?;
                Ok(wanted.iter().copied().zip(read))
            });
        Ok(try_join_all(reads).await?.into_iter().flatten().collect())
    }
}

/// Where the copies are found; in the entry itself, if nowhere.
fn reference(bound: Bound) -> Option<(ObjectId, Token)> {
    match bound {
        Bound::Sole { .. } => None,
        Bound::Linked { object, label, .. } => Some((object, label)),
    }
}

/// What a name that is being entered may turn out to be bound to.
fn bound_by(binding: Binding) -> Vec<(ObjectId, Token)> {
    match binding {
        Binding::Entering {
            object,
            token,
            before,
        } => [Some((object, token)), before.and_then(reference)]
            .into_iter()
            .flatten()
            .collect(),
        _ => Vec::new(),
    }
}

/// Gives the entry its copies. False if the record is gone, and so the name since it was read.
fn complete(entry: &mut Entry, of: Option<(ObjectId, Token)>, references: &References) -> bool {
    let (Some(of), EntryKind::Object(object)) = (of, &mut entry.kind) else {
        return true;
    };
    object.copies = references
        .get(&of)
        .map(|read| read.copies.clone())
        .unwrap_or_default();
    // An object without bytes has no copies.
    !object.copies.is_empty() || object.size_bytes == 0
}

/// Whether the entry is one that was asked for.
fn admits(list: &List, entry: &Entry) -> bool {
    let is_kind = match list.only {
        None => true,
        Some(Only::Directories) => entry.is_directory(),
        Some(Only::Objects) => !entry.is_directory(),
    };
    is_kind
        && match &list.order {
            Order::Name { from: None, .. } | Order::Mtime { from: None, .. } => true,
            Order::Name {
                from: Some(from),
                reverse,
            } => match entry.key.name().cmp(from) {
                Ordering::Less => *reverse,
                Ordering::Equal => true,
                Ordering::Greater => !*reverse,
            },
            Order::Mtime {
                from: Some(from),
                reverse,
            } => match entry.mtime.cmp(from) {
                Ordering::Less => !*reverse,
                Ordering::Equal => true,
                Ordering::Greater => *reverse,
            },
        }
}

/// The order in which a shard lists.
fn compare(order: &Order, a: &Entry, b: &Entry) -> Ordering {
    let by_name = a.key.name().cmp(b.key.name());
    match order {
        Order::Name { reverse, .. } => {
            if *reverse {
                by_name.reverse()
            } else {
                by_name
            }
        }
        Order::Mtime { reverse, .. } => {
            let oldest_first = a.mtime.cmp(&b.mtime).then(by_name);
            if *reverse {
                oldest_first
            } else {
                oldest_first.reverse()
            }
        }
    }
}
