//! Ranges of semantic versions as npm writes them, for `Accept-Version` and for the images of jobs:
//! comparators side by side mean *and*, `||` means *or*; `x`, `~`, `^` and `a - b` are shorthands.
//! Pre-release and build parts are accepted and play no part, because no version offered here has one.

type Version = [u64; 3];

/// A range that parsed. Any one of the alternatives may hold, each as a half-open interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionRange(Vec<(Version, Version)>);

const MIN: Version = [0; 3];
const MAX: Version = [u64::MAX; 3];

impl VersionRange {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.split("||")
            .map(alternative)
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }

    /// False also when `version` is not one.
    pub(crate) fn admits(&self, version: &str) -> bool {
        let Some(Partial { parts, given: 3 }) = Partial::parse(version) else {
            return false;
        };
        self.0
            .iter()
            .any(|(low, high)| *low <= parts && parts < *high)
    }
}

/// A version whose last parts may be missing or `x`.
struct Partial {
    parts: Version,
    given: usize,
}

impl Partial {
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
    fn end(&self) -> Version {
        self.bump(self.given)
    }

    /// Counts up the last of the first `kept` parts.
    fn bump(&self, kept: usize) -> Version {
        let Some(last) = kept.checked_sub(1) else {
            return MAX;
        };
        let mut end = MIN;
        end[..kept].copy_from_slice(&self.parts[..kept]);
        end[last] += 1;
        end
    }
}

fn alternative(text: &str) -> Option<(Version, Version)> {
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
    use super::VersionRange;

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
