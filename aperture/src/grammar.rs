//! From tokens to a rule.
//!
//! ```text
//! rule       = [list] effect list [list] [conditions]
//! effect     = CAN [NOT]
//! list       = everything | word | word AND word | word "," word {"," word} [","] AND word
//! everything = "*" | ALL | EVERYTHING | ANYTHING
//! conditions = (IF | WHEN | WHERE) or
//! or         = and {OR and}
//! and        = not {AND not}
//! not        = NOT not | "(" or ")" | test
//! test       = name ["::" type] (operator value | IN "(" value {"," value} ")")
//! ```
//!
//! After the token that decides between two ways, a failure is final: so the error is about the way that was
//! taken, and parsing never goes back far.

use winnow::ModalResult;
use winnow::Parser;
use winnow::combinator::{alt, cut_err, opt, preceded};
use winnow::error::{AddContext, ErrMode, ParserError};
use winnow::stream::{Stateful, Stream, TokenSlice};
use winnow::token::any;

use crate::condition::{Comparison, Condition, Test};
use crate::error::{Problem, SyntaxError};
use crate::kind::{Operator, Type};
use crate::list::{Fuzzy, List, Regex, Word};
use crate::operand::Operand;
use crate::rule::{Effect, Rule};
use crate::token::{self, Keyword, Token, TokenKind};

/// Parentheses and NOTs inside each other: bounds the stack.
const DEPTH_MAX: usize = 64;

/// Each takes memory while its rule is loaded.
const PATTERNS_MAX: usize = 8;

type Tokens<'a> = Stateful<TokenSlice<'a, Token>, Budget>;

/// What has been used of the bounds so far.
#[derive(Clone, Debug, Default)]
struct Budget {
    depth: usize,
    patterns: usize,
}

pub(crate) fn parse(text: &str) -> Result<Rule, SyntaxError> {
    let tokens = token::tokens(text)?;
    let mut input = Tokens {
        input: TokenSlice::new(&tokens),
        state: Budget::default(),
    };
    let parsed = rule.parse_next(&mut input);
    let failure = match parsed {
        Ok(rule) if input.is_empty() => return Ok(rule),
        Ok(rule) => {
            let expected = match (&rule.condition, &rule.resources) {
                (Some(_), _) => "AND, OR or the end of the rule",
                (None, Some(_)) => "WHEN or the end of the rule",
                (None, None) => "resources, WHEN or the end of the rule",
            };
            Failure::expected(&input, expected)
        }
        Err(ErrMode::Backtrack(failure) | ErrMode::Cut(failure)) => failure,
        Err(ErrMode::Incomplete(_)) => Failure::from_input(&input),
    };
    let at = tokens.len() - failure.left;
    let found = tokens.get(at);
    let offset = found.map_or(text.len(), |token| token.offset);
    let problem = match (failure.why, found) {
        (Why::Problem(problem), _) => problem,
        (Why::Expected(expected), None) => Problem::Ends { expected },
        (Why::Expected(expected), Some(token)) => Problem::Unexpected {
            expected,
            found: token.kind.describe(),
        },
    };
    Err(SyntaxError::at(text, offset, problem))
}

/// Why a list of tokens is no rule; `left` is how many were not read, the one that is wrong among them.
#[derive(Debug)]
struct Failure {
    left: usize,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Expected(String),
    Problem(Problem),
}

impl Failure {
    fn expected(input: &Tokens<'_>, what: &str) -> Self {
        Self {
            left: input.eof_offset(),
            why: Why::Expected(what.to_owned()),
        }
    }
}

impl ParserError<Tokens<'_>> for Failure {
    type Inner = Self;

    fn from_input(input: &Tokens<'_>) -> Self {
        Self::expected(input, "something else")
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// The outermost context that was at the same place names what was expected there.
impl<'a> AddContext<Tokens<'a>, &'static str> for Failure {
    fn add_context(
        self,
        input: &Tokens<'a>,
        start: &<Tokens<'a> as Stream>::Checkpoint,
        what: &'static str,
    ) -> Self {
        let mut at_start = input.clone();
        at_start.reset(start);
        match self.why {
            Why::Expected(_) if self.left == at_start.eof_offset() => {
                Self::expected(&at_start, what)
            }
            _ => self,
        }
    }
}

fn rule(input: &mut Tokens<'_>) -> ModalResult<Rule, Failure> {
    let principals = opt(list).parse_next(input)?;
    let effect = cut_err(effect.context("CAN")).parse_next(input)?;
    let actions = cut_err(list.context("an action")).parse_next(input)?;
    let resources = opt(list).parse_next(input)?;
    let when = alt((
        keyword(Keyword::If),
        keyword(Keyword::When),
        keyword(Keyword::Where),
    ));
    let condition = opt(preceded(when, cut_err(or))).parse_next(input)?;
    Ok(Rule {
        principals,
        effect,
        actions,
        resources,
        condition,
    })
}

fn effect(input: &mut Tokens<'_>) -> ModalResult<Effect, Failure> {
    keyword(Keyword::Can).parse_next(input)?;
    let not = opt(keyword(Keyword::Not)).parse_next(input)?;
    Ok(not.map_or(Effect::Can, |()| Effect::CanNot))
}

fn list(input: &mut Tokens<'_>) -> ModalResult<List, Failure> {
    alt((everything, words)).parse_next(input)
}

fn everything(input: &mut Tokens<'_>) -> ModalResult<List, Failure> {
    let is_everything = |token: &Token| match &token.kind {
        TokenKind::Keyword(Keyword::All | Keyword::Everything | Keyword::Anything) => true,
        TokenKind::Word(word) => word == "*",
        _ => false,
    };
    any.verify(is_everything)
        .value(List::Everything)
        .parse_next(input)
}

/// The last word has AND before it; a comma alone stands there only in front of AND.
fn words(input: &mut Tokens<'_>) -> ModalResult<List, Failure> {
    let mut next = cut_err(word.context("a word"));
    let mut words = vec![word.parse_next(input)?];
    let and = || opt(keyword(Keyword::And));
    if and().parse_next(input)?.is_some() {
        words.push(next.parse_next(input)?);
        return Ok(List::Words(words));
    }
    if opt(comma).parse_next(input)?.is_none() {
        return Ok(List::Words(words));
    }
    // A list with a comma has three words at least.
    words.push(next.parse_next(input)?);
    while and().parse_next(input)?.is_none() {
        cut_err(comma.context("AND or a comma")).parse_next(input)?;
        if and().parse_next(input)?.is_some() {
            break;
        }
        words.push(next.parse_next(input)?);
    }
    words.push(next.parse_next(input)?);
    Ok(List::Words(words))
}

fn word(input: &mut Tokens<'_>) -> ModalResult<Word, Failure> {
    let left = input.eof_offset();
    let token = any.parse_next(input)?;
    match &token.kind {
        TokenKind::Word(text) if text == "*" => Err(backtrack(left)),
        TokenKind::Word(text) if text.contains('*') => Ok(Word::Fuzzy(Fuzzy::of_word(text))),
        TokenKind::Word(text) | TokenKind::Quoted(text) => Ok(Word::Exact(text.clone())),
        TokenKind::Regex(literal) => {
            count_pattern(input, left)?;
            let regex = Regex::parse(literal).map_err(|error| cut(left, error.into()))?;
            Ok(Word::Regex(regex))
        }
        _ => Err(backtrack(left)),
    }
}

fn or(input: &mut Tokens<'_>) -> ModalResult<Condition, Failure> {
    let mut all = and.parse_next(input)?;
    while opt(keyword(Keyword::Or)).parse_next(input)?.is_some() {
        let next = cut_err(and).parse_next(input)?;
        all = Condition::Or(Box::new(all), Box::new(next));
    }
    Ok(all)
}

fn and(input: &mut Tokens<'_>) -> ModalResult<Condition, Failure> {
    let mut all = not.parse_next(input)?;
    while opt(keyword(Keyword::And)).parse_next(input)?.is_some() {
        let next = cut_err(not).parse_next(input)?;
        all = Condition::And(Box::new(all), Box::new(next));
    }
    Ok(all)
}

fn not(input: &mut Tokens<'_>) -> ModalResult<Condition, Failure> {
    let left = input.eof_offset();
    if opt(keyword(Keyword::Not)).parse_next(input)?.is_some() {
        enter(input, left)?;
        let inner = cut_err(not).parse_next(input)?;
        input.state.depth -= 1;
        return Ok(Condition::Not(Box::new(inner)));
    }
    if opt(mark(TokenKind::Open)).parse_next(input)?.is_some() {
        enter(input, left)?;
        let inner = cut_err(or).parse_next(input)?;
        let close = mark(TokenKind::Close).context("AND, OR or \")\"");
        cut_err(close).parse_next(input)?;
        input.state.depth -= 1;
        return Ok(inner);
    }
    test.map(Condition::Test).parse_next(input)
}

fn test(input: &mut Tokens<'_>) -> ModalResult<Test, Failure> {
    let left = input.eof_offset();
    let name = text.context("a condition").parse_next(input)?;
    let says_kind = opt(mark(TokenKind::Colons)).parse_next(input)?.is_some();
    let kind = if says_kind {
        let left = input.eof_offset();
        let word = cut_err(text.context("a type")).parse_next(input)?;
        let unknown = || cut(left, Problem::UnknownType(word.clone()));
        Type::parse(&word).ok_or_else(unknown)?
    } else {
        let unknown = || cut(left, Problem::UnknownName(name.clone()));
        Type::of_name(&name).ok_or_else(unknown)?
    };
    let comparison = match opt(keyword(Keyword::In)).parse_next(input)? {
        Some(()) => one_of(kind, input)?,
        None => comparison(kind, input)?,
    };
    Ok(Test {
        name,
        kind,
        says_kind,
        comparison,
    })
}

fn comparison(kind: Type, input: &mut Tokens<'_>) -> ModalResult<Comparison, Failure> {
    let left = input.eof_offset();
    let word = cut_err(text.context("an operator")).parse_next(input)?;
    let unknown = || cut(left, Problem::UnknownOperator(word.clone()));
    let operator = Operator::parse(&word).ok_or_else(unknown)?;
    if !kind.has(operator) {
        return Err(cut(left, Problem::Operator { kind, operator }));
    }
    let operand = operand(kind, operator, input)?;
    Ok(Comparison::With(operator, operand))
}

fn one_of(kind: Type, input: &mut Tokens<'_>) -> ModalResult<Comparison, Failure> {
    let operator = Operator::Equal;
    if !kind.has(operator) {
        let left = input.eof_offset() + 1;
        return Err(cut(left, Problem::Operator { kind, operator }));
    }
    cut_err(mark(TokenKind::Open).context("\"(\"")).parse_next(input)?;
    let mut operands = vec![operand(kind, operator, input)?];
    while opt(comma).parse_next(input)?.is_some() {
        operands.push(operand(kind, operator, input)?);
    }
    let close = mark(TokenKind::Close).context("a comma or \")\"");
    cut_err(close).parse_next(input)?;
    Ok(Comparison::In(operands))
}

fn operand(
    kind: Type,
    operator: Operator,
    input: &mut Tokens<'_>,
) -> ModalResult<Operand, Failure> {
    let left = input.eof_offset();
    let text = cut_err(text.context("a value")).parse_next(input)?;
    if operator == Operator::Like {
        count_pattern(input, left)?;
    }
    Operand::parse(kind, operator, &text).map_err(|problem| cut(left, problem))
}

/// A word or a quotation, whatever it holds.
fn text(input: &mut Tokens<'_>) -> ModalResult<String, Failure> {
    let as_text = |token: &Token| match &token.kind {
        TokenKind::Word(text) | TokenKind::Quoted(text) => Some(text.clone()),
        _ => None,
    };
    any.verify_map(as_text).parse_next(input)
}

fn comma(input: &mut Tokens<'_>) -> ModalResult<(), Failure> {
    mark(TokenKind::Comma).parse_next(input)
}

fn keyword<'a>(keyword: Keyword) -> impl Parser<Tokens<'a>, (), ErrMode<Failure>> {
    mark(TokenKind::Keyword(keyword))
}

fn mark<'a>(kind: TokenKind) -> impl Parser<Tokens<'a>, (), ErrMode<Failure>> {
    any.verify(move |token: &Token| token.kind == kind).void()
}

fn enter(input: &mut Tokens<'_>, left: usize) -> ModalResult<(), Failure> {
    input.state.depth += 1;
    match input.state.depth > DEPTH_MAX {
        true => Err(cut(left, Problem::Depth(DEPTH_MAX))),
        false => Ok(()),
    }
}

fn count_pattern(input: &mut Tokens<'_>, left: usize) -> ModalResult<(), Failure> {
    input.state.patterns += 1;
    match input.state.patterns > PATTERNS_MAX {
        true => Err(cut(left, Problem::Patterns(PATTERNS_MAX))),
        false => Ok(()),
    }
}

fn cut(left: usize, problem: Problem) -> ErrMode<Failure> {
    let why = Why::Problem(problem);
    ErrMode::Cut(Failure { left, why })
}

fn backtrack(left: usize) -> ErrMode<Failure> {
    let why = Why::Expected("a word".to_owned());
    ErrMode::Backtrack(Failure { left, why })
}

#[cfg(test)]
#[path = "grammar/tests.rs"]
mod tests;
