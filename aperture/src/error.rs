//! What is wrong with the text of a rule, and where.

use thiserror::Error;

use crate::kind::{Operator, Type};
use crate::pattern::PatternError;
use crate::rule::RULE_BYTES_MAX;

/// Why a text is not a rule. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct SyntaxError {
    pub line: usize,
    pub column: usize,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("a rule has at most {RULE_BYTES_MAX} bytes")]
    TooLong,
    #[error("the quotation is not closed")]
    OpenQuote,
    #[error("\"\\{0}\" is not an escape: \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u0000 are")]
    Escape(String),
    #[error("a colon cannot stand alone; quote words that begin with one")]
    Colon,
    #[error("expected {expected}, but the rule ends here")]
    Ends { expected: String },
    #[error("expected {expected}, found {found}")]
    Unexpected { expected: String, found: String },
    #[error("more than {0} parentheses or NOTs inside each other")]
    Depth(usize),
    #[error("more than {0} regular expressions in a rule")]
    Patterns(usize),
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error("\"{0}\" has no type of its own; write {0}::string, or another type")]
    UnknownName(String),
    #[error("\"{0}\" is not a type: array, boolean, date, day, ip, number, string and time are")]
    UnknownType(String),
    #[error("\"{0}\" is not an operator: = != < > <= >= LIKE CONTAINS IN are")]
    UnknownOperator(String),
    #[error("the type {kind} has no operator {operator}")]
    Operator { kind: Type, operator: Operator },
    #[error("\"{text}\" is not a value of type {kind}: {reason}")]
    Value {
        kind: Type,
        text: String,
        reason: &'static str,
    },
}

impl SyntaxError {
    /// At byte `offset` of `text`, which must be a boundary between characters.
    pub(crate) fn at(text: &str, offset: usize, problem: Problem) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            problem,
        }
    }
}
