//! From a rule back to text. The text parses to an equal rule.

use std::fmt::{self, Write as _};

use crate::condition::{Comparison, Condition, Test};
use crate::list::{List, Word};
use crate::rule::{Effect, Rule};
use crate::token::{self, Keyword};

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(principals) = &self.principals {
            write!(f, "{principals} ")?;
        }
        let effect = match self.effect {
            Effect::Can => "CAN",
            Effect::CanNot => "CAN NOT",
        };
        write!(f, "{effect} {}", self.actions)?;
        if let Some(resources) = &self.resources {
            write!(f, " {resources}")?;
        }
        if let Some(condition) = &self.condition {
            write!(f, " WHEN {condition}")?;
        }
        Ok(())
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::Everything => return f.write_str("*"),
            Self::Words(words) => words,
        };
        for (at, word) in words.iter().enumerate() {
            let separator = match words.len() - at {
                _ if at == 0 => "",
                1 => " AND ",
                _ => ", ",
            };
            write!(f, "{separator}{word}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With a star but without quotes it would be fuzzy.
            Self::Exact(text) if text.contains('*') => quote(f, text),
            Self::Exact(text) => write_text(f, text),
            Self::Fuzzy(fuzzy) => f.write_str(fuzzy.text()),
            Self::Regex(regex) => write!(f, "{regex}::regex"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_condition(f, self, Binds::Loosely)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A colon at its end would run into those of the type.
        match self.name.ends_with(':') {
            true => quote(f, &self.name)?,
            false => write_text(f, &self.name)?,
        }
        if self.says_kind {
            write!(f, "::{}", self.kind)?;
        }
        match &self.comparison {
            Comparison::With(operator, operand) => {
                write!(f, " {operator} ")?;
                write_text(f, operand.text())
            }
            Comparison::In(operands) => {
                f.write_str(" IN (")?;
                for (at, operand) in operands.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { ", " })?;
                    write_text(f, operand.text())?;
                }
                f.write_char(')')
            }
        }
    }
}

/// How tightly what stands around a condition holds it; what it holds loosely needs parentheses in tighter ones.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Binds {
    Loosely,
    AsAnd,
    AsNot,
}

fn write_condition(
    f: &mut fmt::Formatter<'_>,
    condition: &Condition,
    around: Binds,
) -> fmt::Result {
    let (left, word, right, own) = match condition {
        Condition::Or(left, right) => (left, "OR", right, Binds::Loosely),
        Condition::And(left, right) => (left, "AND", right, Binds::AsAnd),
        Condition::Not(inner) => {
            f.write_str("NOT ")?;
            return write_condition(f, inner, Binds::AsNot);
        }
        Condition::Test(test) => return write!(f, "{test}"),
    };
    // Chains lean to the left, so one on the right is in parentheses too.
    let of_right = match own {
        Binds::Loosely => Binds::AsAnd,
        Binds::AsAnd | Binds::AsNot => Binds::AsNot,
    };
    let open = own < around;
    f.write_str(if open { "(" } else { "" })?;
    write_condition(f, left, own)?;
    write!(f, " {word} ")?;
    write_condition(f, right, of_right)?;
    f.write_str(if open { ")" } else { "" })
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    match token::is_word(text) && Keyword::parse(text).is_none() {
        true => f.write_str(text),
        false => quote(f, text),
    }
}

fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            control if control.is_control() => write!(f, "\\u{:04x}", u32::from(control))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
