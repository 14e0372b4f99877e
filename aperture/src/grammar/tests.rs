//! What parses, what is refused and where, what is allowed; and that printing loses nothing.

use proptest::prelude::*;

use super::*;
use crate::evaluate::{Conditions, Request, Undecided, Value, allows};

fn printed(text: &str) -> String {
    parse(text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .to_string()
}

#[track_caller]
fn refused(text: &str, line: usize, column: usize, message: &str) {
    let error = parse(text).expect_err(text);
    let expected = format!("line {line}, column {column}: {message}");
    assert_eq!(error.to_string(), expected, "{text}");
}

#[test]
fn examples_of_the_specification_parse() {
    for (text, canonical) in [
        ("CAN getobject", "CAN getobject"),
        (
            "CAN getobject AND putobject /alice/stor/in/* WHEN sourceip = 10.0.0.0/8",
            "",
        ),
        (
            "Can getobject * if day in (Monday, Tuesday)",
            "CAN getobject * WHEN day IN (Monday, Tuesday)",
        ),
        (
            "CAN putobject and getobject when sourceip = 10.0.0.0/8",
            "CAN putobject AND getobject WHEN sourceip = 10.0.0.0/8",
        ),
        ("CAN getobject /fred/stor/public*", ""),
        (
            "CAN deleteobject if day in (Mon, Tue, Wed)",
            "CAN deleteobject WHEN day IN (Mon, Tue, Wed)",
        ),
        (
            "CAN getobject when user-agent like /^curl/",
            "CAN getobject WHEN user-agent LIKE /^curl/",
        ),
        (
            "fred can not read, write and list foo",
            "fred CAN NOT read, write AND list foo",
        ),
        (
            "a, b, AND c CAN x, y, z, AND d",
            "a, b AND c CAN x, y, z AND d",
        ),
        ("CAN ALL everything", "CAN * *"),
        (
            "CAN * where owner::string = x",
            "CAN * WHEN owner::string = x",
        ),
        ("CAN /get.*/i::regexp", "CAN /get.*/i::regex"),
        ("CAN \"a b\" AND \"and\" \"x*\"", ""),
        (
            "can x if not (fromjob = true or overwrite = false) and not not method = PUT",
            "",
        ),
        (
            "can x if method = a or method = b and method = c",
            "CAN x WHEN method = a OR method = b AND method = c",
        ),
        ("can x if (method = a or method = b) and method = c", ""),
        ("can x if method = a and (method = b and method = c)", ""),
        (
            "can x if (method = a and method = b) and method = c",
            "CAN x WHEN method = a AND method = b AND method = c",
        ),
        (
            "can x when size::number >= -1.5 and activeRoles CONTAINS abc",
            "",
        ),
        (
            "CAN x\n  /a/b\n  WHEN region = \"eu west\"",
            "CAN x /a/b WHEN region = \"eu west\"",
        ),
        ("CAN x WHEN sourceip IN (\"fc00::/7\", 10.0.0.1)", ""),
    ] {
        let once = printed(text);
        if !canonical.is_empty() {
            assert_eq!(once, canonical);
        }
        assert_eq!(printed(&once), once);
        assert_eq!(parse(&once), parse(text));
    }
}

#[test]
fn what_is_no_rule_is_refused_where_it_goes_wrong() {
    let end = "but the rule ends here";
    refused("", 1, 1, &format!("expected CAN, {end}"));
    refused("getobject", 1, 10, &format!("expected CAN, {end}"));
    refused("CAN", 1, 4, &format!("expected an action, {end}"));
    refused("CAN NOT", 1, 8, &format!("expected an action, {end}"));
    refused("CAN WHEN", 1, 5, "expected an action, found WHEN");
    refused("CAN a, b", 1, 9, &format!("expected AND or a comma, {end}"));
    refused(
        "CAN a, b /x",
        1,
        10,
        "expected AND or a comma, found \"/x\"",
    );
    refused(
        "CAN a AND b AND c",
        1,
        13,
        "expected resources, WHEN or the end of the rule, found AND",
    );
    refused("CAN a, AND b", 1, 8, "expected a word, found AND");
    refused("CAN a AND *", 1, 11, "expected a word, found \"*\"");
    refused("CAN a, b AND", 1, 13, &format!("expected a word, {end}"));
    refused("CAN TO x", 1, 5, "expected an action, found TO");
    refused(
        "CAN a b c",
        1,
        9,
        "expected WHEN or the end of the rule, found \"c\"",
    );
    refused(
        "CAN a b, c AND d e",
        1,
        18,
        "expected WHEN or the end of the rule, found \"e\"",
    );
    refused("CAN a WHEN", 1, 11, &format!("expected a condition, {end}"));
    refused(
        "CAN a WHEN method",
        1,
        18,
        &format!("expected an operator, {end}"),
    );
    refused(
        "CAN a WHEN method =",
        1,
        20,
        &format!("expected a value, {end}"),
    );
    refused(
        "CAN a WHEN method = AND",
        1,
        21,
        "expected a value, found AND",
    );
    refused(
        "CAN a WHEN method = x y",
        1,
        23,
        "expected AND, OR or the end of the rule, found \"y\"",
    );
    refused(
        "CAN a WHEN (method = x",
        1,
        23,
        &format!("expected AND, OR or \")\", {end}"),
    );
    refused(
        "CAN a WHEN method = x)",
        1,
        22,
        "expected AND, OR or the end of the rule, found \")\"",
    );
    refused(
        "CAN a WHEN method IN x",
        1,
        22,
        "expected \"(\", found \"x\"",
    );
    refused(
        "CAN a WHEN method IN ()",
        1,
        23,
        "expected a value, found \")\"",
    );
    refused(
        "CAN a WHEN method IN (x",
        1,
        24,
        &format!("expected a comma or \")\", {end}"),
    );
    refused(
        "CAN a WHEN method:: = x",
        1,
        21,
        "\"=\" is not a type: array, boolean, date, day, ip, number, string and time are",
    );
    refused(
        "CAN a\nWHEN color = red",
        2,
        6,
        "\"color\" has no type of its own; write color::string, or another type",
    );
    refused(
        "CAN a WHEN color::text = red",
        1,
        19,
        "\"text\" is not a type: array, boolean, date, day, ip, number, string and time are",
    );
    refused(
        "CAN a WHEN method ~ x",
        1,
        19,
        "\"~\" is not an operator: = != < > <= >= LIKE CONTAINS IN are",
    );
    refused(
        "CAN a WHEN sourceip < 10.0.0.1",
        1,
        21,
        "the type ip has no operator <",
    );
    refused(
        "CAN a WHEN activeRoles IN (x)",
        1,
        24,
        "the type array has no operator =",
    );
    refused(
        "CAN a WHEN\n\tsourceip = 10.0.0.300",
        2,
        13,
        "\"10.0.0.300\" is not a value of type ip: write an address or, such as 10.0.0.0/8, a network",
    );
    refused(
        "CAN a WHEN day IN (mon, x)",
        1,
        25,
        "\"x\" is not a value of type day: write the name of a day, 1 (Monday) to 7, or a date",
    );
    refused(
        "CAN a WHEN method like GET",
        1,
        24,
        "\"GET\" is not a regular expression: /…/ or /…/i is",
    );
    refused(
        "CAN a /(/::regex",
        1,
        7,
        "\"(\" is not a regular expression that can be used here",
    );
    refused(
        "CAN a /x/y::regex",
        1,
        7,
        "\"y\" is not a flag of a regular expression: g, i, m, s and u are",
    );
    refused("CAN a \"b", 1, 7, "the quotation is not closed");
    refused(
        "CAN \u{e4}\u{e4} ::",
        1,
        8,
        "expected resources, WHEN or the end of the rule, found \"::\"",
    );
}

#[test]
fn size_and_depth_are_bounded() {
    let deep = format!("CAN a WHEN {}method = x{}", "(".repeat(64), ")".repeat(64));
    assert!(parse(&deep).is_ok());
    let deeper = format!(
        "CAN a WHEN {}method = x{}",
        "(".repeat(4000),
        ")".repeat(4000)
    );
    refused(
        &deeper,
        1,
        76,
        "more than 64 parentheses or NOTs inside each other",
    );
    let nots = format!("CAN a WHEN {}method = x", "not ".repeat(2000));
    assert!(parse(&nots).is_err());
    let patterns = |count: usize| {
        let words = vec!["/x/::regex"; count - 1].join(", ");
        parse(&format!("CAN {words} AND /y/::regex"))
    };
    assert!(patterns(8).is_ok());
    assert_eq!(patterns(9).unwrap_err().problem, Problem::Patterns(8));
    let long = format!("CAN a WHEN {}method = x", "method = x and ".repeat(540));
    let rule = parse(&long).unwrap();
    assert_eq!(parse(&rule.to_string()), Ok(rule));
    assert_eq!(
        parse(&"x".repeat(8193)).unwrap_err().problem,
        Problem::TooLong
    );
}

#[test]
fn rules_allow_what_they_say() {
    let conditions = Conditions::new()
        .with("method", Value::Text("GET".into()))
        .with("sourceip", Value::Address("10.1.2.3".parse().unwrap()))
        .with("fromjob", Value::Boolean(false));
    let request = Request {
        principal: "alice",
        action: "getobject",
        resource: "/alice/stor/a",
        conditions: &conditions,
    };
    for (rule, allowed) in [
        ("CAN getobject", true),
        ("CAN GETOBJECT", false),
        ("CAN putobject", false),
        ("CAN putobject AND getobject", true),
        ("CAN *", true),
        ("CAN get*", true),
        ("CAN /^get/::regex", true),
        ("CAN NOT getobject", false),
        ("CAN NOT putobject", false),
        ("alice CAN getobject", true),
        ("bob CAN getobject", false),
        ("CAN getobject /alice/stor/a", true),
        ("CAN getobject /alice/stor", false),
        ("CAN getobject /alice/stor/*", true),
        ("CAN getobject /alice/*/b", false),
        ("CAN getobject /stor/::regex", true),
        ("CAN getobject ALL", true),
        ("CAN getobject WHEN method = GET", true),
        ("CAN getobject WHEN method != GET", false),
        ("CAN getobject WHEN NOT method != GET", true),
        (
            "CAN getobject WHEN sourceip = 10.0.0.0/8 AND fromjob = false",
            true,
        ),
        (
            "CAN getobject WHEN sourceip = 11.0.0.0/8 OR fromjob = false",
            true,
        ),
        (
            "CAN getobject WHEN sourceip IN (11.0.0.0/8, 10.0.0.0/8)",
            true,
        ),
        (
            "CAN getobject WHEN sourceip IN (11.0.0.0/8, 12.0.0.0/8)",
            false,
        ),
        ("CAN NOT getobject WHEN method = GET", false),
        ("CAN NOT getobject WHEN method = PUT", false),
    ] {
        let rule = parse(rule).unwrap();
        assert_eq!(rule.allows(&request), Ok(allowed), "{rule}");
    }
}

#[test]
fn a_rule_without_its_facts_allows_nothing_and_hinders_nobody() {
    let conditions = Conditions::new().with("method", Value::Text("GET".into()));
    let request = Request {
        principal: "",
        action: "getobject",
        resource: "/a",
        conditions: &conditions,
    };
    let missing = Undecided::Missing {
        name: "user-agent".into(),
    };
    for (rule, outcome) in [
        ("CAN getobject WHEN user-agent = x", Err(missing.clone())),
        (
            "CAN getobject WHEN NOT user-agent = x",
            Err(missing.clone()),
        ),
        (
            "CAN getobject WHEN user-agent = x OR method = GET",
            Err(missing.clone()),
        ),
        (
            "CAN getobject WHEN method = GET OR user-agent = x",
            Ok(true),
        ),
        (
            "CAN getobject WHEN method = PUT AND user-agent = x",
            Ok(false),
        ),
        ("CAN putobject WHEN user-agent = x", Ok(false)),
    ] {
        let rule = parse(rule).unwrap();
        assert_eq!(rule.allows(&request), outcome, "{rule}");
    }
    let wrong = parse("CAN getobject WHEN method::number = 1").unwrap();
    assert!(matches!(
        wrong.allows(&request),
        Err(Undecided::WrongType { .. })
    ));
    let rules = |texts: &[&str]| texts.iter().map(|t| parse(t).unwrap()).collect::<Vec<_>>();
    let undecided = "CAN getobject WHEN user-agent = x";
    assert!(!allows(&rules(&[undecided]), &request));
    assert!(allows(&rules(&[undecided, "CAN getobject"]), &request));
    assert!(
        allows(&rules(&["CAN NOT getobject", "CAN getobject"]), &request),
        "nothing is denied"
    );
    assert!(!allows(&rules(&[]), &request));
}

fn exact() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z/.]{1,8}",
        "(and|OR|Not|can|to|if|when|where|all|in|everything)",
        r#"[ a,():*"\\/\[\]:\n\u{1}\u{e4}]{0,8}"#,
        "\\PC{0,6}",
    ]
}

fn word() -> impl Strategy<Value = Word> {
    prop_oneof![
        4 => exact().prop_map(Word::Exact),
        2 => r"[a-z/\\]{0,4}\*[a-z/*]{1,4}".prop_map(|text| Word::Fuzzy(Fuzzy::of_word(&text))),
        1 => r"/([a-z(]|[a-z,.]|\\/|\[/\]){1,4}/[ims]?".prop_filter_map("a pattern", |text| {
            Some(Word::Regex(Regex::parse(&text).ok()?))
        }),
    ]
}

fn list() -> impl Strategy<Value = List> {
    prop_oneof![
        1 => Just(List::Everything),
        4 => prop::collection::vec(word(), 1..4).prop_map(List::Words),
    ]
}

fn operand_of(kind: Type, operator: Operator) -> BoxedStrategy<Operand> {
    let texts: BoxedStrategy<String> = match (kind, operator) {
        (Type::String, Operator::Like) => "/[a-z ,]{1,5}/i?".boxed(),
        (Type::String | Type::Array, _) => exact().boxed(),
        (Type::Boolean, _) => "(true|false)".boxed(),
        (Type::Number, _) => proptest::arbitrary::any::<i32>()
            .prop_map(|n| n.to_string())
            .boxed(),
        (Type::Ip, _) => proptest::arbitrary::any::<std::net::IpAddr>()
            .prop_map(|ip| ip.to_string())
            .boxed(),
        (Type::Date, _) => "20[0-9]{2}-0[1-9]-1[0-9](T0[0-9]:15:30Z)?".boxed(),
        (Type::Day, _) => "([1-7]|Mon|sunday|2026-11-21)".boxed(),
        (Type::Time, _) => "1[0-9]:[0-5][0-9](:[0-5][0-9])?".boxed(),
    };
    texts
        .prop_map(move |text| Operand::parse(kind, operator, &text).unwrap())
        .boxed()
}

fn test_of_any_type() -> impl Strategy<Value = Test> {
    let operators = [
        Operator::Equal,
        Operator::NotEqual,
        Operator::Less,
        Operator::Greater,
        Operator::LessOrEqual,
        Operator::GreaterOrEqual,
        Operator::Like,
        Operator::Contains,
    ];
    let kinds = [
        Type::Array,
        Type::Boolean,
        Type::Date,
        Type::Day,
        Type::Ip,
        Type::Number,
        Type::String,
        Type::Time,
    ];
    let all: Vec<_> = kinds
        .iter()
        .flat_map(|kind| operators.iter().map(move |operator| (*kind, *operator)))
        .filter(|(kind, operator)| kind.has(*operator))
        .collect();
    let compared = prop::sample::select(all).prop_flat_map(|(kind, operator)| {
        let count = if operator == Operator::Equal {
            1..4
        } else {
            1..2_usize
        };
        let operands = prop::collection::vec(operand_of(kind, operator), count);
        operands.prop_map(move |mut operands| match operands.len() {
            1 => (kind, Comparison::With(operator, operands.remove(0))),
            _ => (kind, Comparison::In(operands)),
        })
    });
    (exact(), compared).prop_map(|(name, (kind, comparison))| Test {
        says_kind: Type::of_name(&name) != Some(kind),
        name,
        kind,
        comparison,
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    let test = test_of_any_type().prop_map(Condition::Test);
    test.prop_recursive(4, 12, 2, |inner| {
        let pair = || {
            (
                inner.clone().prop_map(Box::new),
                inner.clone().prop_map(Box::new),
            )
        };
        prop_oneof![
            pair().prop_map(|(a, b)| Condition::And(a, b)),
            pair().prop_map(|(a, b)| Condition::Or(a, b)),
            inner.clone().prop_map(|a| Condition::Not(Box::new(a))),
        ]
    })
}

fn rule_of_any_kind() -> impl Strategy<Value = Rule> {
    let effect = prop_oneof![Just(Effect::Can), Just(Effect::CanNot)];
    let parts = (
        prop::option::of(list()),
        effect,
        list(),
        prop::option::of(list()),
        prop::option::of(condition()),
    );
    let made = parts.prop_map(|(principals, effect, actions, resources, condition)| Rule {
        principals,
        effect,
        actions,
        resources,
        condition,
    });
    made.prop_filter("few patterns", |rule| {
        let text = rule.to_string();
        text.matches("::regex").count() + text.matches(" LIKE ").count() <= PATTERNS_MAX
    })
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(rule in rule_of_any_kind()) {
        let text = rule.to_string();
        prop_assert_eq!(parse(&text), Ok(rule), "{}", text);
    }

    #[test]
    fn nothing_makes_the_parser_panic(text in "\\PC{0,60}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.column <= text.chars().count() + 1);
        }
    }

    #[test]
    fn rules_of_real_words_survive_printing(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "CAN", "NOT", "a", "/b/*", "AND", "OR", ",", "*", "WHEN", "method", "=", "x", "IN", "(", ")",
                "\"q\"", "/r/::regex", "day", "mon", "::", "string", "LIKE", "/l/", ":",
            ]),
            0..14,
        ),
    ) {
        let text = words.join(" ").replace(" :: ", "::");
        let text = format!("CAN {text}");
        if let Ok(rule) = parse(&text) {
            prop_assert_eq!(parse(&rule.to_string()), Ok(rule));
        }
    }
}
