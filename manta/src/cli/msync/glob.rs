//! The patterns of `-x`, which are simpler than those of a shell.
//!
//! Without a star a pattern excludes whatever begins with it; `.git` excludes `.gitignore` as well. A star
//! stands for any characters, slashes too, and then the end has to match.

#[derive(Clone, Debug)]
pub(super) struct Glob {
    given: String,
    prefix: String,
    /// What has to follow in this order, the last of it at the end; empty without a star.
    rest: Vec<String>,
}

impl Glob {
    pub(super) fn new(given: &str) -> Glob {
        let mut parts = cleaned(given).split('*').map(str::to_owned);
        Glob {
            given: given.to_owned(),
            prefix: parts.next().unwrap_or_default(),
            rest: parts.collect(),
        }
    }

    /// Whether the pattern covers a relative path.
    pub(super) fn matches(&self, path: &str) -> bool {
        let Some(mut left) = cleaned(path).strip_prefix(self.prefix.as_str()) else {
            return false;
        };
        let Some((last, middle)) = self.rest.split_last() else {
            return true;
        };
        for part in middle {
            match left.find(part.as_str()) {
                Some(at) => left = &left[at + part.len()..],
                None => return false,
            }
        }
        left.ends_with(last.as_str())
    }

    pub(super) fn as_given(&self) -> &str {
        &self.given
    }
}

fn cleaned(text: &str) -> &str {
    text.strip_prefix("./")
        .unwrap_or(text)
        .trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_ecosystems_do() {
        for (pattern, path, matches) in [
            ("*.txt", "foo/bar/baz.txt", true),
            ("*.txt", ".txt", true),
            ("*.txt", "foo/bar/baz.png", false),
            ("./.git", ".git/config", true),
            ("/.git", ".gitignore", true),
            ("./.git/", ".gitignore", false),
            ("foobar/*/baz.txt", "./foobar/1/2/baz.txt", true),
            ("foobar/*/baz.txt", "bat/1/2/baz.txt", false),
            ("foobar/*/baz.txt", "foobar/1/foo.txt", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*b*c", "abcd", false),
            ("*", "anything/at all", true),
        ] {
            assert_eq!(
                Glob::new(pattern).matches(path),
                matches,
                "{pattern} {path}"
            );
        }
    }
}
