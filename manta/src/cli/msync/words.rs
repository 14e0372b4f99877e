//! Durations and sizes as the log of `msync` has them.

use std::time::Duration;

/// `17ms`, `3s 20ms`, `1h, 0m, 5s 0ms`.
pub(super) fn duration(taken: Duration) -> String {
    let millis = format!("{}ms", taken.subsec_millis());
    let seconds = taken.as_secs();
    if seconds == 0 {
        return millis;
    }
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let mut text = String::new();
    for (whole, shown, unit) in [
        (days, days, "d, "),
        (hours, hours % 24, "h, "),
        (minutes, minutes % 60, "m, "),
    ] {
        if whole > 0 {
            text.push_str(&format!("{shown}{unit}"));
        }
    }
    format!("{text}{}s {millis}", seconds % 60)
}

/// `0 B`, `1.34 kB`: powers of a thousand, at most two digits behind the point.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut number = bytes as f64;
    let mut unit = 0;
    while number >= 1000.0 && unit + 1 < UNITS.len() {
        number /= 1000.0;
        unit += 1;
    }
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_have_the_ecosystems_form() {
        for (millis, text) in [
            (17, "17ms"),
            (3_020, "3s 20ms"),
            (61_000, "1m, 1s 0ms"),
            (3_605_007, "1h, 0m, 5s 7ms"),
            (90_061_000, "1d, 1h, 1m, 1s 0ms"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1337, "1.34 kB"),
            (10_000_000, "10 MB"),
            (1_500_000_000, "1.5 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
