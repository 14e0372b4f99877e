//! From what a shard lists to what a client sees: names that are being entered take their places, those that
//! were renamed away go.

use std::cmp::Ordering;

use libmanta::Entry;
use libmanta::link::Binding;
use libmanta::moray::shard::{Entering, Listed};
use libmanta::moray::{List, MorayError, Only, Order};

use crate::resolve::Found;
use crate::router::Router;

/// What has become of a page.
pub(crate) enum Paged {
    Page(Vec<Entry>),
    /// So many entries of a full page are seen by nobody; a page longer by as many may be full.
    Short(usize),
}

impl Router {
    /// `read` is the limit with which `listed` was read, at least that of `list`.
    pub(crate) async fn page(
        &self,
        list: &List,
        read: usize,
        listed: Listed,
    ) -> Result<Paged, MorayError> {
        let Listed {
            mut entries,
            linked,
            entering,
            ..
        } = listed;
        if linked.is_empty() && entering.is_empty() {
            return Ok(Paged::Page(entries));
        }
        let is_full = entries.len() >= read;
        let last = entries.last().cloned();
        let places: Vec<usize> = linked.iter().map(|(place, _)| *place).collect();
        let mut found: Vec<Found> = linked
            .into_iter()
            .map(|(place, bound)| Found {
                key: entries[place].key.clone(),
                binding: Binding::Bound(bound),
                entry: Some(entries[place].clone()),
                before: None,
            })
            .collect();
        found.extend(entering.into_iter().map(|entering| {
            let Entering {
                binding,
                entry,
                before,
            } = entering;
            Found {
                key: entry.key.clone(),
                binding,
                entry: Some(entry),
                before,
            }
        }));
        let mut resolved = self.resolve(found).await?.into_iter();
        let places: Vec<_> = places.into_iter().zip(resolved.by_ref()).collect();
        let mut hidden = 0;
        for (place, entry) in places.into_iter().rev() {
            match entry {
                Some(entry) => entries[place] = entry,
                None => {
                    entries.remove(place);
                    hidden += 1;
                }
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
        entries.extend(resolved.flatten().filter(belongs));
        entries.sort_by(|a, b| compare(&list.order, a, b));
        if is_full && entries.len() < list.limit {
            return Ok(Paged::Short(hidden));
        }
        entries.truncate(list.limit);
        Ok(Paged::Page(entries))
    }
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
