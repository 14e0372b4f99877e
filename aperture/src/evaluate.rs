//! Whether rules allow a request.

use std::collections::BTreeMap;
use std::net::IpAddr;

use thiserror::Error;

use crate::condition::{Comparison, Condition, Test};
use crate::kind::{Operator, Type};
use crate::rule::{Effect, Rule};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Asked only of rules that name principals.
    pub principal: &'a str,
    pub action: &'a str,
    pub resource: &'a str,
    pub conditions: &'a Conditions,
}

/// What is known about a request, by the names that conditions use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions(BTreeMap<String, Value>);

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// For `array`.
    Strings(Vec<String>),
    Boolean(bool),
    /// Milliseconds since 1970; for `date`, `day` and `time`.
    Moment(i64),
    Address(IpAddr),
    Number(f64),
    Text(String),
}

/// Why a condition is neither true nor false for a request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Undecided {
    #[error("the request has no \"{name}\"")]
    Missing { name: String },
    #[error("\"{name}\" of the request is not of type {kind}")]
    WrongType { name: String, kind: Type },
}

impl Conditions {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value, or replaces the one that was there.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

/// Whether any of the rules allows the request. One that cannot be decided allows nothing, and does not keep
/// others from it.
pub fn allows<'r>(rules: impl IntoIterator<Item = &'r Rule>, request: &Request<'_>) -> bool {
    rules
        .into_iter()
        .any(|rule| rule.allows(request) == Ok(true))
}

impl Rule {
    /// Every part that the rule has must match, and its condition hold. `CAN NOT` allows nothing.
    /// Errors: the condition asks for what the request does not have. To be taken for `false`: the reference
    /// answered 500, which would let clients leave out a header and call it our bug.
    pub fn allows(&self, request: &Request<'_>) -> Result<bool, Undecided> {
        let named = self
            .principals
            .as_ref()
            .is_none_or(|list| list.matches(request.principal))
            && self.actions.matches(request.action)
            && self
                .resources
                .as_ref()
                .is_none_or(|list| list.matches(request.resource));
        if !named {
            return Ok(false);
        }
        let holds = match &self.condition {
            Some(condition) => condition.holds(request.conditions)?,
            None => true,
        };
        Ok(holds && self.effect == Effect::Can)
    }
}

impl Condition {
    /// From left to right, no further than needed.
    fn holds(&self, conditions: &Conditions) -> Result<bool, Undecided> {
        match self {
            Self::And(left, right) => Ok(left.holds(conditions)? && right.holds(conditions)?),
            Self::Or(left, right) => Ok(left.holds(conditions)? || right.holds(conditions)?),
            Self::Not(inner) => Ok(!inner.holds(conditions)?),
            Self::Test(test) => test.holds(conditions),
        }
    }
}

impl Test {
    fn holds(&self, conditions: &Conditions) -> Result<bool, Undecided> {
        let name = || self.name.clone();
        let value = conditions
            .get(&self.name)
            .ok_or_else(|| Undecided::Missing { name: name() })?;
        let wrong = || Undecided::WrongType {
            name: name(),
            kind: self.kind,
        };
        match &self.comparison {
            Comparison::With(operator, operand) => {
                operand.compare(*operator, value).ok_or_else(wrong)
            }
            Comparison::In(operands) => {
                for operand in operands {
                    if operand.compare(Operator::Equal, value).ok_or_else(wrong)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}
