//! When the newest copies became complete, by a clock that nobody sets.
//!
//! The sweep deletes copies that no metadata names once they are old. Their age comes from the file
//! system, whose times follow the wall clock, and that jumps: a machine that boots in 1970 and then finds
//! a time server would see a copy written a second ago as decades old while its PUT is still on the way
//! to the metadata. For the minutes a PUT can take, the age is therefore kept here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libmanta::ObjectId;

/// Longer than any request waits between its copies and its metadata.
const KEPT: Duration = Duration::from_secs(300);
/// About 100 bytes each. At most this many PUTs are between their copies and their metadata.
const KEPT_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Completed>);

#[derive(Debug, Default)]
struct Completed {
    order: VecDeque<(Instant, ObjectId)>,
    when: HashMap<ObjectId, Instant>,
}

impl Recent {
    pub(crate) fn add(&self, object_id: ObjectId) {
        let mut completed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        completed.expire(now);
        completed.order.push_back((now, object_id));
        completed.when.insert(object_id, now);
    }

    /// Time since the copy became complete, if that was a short while ago.
    pub(crate) fn age(&self, object_id: ObjectId) -> Option<Duration> {
        let completed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        completed.when.get(&object_id).map(Instant::elapsed)
    }
}

impl Completed {
    fn expire(&mut self, now: Instant) {
        while let Some(&(when, object_id)) = self.order.front()
            && (now.duration_since(when) > KEPT || self.order.len() >= KEPT_MAX)
        {
            self.order.pop_front();
            if self.when.get(&object_id) == Some(&when) {
                self.when.remove(&object_id);
            }
        }
    }
}
