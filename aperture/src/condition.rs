//! The conditions of a rule: comparisons under AND, OR and NOT.

use crate::kind::{Operator, Type};
use crate::operand::Operand;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Test(Test),
}

/// A comparison of something about the request with values that the rule gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    pub(crate) name: String,
    pub(crate) kind: Type,
    /// The rule says the type, as in `name::type`.
    pub(crate) says_kind: bool,
    pub(crate) comparison: Comparison,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    With(Operator, Operand),
    /// Equal to one of these. Never empty.
    In(Vec<Operand>),
}

impl Test {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn kind(&self) -> Type {
        self.kind
    }

    #[must_use]
    pub fn comparison(&self) -> &Comparison {
        &self.comparison
    }
}
