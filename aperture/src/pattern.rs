//! Regular expressions with bounds: of what they may cost to keep, and (by their engine) to match.

use thiserror::Error;

/// Bytes that one compiled expression may take, and the cache of its matcher as well.
const COMPILED_BYTES_MAX: usize = 256 << 10;

/// Groups inside each other; keeps the work of compiling small.
const NESTING_MAX: u32 = 32;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    #[error("\"{0}\" is not a regular expression: /…/ or /…/i is")]
    Form(String),
    #[error("\"{0}\" is not a flag of a regular expression: g, i, m, s and u are")]
    Flag(char),
    /// Also what only a backtracking engine could do: back references, looking around.
    #[error("\"{0}\" is not a regular expression that can be used here")]
    Syntax(String),
    #[error("the regular expression is too large")]
    TooLarge,
}

/// Compiles the expression between the slashes. `g` and `u` are accepted and mean nothing here.
pub(crate) fn compile(body: &str, flags: &str) -> Result<regex::Regex, PatternError> {
    let mut builder = regex::RegexBuilder::new(body);
    for flag in flags.chars() {
        match flag {
            'i' => drop(builder.case_insensitive(true)),
            'm' => drop(builder.multi_line(true)),
            's' => drop(builder.dot_matches_new_line(true)),
            'g' | 'u' => {}
            other => return Err(PatternError::Flag(other)),
        }
    }
    builder
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .nest_limit(NESTING_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
            _ => PatternError::Syntax(body.to_owned()),
        })
}

/// Body and flags of `/body/flags`, when `text` is exactly that.
pub(crate) fn split_literal(text: &str) -> Option<(&str, &str)> {
    let end = literal_end(text)?;
    let (body, flags) = (text.get(1..end)?, text.get(end + 1..)?);
    let flags_only = flags.bytes().all(|b| b.is_ascii_lowercase());
    flags_only.then_some((body, flags))
}

/// Where the slash is that closes the literal at the start of `text`. A slash in a class or behind a
/// backslash does not close it; a body is neither empty nor a comment.
pub(crate) fn literal_end(text: &str) -> Option<usize> {
    let mut rest = text.char_indices();
    if rest.next()?.1 != '/' {
        return None;
    }
    let mut in_class = false;
    let mut first = true;
    while let Some((at, c)) = rest.next() {
        match c {
            '\n' | '\r' => return None,
            '*' if first => return None,
            '/' if first => return None,
            '/' if !in_class => return Some(at),
            '\\' => drop(rest.next().filter(|(_, c)| !matches!(c, '\n' | '\r'))?),
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        first = false;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_end_at_a_slash_that_closes_them() {
        assert_eq!(split_literal("/^curl/"), Some(("^curl", "")));
        assert_eq!(split_literal("/a/gi"), Some(("a", "gi")));
        assert_eq!(split_literal(r"/a\/b/"), Some((r"a\/b", "")));
        assert_eq!(split_literal("/[/]x/"), Some(("[/]x", "")));
        for bad in [
            "", "/", "//", "/*/", "/a", "/a\\/", "/[/", "a/b/", "/a/I", "/a/b/", "/a\n/", "/a\\",
        ] {
            assert_eq!(split_literal(bad), None, "{bad}");
        }
    }

    #[test]
    fn expressions_that_would_cost_too_much_are_refused() {
        assert_eq!(
            compile("(?:a{1000}){1000}", "").unwrap_err(),
            PatternError::TooLarge
        );
        assert!(compile(&"(".repeat(1000), "").is_err());
        let deep = format!("{}a{}", "(".repeat(100), ")".repeat(100));
        assert!(compile(&deep, "").is_err());
        assert_eq!(compile("a", "y").unwrap_err(), PatternError::Flag('y'));
        for backtracking in [r"(a)\1", "(?=a)", "(?<!a)b"] {
            assert!(matches!(
                compile(backtracking, ""),
                Err(PatternError::Syntax(_))
            ));
        }
    }

    #[test]
    fn what_kills_a_backtracking_engine_is_matched_at_once() {
        let pattern = compile("^(a+)+$", "").unwrap();
        let text = format!("{}!", "a".repeat(100_000));
        assert!(!pattern.is_match(&text));
    }
}
