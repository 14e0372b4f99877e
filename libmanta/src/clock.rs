//! Time as the store sees it. Services take a [`Clock`] instead of asking the system, so that expiry and
//! skew can be tested without waiting.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z: the resolution of every time Manta stores or shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

/// An hour: more than the clocks of machines that somebody looks after ever differ.
const AHEAD_MAX_MS: u64 = 3_600_000;

impl Timestamp {
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds, rounded down: the resolution of HTTP dates.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    #[must_use]
    pub fn from_system(time: SystemTime) -> Self {
        Self(
            time.duration_since(UNIX_EPOCH)
                .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    #[must_use]
    pub fn to_system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }

    /// Zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// The first moment after this one that is too far ahead: what is dated so or later was dated by a clock
    /// that was wrong, and is due at once, for waiting for its time could take years. Less is taken for skew,
    /// and waited for.
    #[must_use]
    pub const fn too_far_ahead(self) -> Self {
        Self(self.0.saturating_add(AHEAD_MAX_MS))
    }

    /// `2013-05-22T17:39:43.714Z`, as listings and jobs show times.
    #[must_use]
    pub fn to_iso(self) -> String {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(time) => format!("{time:.3}"),
            Err(_) => String::from("9999-12-31T23:59:59.999Z"),
        }
    }

    /// The inverse of [`to_iso`](Self::to_iso); also takes other ISO-8601 instants. `None` if it is not one.
    #[must_use]
    pub fn parse_iso(text: &str) -> Option<Self> {
        let time: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(time.as_millisecond()).ok().map(Self)
    }

    /// `Sat, 21 Nov 2026 04:10:01 GMT`, as headers show times.
    #[must_use]
    pub fn to_http(self) -> String {
        httpdate::fmt_http_date(self.to_system())
    }

    /// An HTTP date in any of the three forms of RFC 9110; `None` if it is not one.
    #[must_use]
    pub fn parse_http(text: &str) -> Option<Self> {
        httpdate::parse_http_date(text).ok().map(Self::from_system)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_iso())
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_system(SystemTime::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_times_have_three_decimals_and_round_trip() {
        let time = Timestamp::from_millis(1_369_244_383_714);
        assert_eq!(time.to_iso(), "2013-05-22T17:39:43.714Z");
        assert_eq!(Timestamp::parse_iso(&time.to_iso()), Some(time));
        assert_eq!(
            Timestamp::from_millis(1000).to_iso(),
            "1970-01-01T00:00:01.000Z"
        );
    }
}
