//! Semantic versions, and ranges of them as npm writes them, for `Accept-Version` and for the images of jobs:
//! comparators side by side mean *and*, `||` means *or*; `x`, `~`, `^` and `a - b` are shorthands.
//! Pre-release and build parts of a range are accepted and play no part, because no version offered here
//! has one.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

type Parts = [u64; 3];

/// Three numbers; the newer one is the greater. Written in one way only: `16.1.0`, not `v16.01.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(Parts);

impl Version {
    #[must_use]
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self([major, minor, patch])
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let version = Self(Partial::exact(text)?);
        (version.to_string() == text).then_some(version)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refuse = || {
            D::Error::custom(format!(
                "{text:?} is no version: three numbers, as in 1.0.0"
            ))
        };
        Self::parse(&text).ok_or_else(refuse)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// A range that parsed. Any one of the alternatives may hold, each as a half-open interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRange(Vec<(Parts, Parts)>);

const MIN: Parts = [0; 3];
const MAX: Parts = [u64::MAX; 3];

impl VersionRange {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.split("||")
            .map(alternative)
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }

    /// False also when `version` is not one.
    #[must_use]
    pub fn admits(&self, version: &str) -> bool {
        Partial::exact(version).is_some_and(|parts| self.contains(Version(parts)))
    }

    #[must_use]
    pub fn contains(&self, version: Version) -> bool {
        self.0
            .iter()
            .any(|(low, high)| *low <= version.0 && version.0 < *high)
    }
}

/// A version whose last parts may be missing or `x`.
struct Partial {
    parts: Parts,
    given: usize,
}

impl Partial {
    fn exact(text: &str) -> Option<Parts> {
        Self::parse(text)
            .filter(|version| version.given == 3)
            .map(|version| version.parts)
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(['v', '=']).unwrap_or(text);
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let mut parts = MIN;
        let mut given = 0;
        let mut open = false;
        if core.is_empty() {
            return text.is_empty().then_some(Self { parts, given });
        }
        for (at, part) in core.split('.').enumerate() {
            if at > 2 {
                return None;
            }
            if matches!(part, "x" | "X" | "*") {
                open = true;
                continue;
            }
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let number = part.parse().ok().filter(|n| *n < u64::MAX)?;
            if !open {
                parts[at] = number;
                given = at + 1;
            }
        }
        Some(Self { parts, given })
    }

    /// The first version after all those this stands for.
    fn end(&self) -> Parts {
        self.bump(self.given)
    }

    /// Counts up the last of the first `kept` parts.
    fn bump(&self, kept: usize) -> Parts {
        let Some(last) = kept.checked_sub(1) else {
            return MAX;
        };
        let mut end = MIN;
        end[..kept].copy_from_slice(&self.parts[..kept]);
        end[last] += 1;
        end
    }
}

fn alternative(text: &str) -> Option<(Parts, Parts)> {
    if let Some((low, high)) = text.split_once(" - ") {
        return Some((
            Partial::parse(low.trim())?.parts,
            Partial::parse(high.trim())?.end(),
        ));
    }
    let mut interval = (MIN, MAX);
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let at = word.find(|c| !"<>=~^".contains(c)).unwrap_or(word.len());
        let (operator, version) = word.split_at(at);
        // A blank may stand between an operator and its version.
        let version = match (operator, version) {
            ("", version) => version,
            (_, "") => words.next()?,
            (_, version) => version,
        };
        let version = Partial::parse(version)?;
        let (low, high) = match operator {
            "" | "=" | "==" => (version.parts, version.end()),
            "~" | "~>" => (version.parts, version.bump(version.given.min(2))),
            "^" => {
                let zeros = version.parts.iter().take_while(|part| **part == 0).count();
                (version.parts, version.bump((zeros + 1).min(version.given)))
            }
            ">=" => (version.parts, MAX),
            ">" if version.given == 0 => (MAX, MAX),
            ">" => (version.end(), MAX),
            "<" => (MIN, version.parts),
            "<=" => (MIN, version.end()),
            _ => return None,
        };
        interval = (interval.0.max(low), interval.1.min(high));
    }
    Some(interval)
}

#[cfg(test)]
mod tests {
    use super::{Version, VersionRange};

    fn admits(range: &str, version: &str) -> bool {
        VersionRange::parse(range).unwrap().admits(version)
    }

    #[test]
    fn ranges_admit_what_npm_says() {
        for (range, yes, no) in [
            ("~1.0", "1.0.9", "1.1.0"),
            ("~1", "1.9.9", "2.0.0"),
            ("~1.2.3", "1.2.4", "1.2.2"),
            ("^0.2.3", "0.2.9", "0.3.0"),
            ("^1.2", "1.9.0", "2.0.0"),
            ("1.x", "1.7.0", "2.0.0"),
            ("13.3.x", "13.3.5", "13.4.0"),
            (">13.1.0 <16", "15.0.0", "16.0.0"),
            (">= 13.3.5", "13.3.5", "13.3.4"),
            ("<1.0.0 || 16.1.0", "16.1.0", "1.0.0"),
            ("13.1.0 - 13.3", "13.3.9", "13.4.0"),
            ("16.1.0", "16.1.0", "16.1.1"),
            (">1", "2.0.0", "1.9.9"),
            ("<=1", "1.9.9", "2.0.0"),
        ] {
            assert!(admits(range, yes), "{range} should admit {yes}");
            assert!(!admits(range, no), "{range} should not admit {no}");
        }
        for any in ["", "*", "x", ">0.0.0", "~*"] {
            assert!(admits(any, "1.0.0"), "{any}");
        }
    }

    #[test]
    fn versions_are_written_in_one_way_and_the_newer_is_the_greater() {
        let of = |text| Version::parse(text).unwrap();
        assert!(of("2.0.10") > of("2.0.9") && of("10.0.0") > of("9.9.9"));
        assert_eq!(of("16.1.0").to_string(), "16.1.0");
        for text in [
            "",
            "1",
            "1.2",
            "1.2.x",
            "v1.2.3",
            "1.02.3",
            "1.2.3-rc1",
            "1.2.3.4",
            " 1.2.3",
        ] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn nonsense_is_not_a_range() {
        for text in [
            "foo",
            "1.2.3.4",
            "1..2",
            ">",
            "!1",
            "1.a",
            "=>1",
            "99999999999999999999",
        ] {
            assert_eq!(VersionRange::parse(text), None, "{text}");
        }
    }
}
