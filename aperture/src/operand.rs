//! Values that rules compare with. A text is read once, when the rule is parsed.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv6Addr};

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use crate::error::Problem;
use crate::evaluate::Value;
use crate::kind::{Operator, Type};
use crate::list::Regex;

/// One value, and its text in the rule.
#[derive(Clone, Debug)]
pub struct Operand {
    text: String,
    meaning: Meaning,
}

#[derive(Clone, Debug)]
enum Meaning {
    Text,
    Pattern(Regex),
    Boolean(bool),
    Number(f64),
    /// Milliseconds since 1970.
    Date(i64),
    /// 1 is Monday, 7 is Sunday.
    Day(i8),
    /// Seconds since midnight, UTC.
    Time(i64),
    Network(Network),
}

/// Equal when they are written alike: what is written alike means the same to the same type.
impl PartialEq for Operand {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Operand {}

impl Operand {
    /// Errors: the type has no such operator, or the text is not a value for it.
    pub(crate) fn parse(kind: Type, operator: Operator, text: &str) -> Result<Self, Problem> {
        if !kind.has(operator) {
            return Err(Problem::Operator { kind, operator });
        }
        let invalid = |reason: &'static str| Problem::Value {
            kind,
            text: text.to_owned(),
            reason,
        };
        let meaning = match kind {
            Type::Array => Meaning::Text,
            Type::String if operator == Operator::Like => Meaning::Pattern(Regex::parse(text)?),
            Type::String => Meaning::Text,
            Type::Boolean => match text {
                "true" => Meaning::Boolean(true),
                "false" => Meaning::Boolean(false),
                _ => return Err(invalid("true and false are")),
            },
            Type::Number => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Meaning::Number(number),
                _ => return Err(invalid("write digits, such as -1.5")),
            },
            Type::Ip => {
                let network = Network::parse(text);
                let why = "write an address or, such as 10.0.0.0/8, a network";
                Meaning::Network(network.ok_or_else(|| invalid(why))?)
            }
            Type::Date => {
                let moment = moment(text);
                let why = "write a date such as 2026-01-31 or 2026-01-31T23:59:59Z";
                Meaning::Date(moment.ok_or_else(|| invalid(why))?)
            }
            Type::Time => {
                let time = clock_time(text).or_else(|| moment(text).map(seconds_of_day));
                let why = "write a time such as 23:59:59, or a date and a time";
                Meaning::Time(time.ok_or_else(|| invalid(why))?)
            }
            Type::Day => {
                let day = day(text).or_else(|| moment(text).map(weekday));
                let why = "write the name of a day, 1 (Monday) to 7, or a date";
                Meaning::Day(day.ok_or_else(|| invalid(why))?)
            }
        };
        let text = text.to_owned();
        Ok(Self { text, meaning })
    }

    /// As the rule has it, without quotes.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether `value operator self`. `None`: the value is not of the type this was parsed for.
    pub(crate) fn compare(&self, operator: Operator, value: &Value) -> Option<bool> {
        let ordering = match (&self.meaning, value) {
            (Meaning::Text, Value::Strings(all)) => {
                return (operator == Operator::Contains).then(|| all.contains(&self.text));
            }
            (Meaning::Pattern(pattern), Value::Text(text)) => return Some(pattern.matches(text)),
            (Meaning::Network(network), Value::Address(address)) => {
                return match operator {
                    Operator::Equal => Some(network.contains(*address)),
                    Operator::NotEqual => Some(!network.contains(*address)),
                    _ => None,
                };
            }
            (Meaning::Text, Value::Text(text)) => text.as_str().cmp(&self.text),
            (Meaning::Boolean(wanted), Value::Boolean(is)) => is.cmp(wanted),
            (Meaning::Number(wanted), Value::Number(is)) => is.partial_cmp(wanted)?,
            (Meaning::Date(wanted), Value::Moment(is)) => is.cmp(wanted),
            (Meaning::Day(wanted), Value::Moment(is)) => weekday(*is).cmp(wanted),
            (Meaning::Time(wanted), Value::Moment(is)) => seconds_of_day(*is).cmp(wanted),
            _ => return None,
        };
        Some(match operator {
            Operator::Equal => ordering == Ordering::Equal,
            Operator::NotEqual => ordering != Ordering::Equal,
            Operator::Less => ordering == Ordering::Less,
            Operator::Greater => ordering == Ordering::Greater,
            Operator::LessOrEqual => ordering != Ordering::Greater,
            Operator::GreaterOrEqual => ordering != Ordering::Less,
            Operator::Like | Operator::Contains => return None,
        })
    }
}

/// An address with a prefix. IPv4 inside IPv6 (`::ffff:0:0/96`) is IPv4; other families are never equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    V4 { bits: u32, mask: u32 },
    V6 { bits: u128, mask: u128 },
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => {
                let digits = prefix.bytes().all(|b| b.is_ascii_digit());
                let prefix = digits.then(|| prefix.parse::<u32>().ok())??;
                (address, Some(prefix))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (address, prefix) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), inner @ IpAddr::V4(_)) if prefix.is_none_or(|p| p >= 96) => {
                (inner, prefix.map(|p| p - 96))
            }
            (address, _) => (address, prefix),
        };
        match address {
            IpAddr::V4(address) => {
                let prefix = prefix.unwrap_or(32);
                let mask = u32::MAX
                    .checked_shl(32_u32.checked_sub(prefix)?)
                    .unwrap_or(0);
                let bits = u32::from(address) & mask;
                Some(Self::V4 { bits, mask })
            }
            IpAddr::V6(address) => {
                let prefix = prefix.unwrap_or(128);
                let mask = u128::MAX
                    .checked_shl(128_u32.checked_sub(prefix)?)
                    .unwrap_or(0);
                let bits = Ipv6Addr::to_bits(address) & mask;
                Some(Self::V6 { bits, mask })
            }
        }
    }

    fn contains(self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::V4 { bits, mask }, IpAddr::V4(address)) => u32::from(address) & mask == bits,
            (Self::V6 { bits, mask }, IpAddr::V6(address)) => address.to_bits() & mask == bits,
            _ => false,
        }
    }
}

/// Milliseconds since 1970 of a date as ISO 8601 or RFC 2822 (so also as HTTP) has it; without an offset, UTC.
fn moment(text: &str) -> Option<i64> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_millisecond());
    }
    if let Ok(at) = jiff::fmt::rfc2822::parse(text) {
        return Some(at.timestamp().as_millisecond());
    }
    let whole = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    let looks_like_a_date =
        whole.len() >= 10 && whole.as_bytes()[..4].iter().all(u8::is_ascii_digit);
    if !looks_like_a_date {
        return None;
    }
    let civil = whole.parse::<DateTime>().ok();
    let civil = civil.or_else(|| Some(whole.parse::<Date>().ok()?.at(0, 0, 0, 0)))?;
    let zoned = civil.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_millisecond())
}

/// `hh:mm:ss` or `hh:mm`.
fn clock_time(text: &str) -> Option<i64> {
    let mut seconds = 0;
    let mut fields = 0;
    for (field, limit) in text.split(':').zip([24, 60, 60, 0]) {
        let digits = (1..=2).contains(&field.len()) && field.bytes().all(|b| b.is_ascii_digit());
        let number = digits.then(|| field.parse::<i64>().ok())??;
        if number >= limit {
            return None;
        }
        seconds = seconds * 60 + number;
        fields += 1;
    }
    match fields {
        2 => Some(seconds * 60),
        3 => Some(seconds),
        _ => None,
    }
}

fn day(text: &str) -> Option<i8> {
    Some(match text.to_ascii_lowercase().as_str() {
        "1" | "monday" | "mon" | "m" => 1,
        "2" | "tuesday" | "tue" | "t" => 2,
        "3" | "wednesday" | "wed" | "w" => 3,
        "4" | "thursday" | "thu" | "th" => 4,
        "5" | "friday" | "fri" | "f" => 5,
        "6" | "saturday" | "sat" | "s" => 6,
        "7" | "sunday" | "sun" | "su" => 7,
        _ => return None,
    })
}

/// Of a moment that the calendar does not reach: that of its nearest end.
fn utc(millis: i64) -> Zoned {
    let clamped = millis.clamp(
        Timestamp::MIN.as_millisecond(),
        Timestamp::MAX.as_millisecond(),
    );
    let at = Timestamp::from_millisecond(clamped).unwrap_or_default();
    at.to_zoned(TimeZone::fixed(Offset::UTC))
}

fn weekday(millis: i64) -> i8 {
    utc(millis).weekday().to_monday_one_offset()
}

fn seconds_of_day(millis: i64) -> i64 {
    let time: Time = utc(millis).time();
    i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second())
}

#[cfg(test)]
#[path = "operand/tests.rs"]
mod tests;
