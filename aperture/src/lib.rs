//! The policy language of Manta: one [`Rule`] is one English-like line, such as
//! `CAN getobject AND putobject /alice/stor/in/* WHEN sourceip = 10.0.0.0/8`.
//!
//! A rule is parsed once, when its policy is made; everything that could be wrong with it (a name without a type,
//! an operator its type does not have, a value that is none) is refused there, with line and column. Evaluating
//! is then a pure function of the request, and takes time linear in it: patterns are matched without
//! backtracking. Which rules count for a request is not decided here but in `libmanta::mahi`.
//!
//! The surprising thing: `CAN NOT` denies nothing. A rule that says it merely never allows.
//! Source: rest-api.md sections 10.6 and 10.7, metadata-auth-naming.md section 5.9.
//!
//! Two extensions of the language: every `*` of a fuzzy word is a wildcard, and fuzzy words match as a whole;
//! values of conditions may hold `*` without quotes. One restriction: a regular expression that is not quoted
//! ends at a blank, so blanks in one are written `\s`.

mod condition;
mod error;
mod evaluate;
mod grammar;
mod kind;
mod list;
mod operand;
mod pattern;
mod print;
mod rule;
mod token;

pub use condition::{Comparison, Condition, Test};
pub use error::{Problem, SyntaxError};
pub use evaluate::{Conditions, Request, Undecided, Value, allows};
pub use kind::{Operator, Type};
pub use list::{Fuzzy, List, Regex, Word};
pub use operand::Operand;
pub use pattern::PatternError;
pub use rule::{Effect, RULE_BYTES_MAX, Rule};
