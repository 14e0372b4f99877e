//! How many connections the descriptors of this process suffice for. A connection may take three: its own,
//! and those of the copies it moves.

use rustix::process::{Resource, getrlimit};

use crate::config::Config;

const PER_CONNECTION: u64 = 3;
/// Databases, logs, listeners, zones.
const RESERVED: u64 = 128;

/// `Config::connections_max`, or what the descriptors allow where that is less; at least one.
pub(crate) fn connections_max(config: &Config) -> usize {
    // `None` from the system is no limit.
    let Some(descriptors) = config
        .descriptors_max
        .or_else(|| getrlimit(Resource::Nofile).current)
    else {
        return config.connections_max;
    };
    let affordable = (descriptors.saturating_sub(RESERVED) / PER_CONNECTION).max(1);
    let affordable = usize::try_from(affordable).unwrap_or(usize::MAX);
    if affordable < config.connections_max {
        tracing::info!(
            descriptors,
            wanted = config.connections_max,
            connections = affordable,
            "fewer connections than configured, for want of descriptors"
        );
    }
    affordable.min(config.connections_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_never_need_more_descriptors_than_there_are() {
        let connections = |wanted, descriptors_max| {
            connections_max(&Config {
                connections_max: wanted,
                descriptors_max,
                ..Config::default()
            })
        };
        assert_eq!(connections(8192, Some(1024)), 298);
        assert_eq!(connections(8192, Some(1 << 20)), 8192);
        assert_eq!(connections(8192, Some(0)), 1);
        let soft = getrlimit(Resource::Nofile).current;
        assert_eq!(connections(usize::MAX, None), connections(usize::MAX, soft));
    }
}
