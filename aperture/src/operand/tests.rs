//! Every type with every kind of value, good and bad.

use super::*;

fn compare(kind: &str, value: Value, operator: &str, text: &str) -> Option<bool> {
    let kind = Type::parse(kind).unwrap();
    let operator = Operator::parse(operator).unwrap();
    let operand = Operand::parse(kind, operator, text).unwrap();
    operand.compare(operator, &value)
}

fn refused(kind: &str, operator: &str, text: &str) -> bool {
    let kind = Type::parse(kind).unwrap();
    Operand::parse(kind, Operator::parse(operator).unwrap(), text).is_err()
}

/// 2026-11-21T10:15:30.5Z, a Saturday.
const MOMENT: i64 = 1_795_256_130_500;

#[test]
fn addresses_and_networks() {
    for (address, network, equal) in [
        ("10.1.2.3", "10.0.0.0/8", true),
        ("11.1.2.3", "10.0.0.0/8", false),
        ("10.1.2.3", "10.9.9.9/8", true),
        ("10.1.2.3", "10.1.2.3", true),
        ("10.1.2.3", "10.1.2.4", false),
        ("10.1.2.3", "10.1.2.3/32", true),
        ("10.1.2.3", "0.0.0.0/0", true),
        ("fd00::1", "fd00::/8", true),
        ("fe00::1", "fd00::/8", false),
        ("fd00::1", "::/0", true),
        ("::ffff:10.1.2.3", "10.0.0.0/8", true),
        ("10.1.2.3", "::ffff:10.0.0.0/104", true),
        ("10.1.2.3", "::ffff:10.1.2.3", true),
        ("11.1.2.3", "::ffff:10.0.0.0/104", false),
        ("10.1.2.3", "fd00::/8", false),
        ("fd00::1", "0.0.0.0/0", false),
    ] {
        let value = || Value::Address(address.parse().unwrap());
        assert_eq!(
            compare("ip", value(), "=", network),
            Some(equal),
            "{address} {network}"
        );
        assert_eq!(
            compare("ip", value(), "!=", network),
            Some(!equal),
            "{address} {network}"
        );
    }
    for bad in [
        "",
        "10.0.0",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "10.0.0.0/8/8",
        "::/129",
        "a",
        "10.0.0.256",
        "10.0.0.0/4294967296",
    ] {
        assert!(refused("ip", "=", bad), "{bad}");
    }
}

#[test]
fn days_have_names_and_numbers() {
    let on = |operator: &str, text: &str| compare("day", Value::Moment(MOMENT), operator, text);
    for saturday in [
        "6",
        "Saturday",
        "SAT",
        "s",
        "2026-11-21",
        "2024-01-06T23:59:59Z",
    ] {
        assert_eq!(on("=", saturday), Some(true), "{saturday}");
    }
    for other in ["1", "sunday", "Su", "m", "th", "2026-11-20"] {
        assert_eq!(on("=", other), Some(false), "{other}");
    }
    assert_eq!(on("<", "sunday"), Some(true));
    assert_eq!(on(">=", "fri"), Some(true));
    for bad in ["0", "8", "", "mo", "someday"] {
        assert!(refused("day", "=", bad), "{bad}");
    }
}

#[test]
fn times_ignore_the_date() {
    let at = |operator: &str, text: &str| compare("time", Value::Moment(MOMENT), operator, text);
    assert_eq!(at("=", "10:15:30"), Some(true));
    assert_eq!(at("=", "2001-01-01T10:15:30Z"), Some(true));
    assert_eq!(at("=", "2001-01-01T12:15:30+02:00"), Some(true));
    assert_eq!(at(">", "10:15"), Some(true));
    assert_eq!(at("<", "10:15"), Some(false));
    assert_eq!(at("<=", "9:0:0"), Some(false));
    assert_eq!(at("!=", "23:59:59"), Some(true));
    for bad in [
        "", "24:00:00", "10", "10:60", "10:00:60", "1:2:3:4", "-1:00", "10:", "::", "noon",
        "010:00",
    ] {
        assert!(refused("time", "=", bad), "{bad}");
    }
}

#[test]
fn dates_come_in_the_usual_forms() {
    let at = |operator: &str, text: &str| compare("date", Value::Moment(MOMENT), operator, text);
    assert_eq!(at("=", "2026-11-21T10:15:30.500Z"), Some(true));
    assert_eq!(at("=", "2026-11-21T11:15:30.500+01:00"), Some(true));
    assert_eq!(at(">", "2026-11-21"), Some(true));
    assert_eq!(at("<", "2026-11-22"), Some(true));
    assert_eq!(at(">", "2026-11"), Some(true));
    assert_eq!(at("<", "2027"), Some(true));
    assert_eq!(at(">", "2026-11-21T10:15:30"), Some(true));
    assert_eq!(at(">", "2026-11-21 10:15"), Some(true));
    assert_eq!(at(">", "Sat, 21 Nov 2026 10:15:30 GMT"), Some(true));
    assert_eq!(at("<", "Sat, 21 Nov 2026 10:15:31 GMT"), Some(true));
    for bad in [
        "",
        "yesterday",
        "2026-13-01",
        "2026-02-30",
        "99",
        "10:00:00",
        "2026-11-2x",
    ] {
        assert!(refused("date", "=", bad), "{bad}");
    }
}

#[test]
fn numbers_booleans_strings_and_arrays() {
    assert_eq!(compare("number", Value::Number(1.5), "<", "2"), Some(true));
    assert_eq!(
        compare("number", Value::Number(10.0), ">", "9"),
        Some(true),
        "not as text"
    );
    assert_eq!(compare("number", Value::Number(f64::NAN), "=", "9"), None);
    assert_eq!(
        compare("boolean", Value::Boolean(true), "=", "true"),
        Some(true)
    );
    assert_eq!(
        compare("boolean", Value::Boolean(true), "!=", "true"),
        Some(false)
    );
    let text = |text: &str| Value::Text(text.to_owned());
    assert_eq!(compare("string", text("abc"), "=", "abc"), Some(true));
    assert_eq!(compare("string", text("abc"), "=", "ABC"), Some(false));
    assert_eq!(compare("string", text("abc"), "<", "abd"), Some(true));
    assert_eq!(
        compare("string", text("curl/8"), "like", "/^CURL/i"),
        Some(true)
    );
    assert_eq!(
        compare("string", text("xcurl"), "like", "/^curl/"),
        Some(false)
    );
    let roles = || Value::Strings(vec!["a".into(), "b".into()]);
    assert_eq!(compare("array", roles(), "contains", "b"), Some(true));
    assert_eq!(compare("array", roles(), "contains", "c"), Some(false));
    for (kind, operator, bad) in [
        ("number", "=", ""),
        ("number", "=", "x"),
        ("number", "=", "inf"),
        ("number", "=", "NaN"),
        ("boolean", "=", "TRUE"),
        ("boolean", "<", "true"),
        ("string", "like", "curl"),
        ("string", "like", "/(/"),
        ("string", "contains", "a"),
        ("array", "=", "a"),
    ] {
        assert!(refused(kind, operator, bad), "{kind} {operator} {bad}");
    }
}

#[test]
fn a_value_of_another_type_decides_nothing() {
    let text = || Value::Text("10.0.0.1".into());
    assert_eq!(compare("ip", text(), "=", "10.0.0.1"), None);
    assert_eq!(compare("ip", text(), "!=", "10.0.0.1"), None);
    assert_eq!(compare("number", text(), "!=", "1"), None);
    assert_eq!(compare("string", Value::Boolean(true), "=", "true"), None);
    assert_eq!(compare("array", text(), "contains", "10.0.0.1"), None);
}

#[test]
fn moments_beyond_the_calendar_do_no_harm() {
    for millis in [i64::MIN, i64::MAX] {
        assert!((1..=7).contains(&weekday(millis)));
        assert!((0..86_400).contains(&seconds_of_day(millis)));
    }
}
