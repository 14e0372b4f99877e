//! One at a time for each object, on threads that may block.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libmanta::ObjectId;

/// How often somebody who waits looks whether it still matters.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    taken: Mutex<HashSet<ObjectId>>,
    given_back: Condvar,
}

/// Given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Turns,
    object_id: ObjectId,
}

impl Turns {
    /// Waits for a turn; `None` when `give_up` says that nobody needs it any more.
    pub(crate) fn take(&self, object_id: ObjectId, give_up: &impl Fn() -> bool) -> Option<Turn> {
        let mut taken = self.lock();
        while !taken.insert(object_id) {
            if give_up() {
                return None;
            }
            let waited = self.0.given_back.wait_timeout(taken, LOOK);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(Turn {
            turns: self.clone(),
            object_id,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<ObjectId>> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().remove(&self.object_id);
        self.turns.0.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_one_at_a_time_and_waiting_can_be_given_up() {
        let turns = Turns::default();
        let (one, other) = (ObjectId::random(), ObjectId::random());
        let turn = turns.take(one, &|| false).unwrap();
        assert!(turns.take(other, &|| false).is_some());
        assert!(turns.take(one, &|| true).is_none());
        let waiting = turns.clone();
        let waiter = std::thread::spawn(move || waiting.take(one, &|| false).is_some());
        drop(turn);
        assert!(waiter.join().unwrap());
        assert!(turns.lock().is_empty());
    }
}
