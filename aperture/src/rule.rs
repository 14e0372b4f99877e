//! A rule, as its text says it.

use std::str::FromStr;

use crate::condition::Condition;
use crate::error::SyntaxError;
use crate::grammar;
use crate::list::List;

/// Longest text of a rule. The work and memory for parsing, printing and dropping one are bounded by it.
pub const RULE_BYTES_MAX: usize = 8192;

/// One line of a policy. Two rules are equal when they say the same in the same words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `None`: whoever holds the role. Manta's policies never name any.
    pub principals: Option<List>,
    pub effect: Effect,
    pub actions: List,
    /// Paths, as in `/alice/stor/a`. `None`: whatever carries the role's tag.
    pub resources: Option<List>,
    pub condition: Option<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Can,
    /// Never allows; denies nothing that another rule allows.
    CanNot,
}

impl Rule {
    /// Errors: the first thing that is wrong with the text, and where.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        grammar::parse(text)
    }
}

impl FromStr for Rule {
    type Err = SyntaxError;
    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Self::parse(text)
    }
}
