//! Requests of a task to the front door that are made to fail.
//!
//! Surprise: the request that makes it go wrong is one that anybody in a zone may send, and it concerns the
//! requests of that task alone. Unless the operator allows it, there is no such request. Source: marlin.md
//! section 6.13 (`perturb`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How probable it is that the next request of a task to the front door fails.
#[derive(Clone, Debug, Default)]
pub(crate) struct Perturbation {
    /// The bits of a number from 0 to 1; `None` where it cannot be changed.
    probability: Option<Arc<AtomicU64>>,
}

impl Perturbation {
    /// None yet, and none ever unless `allowed`.
    pub(crate) fn new(allowed: bool) -> Self {
        Self {
            probability: allowed.then(Arc::default),
        }
    }

    pub(crate) fn is_allowed(&self) -> bool {
        self.probability.is_some()
    }

    /// For the rest of the task. Nothing happens where it is not allowed.
    pub(crate) fn set(&self, probability: f64) {
        if let Some(own) = &self.probability {
            own.store(probability.to_bits(), Ordering::Relaxed);
        }
    }

    /// Whether the request about to be sent shall fail.
    pub(crate) fn strikes(&self) -> bool {
        self.probability.as_ref().is_some_and(|own| {
            let probability = f64::from_bits(own.load(Ordering::Relaxed));
            probability > 0.0 && rand::random_bool(probability)
        })
    }
}

/// The value of `p` in a query, a number from 0 to 1.
pub(crate) fn probability(query: Option<&str>) -> Option<f64> {
    let value = query?.split('&').find_map(|pair| pair.strip_prefix("p="))?;
    let value: f64 = value.parse().ok()?;
    (0.0..=1.0).contains(&value).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_numbers_from_0_to_1() {
        assert_eq!(probability(Some("p=0.5")), Some(0.5));
        assert_eq!(probability(Some("x=2&p=1")), Some(1.0));
        assert_eq!(probability(Some("p=0")), Some(0.0));
        for bad in ["", "p=", "p=-0.1", "p=1.1", "p=NaN", "p=inf", "q=1", "p=x"] {
            assert_eq!(probability(Some(bad)), None, "{bad}");
        }
        assert_eq!(probability(None), None);
    }

    #[test]
    fn nothing_fails_unless_it_is_allowed_and_asked_for() {
        let never = Perturbation::new(false);
        never.set(1.0);
        assert!(!never.is_allowed() && !never.strikes());
        let some = Perturbation::new(true);
        assert!(!some.strikes());
        let shared = some.clone();
        some.set(1.0);
        assert!(some.strikes() && shared.strikes());
        some.set(0.0);
        assert!(!shared.strikes());
    }
}
