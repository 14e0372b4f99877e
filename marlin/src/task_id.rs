//! Ids of tasks, derived instead of drawn.
//!
//! An attempt that a crash cut off is made again under the same id, so what it stores goes to the names
//! that the first attempt used, and no garbage stays behind.

use libmanta::{JobId, TaskId};
use uuid::{Builder, Uuid};

use crate::record::Work;

/// The id of an attempt (1 and up) at a piece of work. Different for different arguments, because jobs
/// have random ids and the rest is mixed into them injectively.
pub(crate) fn task_id(job: JobId, work: Work, attempt: u8) -> TaskId {
    let (kind, number) = match work {
        Work::Item(id) => (0_u64, id),
        Work::Reducer { phase, index } => (1, ((phase as u64) << 8) | u64::from(index)),
    };
    let (high, low) = job.as_uuid().as_u64_pair();
    let high = high ^ mix(number.wrapping_mul(2).wrapping_add(kind));
    let low = low ^ mix(mix(number) ^ (u64::from(attempt) << 1) ^ kind);
    let bytes = Uuid::from_u64_pair(high, low).into_bytes();
    TaskId::from_uuid(Builder::from_random_bytes(bytes).into_uuid())
}

/// Which of `reducers` an item goes to when it is not addressed: spread evenly, and the same on replay.
pub(crate) fn pick_reducer(item: u64, reducers: usize) -> u8 {
    let reducers = u64::try_from(reducers).unwrap_or(u64::MAX).max(1);
    u8::try_from(mix(item) % reducers).unwrap_or(0)
}

/// The finalizer of splitmix64: a bijection in which every bit depends on every other.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_by_every_argument_and_repeat_for_the_same() {
        let job = JobId::random();
        let mut seen = HashSet::new();
        for attempt in 1..=3 {
            for n in 0..10_000 {
                assert!(seen.insert(task_id(job, Work::Item(n), attempt)));
            }
            for phase in 0..20 {
                for index in 0..128 {
                    let work = Work::Reducer { phase, index };
                    assert!(seen.insert(task_id(job, work, attempt)));
                }
            }
        }
        assert_eq!(
            task_id(job, Work::Item(7), 2),
            task_id(job, Work::Item(7), 2)
        );
        assert!(seen.insert(task_id(JobId::random(), Work::Item(0), 1)));
        assert_eq!(
            task_id(job, Work::Item(0), 1).as_uuid().get_version_num(),
            4
        );
    }

    #[test]
    fn items_are_spread_over_all_reducers() {
        let mut counts = [0_u32; 5];
        for item in 0..5000 {
            counts[usize::from(pick_reducer(item, 5))] += 1;
        }
        assert!(counts.iter().all(|n| (800..1200).contains(n)), "{counts:?}");
    }
}
