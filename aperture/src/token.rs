//! From text to tokens.

use winnow::ascii::Caseless;
use winnow::combinator::{alt, fail, not, opt, preceded, repeat, terminated};
use winnow::error::{ErrMode, ParserError};
use winnow::stream::{Location as _, Stream as _};
use winnow::token::{any, none_of, take, take_while};
use winnow::{LocatingSlice, ModalResult, Parser as _};

use crate::error::{Problem, SyntaxError};
use crate::pattern;
use crate::rule::RULE_BYTES_MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    /// Where it begins, in bytes.
    pub(crate) offset: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Keyword(Keyword),
    Word(String),
    Quoted(String),
    /// `/body/flags` in front of `::regex`.
    Regex(String),
    Comma,
    Open,
    Close,
    Colons,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    And,
    Or,
    Not,
    Can,
    /// Reserved and unused.
    To,
    If,
    When,
    Where,
    All,
    Everything,
    Anything,
    In,
}

const KEYWORDS: [(&str, Keyword); 12] = [
    ("AND", Keyword::And),
    ("OR", Keyword::Or),
    ("NOT", Keyword::Not),
    ("CAN", Keyword::Can),
    ("TO", Keyword::To),
    ("IF", Keyword::If),
    ("WHEN", Keyword::When),
    ("WHERE", Keyword::Where),
    ("ALL", Keyword::All),
    ("EVERYTHING", Keyword::Everything),
    ("ANYTHING", Keyword::Anything),
    ("IN", Keyword::In),
];

impl Keyword {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let named = |known: &str| known.eq_ignore_ascii_case(word);
        let found = KEYWORDS.iter().find(|(known, _)| named(known));
        found.map(|(_, keyword)| *keyword)
    }

    pub(crate) fn text(self) -> &'static str {
        let found = KEYWORDS.iter().find(|(_, keyword)| *keyword == self);
        found.map_or("", |(text, _)| text)
    }
}

impl TokenKind {
    /// For messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Keyword(keyword) => keyword.text().to_owned(),
            Self::Word(text) | Self::Quoted(text) => format!("\"{text}\""),
            Self::Regex(literal) => format!("\"{literal}::regex\""),
            Self::Comma => "a comma".to_owned(),
            Self::Open => "\"(\"".to_owned(),
            Self::Close => "\")\"".to_owned(),
            Self::Colons => "\"::\"".to_owned(),
        }
    }
}

/// Whether `text` is one word: it needs no quotes to be read as a whole, though it may be a keyword.
pub(crate) fn is_word(text: &str) -> bool {
    if text.starts_with('"') {
        return false;
    }
    let mut input = LocatingSlice::new(text);
    raw_word(&mut input).is_ok_and(|word| word.len() == text.len())
}

/// All tokens of a rule.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, SyntaxError> {
    if text.len() > RULE_BYTES_MAX {
        return Err(SyntaxError::at(text, 0, Problem::TooLong));
    }
    let mut input = LocatingSlice::new(text);
    let mut all = preceded(blank, repeat(0.., token));
    match all.parse_next(&mut input) {
        Ok(tokens) if input.is_empty() => Ok(tokens),
        // What begins no token is a colon: everything else begins a word.
        Ok(_) => Err(SyntaxError::at(
            text,
            input.current_token_start(),
            Problem::Colon,
        )),
        Err(ErrMode::Backtrack(failure) | ErrMode::Cut(failure)) => {
            let offset = text.len() - failure.left;
            Err(SyntaxError::at(
                text,
                offset,
                failure.problem.unwrap_or(Problem::Colon),
            ))
        }
        Err(ErrMode::Incomplete(_)) => Err(SyntaxError::at(text, text.len(), Problem::OpenQuote)),
    }
}

type Text<'a> = LocatingSlice<&'a str>;

/// Why the text stops being tokens; `left` is how many bytes were not read.
#[derive(Debug)]
struct Failure {
    left: usize,
    problem: Option<Problem>,
}

impl ParserError<Text<'_>> for Failure {
    type Inner = Self;

    fn from_input(input: &Text<'_>) -> Self {
        Self {
            left: input.eof_offset(),
            problem: None,
        }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

fn token(input: &mut Text<'_>) -> ModalResult<Token, Failure> {
    let offset = input.current_token_start();
    let kind = alt((
        ','.value(TokenKind::Comma),
        '('.value(TokenKind::Open),
        ')'.value(TokenKind::Close),
        "::".value(TokenKind::Colons),
        quoted.map(TokenKind::Quoted),
        regex.map(TokenKind::Regex),
        raw_word.map(word_or_keyword),
    ));
    let kind = terminated(kind, blank).parse_next(input)?;
    Ok(Token { kind, offset })
}

fn blank(input: &mut Text<'_>) -> ModalResult<(), Failure> {
    take_while(0.., char::is_whitespace)
        .void()
        .parse_next(input)
}

fn word_or_keyword(word: &str) -> TokenKind {
    match Keyword::parse(word) {
        Some(keyword) => TokenKind::Keyword(keyword),
        None => TokenKind::Word(word.to_owned()),
    }
}

fn in_word(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, ',' | '(' | ')' | ':')
}

/// Colons may stand in a word, but neither first nor two in a row.
fn raw_word<'a>(input: &mut Text<'a>) -> ModalResult<&'a str, Failure> {
    let piece = (take_while(1.., in_word), opt(single_colon));
    repeat::<_, _, (), _, _>(1.., piece)
        .take()
        .parse_next(input)
}

fn single_colon(input: &mut Text<'_>) -> ModalResult<(), Failure> {
    (':', not(':')).void().parse_next(input)
}

fn quoted(input: &mut Text<'_>) -> ModalResult<String, Failure> {
    let left = input.eof_offset();
    '"'.parse_next(input)?;
    let content = repeat(0.., alt((none_of(['"', '\\']), escape)));
    let add = |mut text: String, c| {
        text.push(c);
        text
    };
    let text = content.fold(String::new, add).parse_next(input)?;
    let closed: ModalResult<char, Failure> = '"'.parse_next(input);
    closed.map_err(|_| cut(left, Problem::OpenQuote))?;
    Ok(text)
}

fn escape(input: &mut Text<'_>) -> ModalResult<char, Failure> {
    let left = input.eof_offset();
    '\\'.parse_next(input)?;
    let letter = opt(any).parse_next(input)?;
    match letter {
        Some(same @ ('"' | '\\' | '/')) => Ok(same),
        Some('b') => Ok('\u{8}'),
        Some('f') => Ok('\u{c}'),
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some('u') => {
            let escaped = unicode.parse_next(input);
            escaped.map_err(|_| cut(left, Problem::Escape("u".to_owned())))
        }
        Some(other) => Err(cut(left, Problem::Escape(other.to_string()))),
        // The quotation has no end; it says so itself.
        None => fail.parse_next(input),
    }
}

/// Four hexadecimal digits, or a pair of surrogates.
fn unicode(input: &mut Text<'_>) -> ModalResult<char, Failure> {
    let first = hex.parse_next(input)?;
    let units = match first {
        0xd800..0xdc00 => [first, preceded("\\u", hex).parse_next(input)?],
        _ => [first, 0],
    };
    let decoded = char::decode_utf16(units).next();
    match decoded {
        Some(Ok(c)) => Ok(c),
        _ => fail.parse_next(input),
    }
}

fn hex(input: &mut Text<'_>) -> ModalResult<u16, Failure> {
    let digits = take_while(4..=4, |c: char| c.is_ascii_hexdigit());
    digits
        .verify_map(|digits| u16::from_str_radix(digits, 16).ok())
        .parse_next(input)
}

/// A literal counts as one only in front of `::regex` or `::regexp`; otherwise it is a path. It has no blanks:
/// else `/a WHEN region = "/b::regex"` would begin with one.
fn regex(input: &mut Text<'_>) -> ModalResult<String, Failure> {
    let rest = **input;
    let blank = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let literal = pattern::literal_end(&rest[..blank]).map(|slash| {
        let flags = rest[slash + 1..].bytes();
        slash + 1 + flags.take_while(u8::is_ascii_lowercase).count()
    });
    let Some(length) = literal else {
        return fail.parse_next(input);
    };
    let ending = (
        Caseless("::regex"),
        opt(Caseless("p")),
        not(any.verify(|c| in_word(*c))),
    );
    terminated(take(length), ending)
        .map(str::to_owned)
        .parse_next(input)
}

fn cut(left: usize, problem: Problem) -> ErrMode<Failure> {
    let problem = Some(problem);
    ErrMode::Cut(Failure { left, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokens(text)
            .unwrap()
            .into_iter()
            .map(|token| token.kind)
            .collect()
    }

    fn word(text: &str) -> TokenKind {
        TokenKind::Word(text.to_owned())
    }

    #[test]
    fn words_end_where_they_must() {
        use TokenKind::{Close, Colons, Comma, Open};
        let can = TokenKind::Keyword(Keyword::Can);
        assert_eq!(kinds(" Can android\t"), [can, word("android")]);
        assert_eq!(
            kinds("a,b(c)d"),
            [
                word("a"),
                Comma,
                word("b"),
                Open,
                word("c"),
                Close,
                word("d")
            ]
        );
        assert_eq!(kinds("10:15:30"), [word("10:15:30")]);
        assert_eq!(kinds("day::day="), [word("day"), Colons, word("day=")]);
        assert_eq!(kinds("a:"), [word("a:")]);
        assert_eq!(kinds("a\"b\""), [word("a\"b\"")]);
        assert_eq!(kinds(""), []);
        assert_eq!(kinds("  "), []);
    }

    #[test]
    fn quotations_have_escapes() {
        let quoted = |text: &str| vec![TokenKind::Quoted(text.to_owned())];
        assert_eq!(kinds(r#""a b""#), quoted("a b"));
        assert_eq!(kinds(r#""""#), quoted(""));
        assert_eq!(
            kinds(r#""\"\\\/\b\f\n\r\t\u00e4\uD83D\uDE00""#),
            quoted("\"\\/\u{8}\u{c}\n\r\t\u{e4}\u{1f600}")
        );
        assert_eq!(kinds("\"AND\""), quoted("AND"));
    }

    #[test]
    fn regular_expressions_are_told_from_paths() {
        let regex = |text: &str| TokenKind::Regex(text.to_owned());
        assert_eq!(kinds("/a/stor/b"), [word("/a/stor/b")]);
        assert_eq!(
            kinds("/a,(b|c)/i::regex x"),
            [regex("/a,(b|c)/i"), word("x")]
        );
        assert_eq!(
            kinds("/[/]\\//::REGEXP,"),
            [regex("/[/]\\//"), TokenKind::Comma]
        );
        assert_eq!(
            kinds("/a/::regexps"),
            [word("/a/"), TokenKind::Colons, word("regexps")]
        );
        assert_eq!(kinds("/a b/::regex")[0], word("/a"));
    }

    #[test]
    fn what_is_no_token_is_found_where_it_is() {
        for (text, column, problem) in [
            ("a \"b", 3, Problem::OpenQuote),
            ("a \"b\\", 3, Problem::OpenQuote),
            ("a \"b\\\"", 3, Problem::OpenQuote),
            ("\"b\\x\"", 3, Problem::Escape("x".into())),
            ("\"\\u12\"", 2, Problem::Escape("u".into())),
            ("\"\\ud800\"", 2, Problem::Escape("u".into())),
            ("\"\\udc00\"", 2, Problem::Escape("u".into())),
            ("\u{e4} :a", 3, Problem::Colon),
            ("a:::b", 4, Problem::Colon),
        ] {
            let error = tokens(text).unwrap_err();
            assert_eq!((error.column, &error.problem), (column, &problem), "{text}");
        }
        let long = "a".repeat(RULE_BYTES_MAX + 1);
        assert_eq!(tokens(&long).unwrap_err().problem, Problem::TooLong);
    }
}
