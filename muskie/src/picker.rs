//! Which storage nodes take the copies of a new object.
//!
//! A set has as many different datacenters as there are, and never a node twice. Within that the choice is
//! random, weighted by free space, so that nodes fill evenly and a new one takes its share without taking
//! everything. Nothing is reserved: a node that cannot hold what it was chosen for says so when the copy
//! is opened, and the caller picks again without it. Source: metadata-auth-naming.md section 7.

use std::collections::BTreeMap;
use std::sync::Arc;

use libmanta::StorageId;
use libmanta::mako::Shark;
use rand::Rng;

/// What a set must satisfy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) copies: usize,
    /// Free bytes that every node must have.
    pub(crate) room_bytes: u64,
    /// Nodes that failed this request already.
    pub(crate) except: &'a [StorageId],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PickError {
    /// Enough nodes, but not with that much room.
    NotEnoughSpace,
    /// Too few nodes, or too few datacenters, whatever the size.
    NotEnoughNodes,
}

pub(crate) fn pick(
    sharks: &[Arc<dyn Shark>],
    wanted: Wanted<'_>,
    rng: &mut impl Rng,
) -> Result<Vec<Arc<dyn Shark>>, PickError> {
    let willing: Vec<(&Arc<dyn Shark>, u64)> = sharks
        .iter()
        .filter(|shark| !wanted.except.contains(shark.storage_id()))
        .map(|shark| (shark, shark.capacity()))
        .filter(|(_, capacity)| capacity.writable)
        .map(|(shark, capacity)| (shark, capacity.available_bytes))
        .collect();
    let datacenters = count_datacenters(sharks.iter());
    let spread = wanted.copies.min(2).min(datacenters);
    let enough = |nodes: &[(&Arc<dyn Shark>, u64)]| {
        nodes.len() >= wanted.copies
            && count_datacenters(nodes.iter().map(|(shark, _)| *shark)) >= spread
    };
    if !enough(&willing) {
        return Err(PickError::NotEnoughNodes);
    }
    let roomy: Vec<_> = willing
        .into_iter()
        .filter(|(_, available)| *available >= wanted.room_bytes)
        .collect();
    if !enough(&roomy) {
        return Err(PickError::NotEnoughSpace);
    }
    Ok(draw(roomy, wanted.copies, rng))
}

fn count_datacenters<'a>(sharks: impl Iterator<Item = &'a Arc<dyn Shark>>) -> usize {
    let mut names: Vec<&str> = sharks.map(|shark| shark.datacenter()).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// The nodes of a datacenter that could take a copy, each with its lot, best one last.
#[derive(Default)]
struct Datacenter<'a> {
    available_bytes: u64,
    nodes: Vec<(f64, &'a Arc<dyn Shark>)>,
}

/// Orders the nodes of each datacenter, and the datacenters, by weighted chance; then deals from the
/// datacenters in turn.
fn draw(
    nodes: Vec<(&Arc<dyn Shark>, u64)>,
    copies: usize,
    rng: &mut impl Rng,
) -> Vec<Arc<dyn Shark>> {
    let mut by_name: BTreeMap<&str, Datacenter<'_>> = BTreeMap::new();
    for (shark, available_bytes) in nodes {
        let datacenter = by_name.entry(shark.datacenter()).or_default();
        datacenter.available_bytes = datacenter.available_bytes.saturating_add(available_bytes);
        datacenter.nodes.push((lot(available_bytes, rng), shark));
    }
    let mut datacenters: Vec<(f64, Datacenter<'_>)> = by_name
        .into_values()
        .map(|mut datacenter| {
            datacenter.nodes.sort_by(|a, b| b.0.total_cmp(&a.0));
            (lot(datacenter.available_bytes, rng), datacenter)
        })
        .collect();
    datacenters.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut chosen = Vec::with_capacity(copies);
    while chosen.len() < copies {
        let before = chosen.len();
        for (_, datacenter) in &mut datacenters {
            if chosen.len() < copies
                && let Some((_, shark)) = datacenter.nodes.pop()
            {
                chosen.push(shark.clone());
            }
        }
        if chosen.len() == before {
            break;
        }
    }
    chosen
}

/// A random number that tends to be the smaller the larger the weight: taking the smallest of several is a
/// weighted choice, and so is taking the next.
fn lot(weight: u64, rng: &mut impl Rng) -> f64 {
    let chance: f64 = rng.random_range(f64::MIN_POSITIVE..1.0);
    // Precision of a float is plenty for a weight.
    #[expect(clippy::cast_precision_loss, reason = "a weight need not be exact")]
    let weight = weight.max(1) as f64;
    -chance.ln() / weight
}

#[cfg(test)]
mod tests;
