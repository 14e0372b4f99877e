//! Whether a concurrent history is linearizable: a search for an order that explains it (after Wing and Gong,
//! with the states already tried remembered).
//!
//! What would surprise: a call whose outcome nobody learnt may have taken effect at any time after it began,
//! even after everything else, or never.

use std::collections::HashSet;
use std::fmt::{Debug, Write as _};
use std::hash::Hash;

/// The specification: one thing at a time.
pub trait Sequential: Clone + Eq + Hash {
    type Operation: Clone + Debug;
    type Outcome: Clone + PartialEq + Debug;

    /// Everything that may happen; more than one when an operation may be refused for several reasons.
    fn apply(&self, operation: &Self::Operation) -> Vec<(Self, Self::Outcome)>;
}

/// One call as its caller saw it; `begun` and `ended` are ticks of one clock.
#[derive(Clone, Debug)]
pub struct Call<O, R> {
    pub operation: O,
    /// `None` when the answer was lost.
    pub outcome: Option<R>,
    pub begun: u64,
    pub ended: u64,
}

/// Whether some order of the calls that respects their times gives every caller what it saw. The error
/// describes the history. At most 128 calls.
pub fn check<S: Sequential>(
    world: &S,
    calls: &[Call<S::Operation, S::Outcome>],
) -> Result<(), String> {
    assert!(calls.len() <= 128, "one bit for each call");
    let mut calls = calls.to_vec();
    calls.sort_by_key(|call| call.begun);
    let mut must = 0_u128;
    for (n, call) in calls.iter_mut().enumerate() {
        match call.outcome {
            Some(_) => must |= 1 << n,
            None => call.ended = u64::MAX,
        }
    }
    let mut tried = HashSet::new();
    let mut open = vec![(0_u128, world.clone())];
    while let Some((taken, world)) = open.pop() {
        if taken & must == must {
            return Ok(());
        }
        if !tried.insert((taken, world.clone())) {
            continue;
        }
        let left = |n: &usize| taken & (1 << n) == 0;
        // Nothing may be taken that begins after another left one has ended.
        let first_end = (0..calls.len())
            .filter(left)
            .map(|n| calls[n].ended)
            .min()
            .unwrap_or(u64::MAX);
        for n in (0..calls.len()).filter(left) {
            if calls[n].begun > first_end {
                break;
            }
            for (next, outcome) in world.apply(&calls[n].operation) {
                if calls[n]
                    .outcome
                    .as_ref()
                    .is_none_or(|seen| *seen == outcome)
                {
                    open.push((taken | 1 << n, next));
                }
            }
        }
    }
    let mut text = String::new();
    for call in &calls {
        let _ = writeln!(
            text,
            "{:>3}..{:<3} {:?} -> {:?}",
            call.begun, call.ended, call.operation, call.outcome
        );
    }
    Err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that is set and read.
    impl Sequential for u8 {
        type Operation = Option<u8>;
        type Outcome = u8;

        fn apply(&self, operation: &Option<u8>) -> Vec<(u8, u8)> {
            match operation {
                Some(new) => vec![(*new, *self)],
                None => vec![(*self, *self)],
            }
        }
    }

    fn call(
        operation: Option<u8>,
        outcome: Option<u8>,
        begun: u64,
        ended: u64,
    ) -> Call<Option<u8>, u8> {
        Call {
            operation,
            outcome,
            begun,
            ended,
        }
    }

    #[test]
    fn what_overlaps_may_be_in_any_order_and_nothing_else() {
        let overlapping = [
            call(Some(1), Some(2), 0, 3),
            call(Some(2), Some(0), 1, 2),
            call(None, Some(1), 4, 5),
        ];
        assert!(check(&0, &overlapping).is_ok());
        let one_after_the_other = [
            call(Some(1), Some(2), 0, 1),
            call(Some(2), Some(0), 2, 3),
            call(None, Some(1), 4, 5),
        ];
        assert!(check(&0, &one_after_the_other).is_err());
        let lost = [call(Some(1), Some(0), 0, 1), call(None, Some(0), 2, 3)];
        assert!(check(&0, &lost).is_err());
    }

    #[test]
    fn a_call_without_an_answer_may_take_effect_late_or_never() {
        let unanswered = call(Some(1), None, 0, 1);
        let read = |value, at| call(None, Some(value), at, at + 1);
        for values in [[0, 0], [0, 1], [1, 1]] {
            let calls = [unanswered.clone(), read(values[0], 2), read(values[1], 4)];
            assert!(check(&0, &calls).is_ok(), "{values:?}");
        }
        let back_and_forth = [unanswered.clone(), read(1, 2), read(0, 4)];
        assert!(check(&0, &back_and_forth).is_err());
        let before_it_began = [read(1, 0), call(Some(1), None, 2, 3)];
        assert!(check(&0, &before_it_began).is_err());
    }
}
