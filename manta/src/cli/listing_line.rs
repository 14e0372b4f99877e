//! One line of `mls` for one object or directory.

use std::time::SystemTime;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit, Zoned};
use manta_client::EntryKind;

use super::json_text::quote;

/// Dates this old show their year instead of the time of day.
const OLD_MONTHS: i32 = 6;

/// Renders lines; knows what time it is, and where.
#[derive(Debug)]
pub(super) struct LongFormat {
    now: Zoned,
    human_sizes: bool,
}

impl LongFormat {
    pub(super) fn new(now: SystemTime, zone: TimeZone, human_sizes: bool) -> LongFormat {
        let now = Timestamp::try_from(now)
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .to_zoned(zone);
        LongFormat { now, human_sizes }
    }

    /// `drwxr-xr-x 1 owner <size> <date> <name>`. The modes are decoration: roles decide about access.
    pub(super) fn line(
        &self,
        kind: EntryKind,
        owner: &str,
        size: u64,
        mtime: Timestamp,
        name: &str,
    ) -> String {
        let (letter, size) = match kind {
            EntryKind::Directory => ('d', 0),
            EntryKind::Object => ('-', size),
        };
        let size = if self.human_sizes {
            human_size(size)
        } else {
            size.to_string()
        };
        let date = self.date(mtime, "%b %d %H:%M", "%b %d  %Y");
        format!(
            "{letter}rwxr-xr-x 1 {owner} {size:>13} {date} {}",
            escape_name(name)
        )
    }

    /// The line of a job in `mjob list -l`, whose day has no leading zero.
    pub(super) fn job_line(&self, owner: &str, mtime: Timestamp, id: &str) -> String {
        let date = self.date(mtime, "%b %-d %H:%M", "%b %-d %Y");
        format!("drwxr-xr-x 1 {owner} 1 {date} {id}")
    }

    fn date(&self, at: Timestamp, recent: &str, old: &str) -> String {
        let at = at.to_zoned(self.now.time_zone().clone());
        let months = at
            .until((Unit::Month, &self.now))
            .map_or(0, |age| age.get_months());
        let format = if months >= OLD_MONTHS { old } else { recent };
        at.strftime(format).to_string()
    }
}

/// Sizes in units of 1024 with at most two digits behind the point: `1.5K`, `10M`, `0`.
pub(super) fn human_size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 6] = [
        (1 << 50, "P"),
        (1 << 40, "T"),
        (1 << 30, "G"),
        (1 << 20, "M"),
        (1 << 10, "K"),
        (1, ""),
    ];
    for (unit, suffix) in UNITS {
        if bytes >= unit {
            let number = format!("{:.2}", bytes as f64 / unit as f64);
            let number = number.trim_end_matches('0').trim_end_matches('.');
            return format!("{number}{suffix}");
        }
    }
    "0".to_owned()
}

/// A name on one line: control characters and backslashes as in JSON, quotes as they are.
pub(super) fn escape_name(name: &str) -> String {
    let quoted = quote(name);
    let inside = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inside.unwrap_or(&quoted).replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(human_sizes: bool) -> LongFormat {
        let now: Timestamp = "2026-11-21T06:42:00Z".parse().unwrap();
        LongFormat::new(now.into(), TimeZone::UTC, human_sizes)
    }

    fn line(kind: EntryKind, size: u64, mtime: &str, name: &str) -> String {
        format(false).line(kind, "alice", size, mtime.parse().unwrap(), name)
    }

    #[test]
    fn long_lines_are_the_ecosystems() {
        assert_eq!(
            line(EntryKind::Object, 1234, "2026-11-20T23:05:01.999Z", "a b"),
            "-rwxr-xr-x 1 alice          1234 Nov 20 23:05 a b"
        );
        assert_eq!(
            line(EntryKind::Directory, 7, "2026-11-01T00:00:00.000Z", "d"),
            "drwxr-xr-x 1 alice             0 Nov 01 00:00 d"
        );
        assert_eq!(
            line(
                EntryKind::Object,
                12_345_678_901_234,
                "2013-05-22T17:39:43.714Z",
                "old"
            ),
            "-rwxr-xr-x 1 alice 12345678901234 May 22  2013 old"
        );
    }

    #[test]
    fn six_months_are_counted_in_the_calendar() {
        let day = |mtime: &str| line(EntryKind::Object, 0, mtime, "x");
        assert!(day("2026-05-21T06:42:00Z").contains("May 21  2026"));
        assert!(day("2026-05-21T06:43:00Z").contains("May 21 06:43"));
        assert!(day("2027-01-01T00:00:00Z").contains("Jan 01 00:00"));
    }

    #[test]
    fn jobs_have_a_format_of_their_own() {
        let at = "2026-11-02T03:04:05Z".parse().unwrap();
        assert_eq!(
            format(false).job_line("alice", at, "id"),
            "drwxr-xr-x 1 alice 1 Nov 2 03:04 id"
        );
    }

    #[test]
    fn human_sizes_drop_zeros() {
        for (bytes, text) in [
            (0, "0"),
            (1, "1"),
            (1023, "1023"),
            (1024, "1K"),
            (1536, "1.5K"),
            (10 << 20, "10M"),
            (1_234_567, "1.18M"),
            (3 << 40, "3T"),
            (1 << 60, "1024P"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
        let human = format(true).line(
            EntryKind::Object,
            "a",
            2048,
            "2026-11-20T00:00:00Z".parse().unwrap(),
            "x",
        );
        assert_eq!(human, "-rwxr-xr-x 1 a            2K Nov 20 00:00 x");
    }

    #[test]
    fn names_stay_on_one_line() {
        assert_eq!(escape_name("a\nb\t\"c\" \\ ü"), "a\\nb\\t\"c\" \\\\ ü");
        assert_eq!(escape_name("\u{1}"), "\\u0001");
    }
}
