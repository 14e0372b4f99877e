//! Types of conditions, their operators, and the names that have a type without saying so.

use std::fmt;

/// What a condition compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Array,
    Boolean,
    Date,
    Day,
    Ip,
    Number,
    String,
    Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    /// A string that a regular expression matches somewhere.
    Like,
    /// An array with an element.
    Contains,
}

/// Source: rest-api.md section 10.6.
const NAMES: [(&str, Type); 11] = [
    ("activeRoles", Type::Array),
    ("date", Type::Date),
    ("day", Type::Day),
    ("fromjob", Type::Boolean),
    ("method", Type::String),
    ("overwrite", Type::Boolean),
    ("owner", Type::String),
    ("region", Type::String),
    ("sourceip", Type::Ip),
    ("time", Type::Time),
    ("user-agent", Type::String),
];

const TYPES: [(&str, Type); 8] = [
    ("array", Type::Array),
    ("boolean", Type::Boolean),
    ("date", Type::Date),
    ("day", Type::Day),
    ("ip", Type::Ip),
    ("number", Type::Number),
    ("string", Type::String),
    ("time", Type::Time),
];

const OPERATORS: [(&str, Operator); 8] = [
    ("=", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("LIKE", Operator::Like),
    ("CONTAINS", Operator::Contains),
];

impl Type {
    /// The type that conditions called `name` have when they do not say another.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind)
    }

    /// `word` as it follows `::`, in lower case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let found = TYPES.iter().find(|(known, _)| *known == word);
        found.map(|(_, kind)| *kind)
    }

    /// Whether the type has the operator. `IN` needs [`Operator::Equal`].
    #[must_use]
    pub fn has(self, operator: Operator) -> bool {
        use Operator::{Contains, Equal, Like, NotEqual};
        match self {
            Self::Array => operator == Contains,
            Self::Boolean | Self::Ip => matches!(operator, Equal | NotEqual),
            Self::Date | Self::Day | Self::Number | Self::Time => {
                !matches!(operator, Like | Contains)
            }
            Self::String => operator != Contains,
        }
    }
}

impl Operator {
    /// In any case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let named = |known: &str| known.eq_ignore_ascii_case(word);
        let found = OPERATORS.iter().find(|(known, _)| named(known));
        found.map(|(_, operator)| *operator)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = TYPES.iter().find(|(_, kind)| kind == self);
        f.write_str(found.map_or("", |(name, _)| name))
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = OPERATORS.iter().find(|(_, operator)| operator == self);
        f.write_str(found.map_or("", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of metadata-auth-naming.md section 5.9.5.
    #[test]
    fn each_type_has_its_operators() {
        let all: Vec<&str> = OPERATORS.iter().map(|(name, _)| *name).collect();
        for (kind, operators) in [
            ("array", "CONTAINS"),
            ("boolean", "= !="),
            ("date", "= != < > <= >="),
            ("day", "= != < > <= >="),
            ("ip", "= !="),
            ("number", "= != < > <= >="),
            ("string", "= != < > <= >= LIKE"),
            ("time", "= != < > <= >="),
        ] {
            let has = |name: &&&str| {
                Type::parse(kind)
                    .unwrap()
                    .has(Operator::parse(name).unwrap())
            };
            let found: Vec<&str> = all.iter().filter(has).copied().collect();
            assert_eq!(found.join(" "), operators, "{kind}");
        }
    }

    #[test]
    fn names_of_types_and_operators_are_those_that_are_printed() {
        for (name, kind) in TYPES {
            assert_eq!(kind.to_string(), name);
            assert_eq!(Type::parse(&name.to_uppercase()), None);
        }
        for (name, operator) in OPERATORS {
            assert_eq!(operator.to_string(), name);
            assert_eq!(Operator::parse(&name.to_lowercase()), Some(operator));
        }
        assert_eq!(Type::of_name("sourceip"), Some(Type::Ip));
        assert_eq!(Type::of_name("SourceIP"), None, "names are case-sensitive");
    }
}
