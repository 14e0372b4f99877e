//! Numbers as JavaScript reads and prints them, because that is what `maggr` has always done.
//!
//! Printing with a number of digits rounds the exact value of the double, and halves away from zero; Rust's
//! own formatting rounds halves to even.

/// The number at the beginning of a text, after white space; `None` if there is none. What stands behind the
/// number does not matter. Source: `parseFloat` of ECMAScript.
pub(super) fn parse(text: &[u8]) -> Option<f64> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let signed = |at: usize| at + usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));

    let start = signed(0);
    if text.get(start..)?.starts_with("Infinity") {
        return text.get(..start + "Infinity".len())?.parse().ok();
    }
    let whole = digits(start);
    let mut end = start + whole;
    let mut fraction = 0;
    if bytes.get(end) == Some(&b'.') {
        fraction = digits(end + 1);
        end += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let exponent = signed(end + 1);
        if digits(exponent) > 0 {
            end = exponent + digits(exponent);
        }
    }
    text.get(..end)?.parse().ok()
}

/// The shortest text that is read back as the same number. Source: `Number.prototype.toString`.
pub(super) fn to_text(x: f64) -> String {
    if x == 0.0 {
        return "0".to_owned();
    }
    if !x.is_finite() {
        return not_finite(x).to_owned();
    }
    let shortest = format!("{:e}", x.abs());
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let mut decimal = Decimal {
        digits: digits.bytes().filter(|byte| *byte != b'.').collect(),
        point: exponent.parse::<i32>().unwrap_or(0) + 1,
    };
    // Of two that are equally near JavaScript takes the even one, and Rust the larger.
    let exact = Decimal::exact(x);
    if let Some((b'5', lower)) = exact.digits.split_last()
        && lower.len() == decimal.digits.len()
        && lower.last().is_some_and(|digit| digit % 2 == 0)
    {
        decimal = Decimal {
            digits: lower.to_vec(),
            point: exact.point,
        };
    }
    let text = match decimal.point {
        -5..=21 => decimal.plain(),
        _ => decimal.scientific(1),
    };
    sign(x) + &text
}

/// What `x` is called if it is not finite.
pub(super) fn not_finite(x: f64) -> &'static str {
    match x {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

/// With that many digits behind the point. `x` is finite. Source: `Number.prototype.toFixed`.
pub(super) fn to_fixed(x: f64, digits: usize) -> String {
    if x.abs() >= 1e21 {
        return to_text(x);
    }
    let decimal = Decimal::exact(x).rounded(|point| point + to_i32(digits));
    sign(x) + &decimal.plain()
}

/// With one digit before the point and that many behind, then the exponent, of at least `width` digits. `x` is
/// finite. Source: `Number.prototype.toExponential`.
pub(super) fn to_exponential(x: f64, digits: usize, width: usize) -> String {
    let decimal = Decimal::exact(x).rounded(|_| to_i32(digits) + 1);
    sign(x) + &decimal.scientific(width)
}

/// With that many digits, at least one, and an exponent of at least `width` digits where that is shorter.
/// `x` is finite. Source: `%g` of C, and `Number.prototype.toPrecision`.
pub(super) fn to_general(x: f64, digits: usize, width: usize) -> String {
    let digits = to_i32(digits).max(1);
    let decimal = Decimal::exact(x).rounded(|_| digits);
    let text = if decimal.point > -4 && decimal.point <= digits {
        decimal.plain()
    } else {
        decimal.scientific(width)
    };
    sign(x) + &text
}

/// The whole part of `x` in base 2, 8 or 16, without a sign. `x` is finite.
pub(super) fn to_radix(x: f64, radix: u8) -> String {
    let mut rest = x.abs().trunc();
    let radix = f64::from(radix);
    let mut digits = Vec::new();
    // Exact, because dividing by a power of two is.
    loop {
        let digit = rest % radix;
        digits.push(b"0123456789abcdef"[digit as usize]);
        rest = (rest - digit) / radix;
        if rest == 0.0 {
            break;
        }
    }
    digits.reverse();
    ascii(digits)
}

fn sign(x: f64) -> String {
    if x < 0.0 { "-" } else { "" }.to_owned()
}

/// Nobody asks for two thousand million digits: formats are checked when they are read.
fn to_i32(digits: usize) -> i32 {
    i32::try_from(digits).unwrap_or(i32::MAX / 2)
}

fn ascii(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}

/// `0.DIGITS × 10^point`, as ASCII digits, the first of which is 0 only for 0 itself.
struct Decimal {
    digits: Vec<u8>,
    point: i32,
}

impl Decimal {
    /// Every digit of the absolute value of a finite double, without zeros at the end.
    fn exact(x: f64) -> Self {
        let exponent = i32::try_from(x.to_bits() >> 52 & 0x7ff).unwrap_or(0);
        // Each binary digit behind the point is one decimal digit there.
        let behind = (1075 - exponent.max(1)).clamp(0, 1074);
        let text = format!("{:.*}", usize::try_from(behind).unwrap_or(0), x.abs());
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let mut digits = [whole, fraction].concat().into_bytes();
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        if leading == digits.len() {
            return Self {
                digits: vec![b'0'],
                point: 1,
            };
        }
        digits.drain(..leading);
        let end = digits.iter().rposition(|digit| *digit != b'0');
        digits.truncate(end.map_or(0, |end| end + 1));
        let point = to_i32(whole.len()) - to_i32(leading);
        Self { digits, point }
    }

    /// Rounded to as many digits as `keep` says for where the point is; missing ones are zeros.
    fn rounded(mut self, keep: impl Fn(i32) -> i32) -> Self {
        let kept = keep(self.point);
        let Ok(length) = usize::try_from(kept) else {
            // Less than half of the last digit that is wanted.
            return Self {
                digits: vec![b'0'],
                point: 1,
            }
            .padded(keep);
        };
        let up = self.digits.get(length).is_some_and(|digit| *digit >= b'5');
        self.digits.truncate(length);
        if up {
            let nines = self
                .digits
                .iter()
                .rev()
                .take_while(|digit| **digit == b'9')
                .count();
            let last = self.digits.len() - nines;
            self.digits.truncate(last);
            match self.digits.last_mut() {
                Some(digit) => *digit += 1,
                None => {
                    self.digits.push(b'1');
                    self.point += 1;
                }
            }
        } else if self.digits.is_empty() {
            self = Self {
                digits: vec![b'0'],
                point: 1,
            };
        }
        self.padded(keep)
    }

    fn padded(mut self, keep: impl Fn(i32) -> i32) -> Self {
        let length = usize::try_from(keep(self.point)).unwrap_or(0);
        self.digits.resize(length.max(1), b'0');
        self
    }

    fn plain(&self) -> String {
        let length = to_i32(self.digits.len());
        let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
        let digits = ascii(self.digits.clone());
        if self.point <= 0 {
            return format!("0.{}{digits}", zeros(-self.point));
        }
        let Some((whole, fraction)) = usize::try_from(self.point)
            .ok()
            .filter(|_| self.point < length)
            .and_then(|point| digits.split_at_checked(point))
        else {
            return digits + &zeros(self.point - length);
        };
        format!("{whole}.{fraction}")
    }

    fn scientific(&self, width: usize) -> String {
        let digits = ascii(self.digits.clone());
        let (first, rest) = digits.split_at_checked(1).unwrap_or((&digits, ""));
        let point = if rest.is_empty() { "" } else { "." };
        let is_zero = self.digits.iter().all(|digit| *digit == b'0');
        let exponent = if is_zero { 0 } else { self.point - 1 };
        let sign = if exponent < 0 { '-' } else { '+' };
        let exponent = exponent.unsigned_abs();
        format!("{first}{point}{rest}e{sign}{exponent:0width$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What Node says, here and below.
    #[test]
    fn numbers_print_as_in_javascript() {
        for (x, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (49.0, "49"),
            (9.8, "9.8"),
            (36.7_f64.sqrt(), "6.058052492344384"),
            (0.1 + 0.2, "0.30000000000000004"),
            (-1e-6, "-0.000001"),
            (1e-7, "1e-7"),
            (1.25e-7, "1.25e-7"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            // Exactly between two: what ends in .125, .25 and .75.
            (219_307_138_143_120.13, "219307138143120.12"),
            (1_433_602_545_846_324.3, "1433602545846324.2"),
            (1_433_602_545_846_324.8, "1433602545846324.8"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(to_text(x), text);
        }
    }

    #[test]
    fn numbers_are_read_as_in_javascript() {
        for (text, x) in [
            ("1", 1.0),
            (" \t+1.5e3x", 1500.0),
            ("-.5", -0.5),
            ("5.", 5.0),
            ("5.e1", 50.0),
            ("1e", 1.0),
            ("1e+", 1.0),
            ("1.2.3", 1.2),
            ("0x10", 0.0),
            ("1_000", 1.0),
            ("-Infinityx", f64::NEG_INFINITY),
            ("1e999", f64::INFINITY),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(x), "{text}");
        }
        for text in [
            "", " ", "baz", ".", "-", "+.e1", "e5", "NaN", "inf", "infinity", "- 1", "é",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn halves_are_rounded_away_from_zero_and_only_exact_ones() {
        for (x, digits, text) in [
            (0.5, 0, "1"),
            (2.5, 0, "3"),
            (-2.5, 0, "-3"),
            (1.005, 2, "1.00"),
            (1.45, 1, "1.4"),
            (8.345, 2, "8.35"),
            (0.000_001, 7, "0.0000010"),
            (9.995, 2, "9.99"),
            (99.99, 1, "100.0"),
            (0.04, 1, "0.0"),
            (0.06, 1, "0.1"),
            (0.004, 1, "0.0"),
            (-0.001, 2, "-0.00"),
            (1.23e20, 2, "123000000000000000000.00"),
            (0.1, 30, "0.100000000000000005551115123126"),
            (0.0, 2, "0.00"),
        ] {
            assert_eq!(to_fixed(x, digits), text, "{x}");
        }
        assert_eq!(to_fixed(1e21, 2), "1e+21");
    }

    #[test]
    fn exponents_and_bases() {
        assert_eq!(to_exponential(12345.678, 6, 2), "1.234568e+04");
        assert_eq!(to_exponential(0.0, 0, 2), "0e+00");
        assert_eq!(to_exponential(9.5, 0, 2), "1e+01");
        assert_eq!(to_exponential(-2.5e-9, 0, 1), "-3e-9");
        assert_eq!(to_general(123_456_789.0, 6, 2), "1.23457e+08");
        assert_eq!(to_general(999_999.5, 6, 2), "1.00000e+06");
        assert_eq!(to_general(0.0001, 3, 2), "0.000100");
        assert_eq!(to_general(0.00001, 3, 2), "1.00e-05");
        assert_eq!(to_general(0.0, 3, 2), "0.00");
        assert_eq!(to_radix(255.9, 16), "ff");
        assert_eq!(to_radix(0.0, 8), "0");
        assert_eq!(to_radix(2.0_f64.powi(80), 16), "100000000000000000000");
    }

    /// What was printed is read back as the same number, whatever its bits.
    #[test]
    fn numbers_survive_being_printed() {
        use rand::{RngCore as _, SeedableRng as _};
        let seed = rand::random();
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        for _ in 0..20_000 {
            let x = f64::from_bits(random.next_u64());
            if x.is_finite() {
                assert_eq!(parse(to_text(x).as_bytes()), Some(x), "seed {seed}");
            }
        }
    }
}
