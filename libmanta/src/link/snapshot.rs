//! What the names of a page are bound to, all at the moment at which the page was read. Readers write nothing.
//!
//! A page is read in one transaction, but the references of its unresolved names lie elsewhere and are read
//! later. One that has not committed by then had not committed when the page was read, so the page stands.
//! One that has may have done so in between: then its fate is known, and the page is read again.

use std::collections::BTreeMap;

use super::binding::{Binding, Bound};
use super::record::Standing;
use crate::ObjectId;
use crate::namespace::Token;

/// The reference that decides what a name is bound to, and whether it enters the name.
pub(super) type Deciding = (ObjectId, Token, bool);

/// What is known of the references so far.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Snapshot {
    /// Whether the operation has committed, for those that enter a name and those that take from one: a label
    /// that has entered a name may be moved away from there next. Only fates that cannot change any more.
    pub(super) known: BTreeMap<Deciding, bool>,
}

/// What a name of the page is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Value {
    Missing,
    /// The entry as it was before anybody entered it.
    Before,
    /// What has entered it.
    Entered,
}

impl Snapshot {
    /// Which references must be read for a page with these bindings. Forgets what was known of others.
    pub fn unknown(
        &mut self,
        bindings: impl IntoIterator<Item = Binding>,
    ) -> Vec<(ObjectId, Token)> {
        let mut deciding: Vec<_> = bindings.into_iter().filter_map(deciding).collect();
        deciding.sort_unstable();
        deciding.dedup();
        self.known
            .retain(|reference, _| deciding.binary_search(reference).is_ok());
        deciding.retain(|reference| !self.known.contains_key(reference));
        deciding
            .into_iter()
            .map(|(object, label, _)| (object, label))
            .collect()
    }

    /// What was read for `binding`, after the page. False: the page does not stand, read it again.
    pub fn learn(&mut self, binding: Binding, standing: Option<Standing>) -> bool {
        let Some((object, label, entering)) = deciding(binding) else {
            return true;
        };
        let committed = match (entering, standing) {
            (true, Some(Standing::Pending { .. })) | (false, Some(Standing::Live)) => return true,
            (true, Some(Standing::Live)) | (false, _) => true,
            // Aborted, or settled and gone; the next page tells, since a settled name does not enter.
            (true, Some(Standing::Moved) | None) => false,
        };
        self.known.insert((object, label, entering), committed);
        false
    }

    /// What a name of a page that stands is bound to.
    #[must_use]
    pub fn value(&self, binding: Binding) -> Value {
        let committed = deciding(binding)
            .and_then(|reference| self.known.get(&reference))
            .is_some_and(|committed| *committed);
        match binding {
            Binding::Missing => Value::Missing,
            Binding::Bound(_) if committed => Value::Missing,
            Binding::Directory | Binding::Bound(_) => Value::Before,
            Binding::Entering { .. } if committed => Value::Entered,
            Binding::Entering { before: None, .. } => Value::Missing,
            Binding::Entering { .. } => Value::Before,
        }
    }
}

/// The reference that decides what the name is bound to, and whether its name is being entered and not moved
/// away from. What was there before somebody entered is never moving.
fn deciding(binding: Binding) -> Option<Deciding> {
    match binding {
        Binding::Entering { object, token, .. } => Some((object, token, true)),
        Binding::Bound(Bound::Linked {
            object,
            label,
            moving: true,
            ..
        }) => Some((object, label, false)),
        Binding::Missing | Binding::Directory | Binding::Bound(_) => None,
    }
}
