//! Lists of principals, actions and resources.

use std::fmt;

use crate::pattern::{self, PatternError};

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum List {
    /// `*`, or one of the words for it.
    Everything,
    /// Never empty: a list without words matches nothing, and no text says that.
    Words(Vec<Word>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Exactly this, case and all.
    Exact(String),
    Fuzzy(Fuzzy),
    Regex(Regex),
}

impl List {
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Words(words) => words.iter().any(|word| word.matches(text)),
        }
    }
}

impl Word {
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(word) => word == text,
            Self::Fuzzy(fuzzy) => fuzzy.matches(text),
            Self::Regex(regex) => regex.matches(text),
        }
    }
}

/// A word with stars: each stands for any run of characters, also of none; `\*` is a star. Matches as a whole.
#[derive(Clone)]
pub struct Fuzzy {
    text: String,
    /// What stands between the wildcards; one more than there are wildcards.
    parts: Vec<String>,
}

impl Fuzzy {
    /// `text` is a word, has a star and is not just a star.
    pub(crate) fn of_word(text: &str) -> Self {
        let mut parts = vec![String::new()];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let escaped = c == '\\' && chars.next_if_eq(&'*').is_some();
            match parts.last_mut() {
                Some(part) if escaped => part.push('*'),
                Some(part) if c != '*' => part.push(c),
                _ => parts.push(String::new()),
            }
        }
        Self {
            text: text.to_owned(),
            parts,
        }
    }

    /// As the rule has it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Leftmost first: what is left over can only help the parts that follow.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, others)) = self.parts.split_first() else {
            return false;
        };
        let Some((last, middle)) = others.split_last() else {
            return first == text;
        };
        let inner = text.strip_prefix(first.as_str());
        let Some(mut rest) = inner.and_then(|rest| rest.strip_suffix(last.as_str())) else {
            return false;
        };
        for part in middle {
            match rest.find(part.as_str()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

impl PartialEq for Fuzzy {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Fuzzy {}

impl fmt::Debug for Fuzzy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fuzzy({:?})", self.text)
    }
}

/// A regular expression. Matches anywhere unless it is anchored.
#[derive(Clone)]
pub struct Regex {
    body: String,
    flags: String,
    compiled: regex::Regex,
}

impl Regex {
    /// `literal` is `/body/flags`. Errors: it is not, or the expression is not allowed.
    pub(crate) fn parse(literal: &str) -> Result<Self, PatternError> {
        let form = || PatternError::Form(literal.to_owned());
        let (body, flags) = pattern::split_literal(literal).ok_or_else(form)?;
        Ok(Self {
            body: body.to_owned(),
            flags: flags.to_owned(),
            compiled: pattern::compile(body, flags)?,
        })
    }

    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.body == other.body && self.flags == other.flags
    }
}

impl Eq for Regex {}

impl fmt::Display for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}", self.body, self.flags)
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_star_is_a_wildcard_and_the_whole_must_match() {
        for (fuzzy, text, matches) in [
            ("*.js", "a.js", true),
            ("*.js", "a.json", false),
            ("/u/stor/a*", "/x/u/stor/abc", false),
            ("/u/*/a/*/b", "/u/1/2/a/x/b", true),
            ("/u/*/a/*/b", "/u/a/b", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*a", "aba", true),
            ("a**a", "aa", true),
            (r"a\*b*", "a*bc", true),
            (r"a\*b*", "axbc", false),
            (r"a\*", "a*", true),
            (r"a\*", r"a\", false),
            (r"\a*", r"\ab", true),
            ("\u{e4}*\u{f6}", "\u{e4}\u{fc}\u{f6}", true),
        ] {
            let parsed = Fuzzy::of_word(fuzzy);
            assert_eq!(parsed.matches(text), matches, "{fuzzy} {text}");
        }
    }

    proptest! {
        #[test]
        fn fuzzy_agrees_with_a_regular_expression(
            fuzzy in r"[ab*\\]{0,8}\*[ab*\\]{0,8}",
            text in r"[ab*\\]{0,12}",
        ) {
            let expression = regex::escape(&fuzzy.replace(r"\*", "\0"))
                .replace(r"\*", ".*")
                .replace('\0', r"\*");
            let expression = regex::Regex::new(&format!("^{expression}$")).unwrap();
            prop_assert_eq!(Fuzzy::of_word(&fuzzy).matches(&text), expression.is_match(&text));
        }
    }
}
