//! Formats of `maggr`: those of C's printf for one number, converted by the rules of JavaScript.
//!
//! The reference prints with a package that makes slips where flags meet (`%05d` of -5 is `-00005` there, `%#06x`
//! of 4 is `0000x4`, `%g` leaves zeros, `%.2s` cuts nothing); here these are what they are in C.
//! What is not finite has no digits, and is printed as `%s` prints it.

use crate::tools::number;

/// Nobody reads more; a format is no way to use up memory.
const WIDTH_MAX: usize = 1_000;
/// Source: `Number.prototype.toFixed`.
const PRECISION_MAX: usize = 100;
/// Of `%e`, `%f` and `%g`. Source: printf(3).
const PRECISION: usize = 6;

/// Text with at most one number in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    before: String,
    conversion: Option<Conversion>,
    after: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Conversion {
    left: bool,
    zeros: bool,
    alternative: bool,
    /// In front of what is not negative.
    plus: &'static str,
    width: usize,
    precision: Option<usize>,
    letter: char,
}

impl Format {
    /// A `%` that begins no conversion stands for itself, as in the reference.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut format = Self {
            before: String::new(),
            conversion: None,
            after: String::new(),
        };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(behind) = rest.strip_prefix("%%") {
                format.text().push('%');
                rest = behind;
            } else if let Some((conversion, behind)) = conversion(rest) {
                let size = conversion.precision.unwrap_or(0);
                if conversion.width > WIDTH_MAX || size > PRECISION_MAX {
                    return Err(format!("too wide a format: \"{text}\""));
                }
                if format.conversion.replace(conversion).is_some() {
                    return Err(format!("more than one conversion: \"{text}\""));
                }
                rest = behind;
            } else {
                format.text().push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
        Ok(format)
    }

    fn text(&mut self) -> &mut String {
        match self.conversion {
            None => &mut self.before,
            Some(_) => &mut self.after,
        }
    }

    pub(super) fn print(&self, x: f64) -> String {
        let number = self
            .conversion
            .as_ref()
            .map(|conversion| conversion.print(x));
        [&self.before, &number.unwrap_or_default(), &self.after]
            .map(String::as_str)
            .concat()
    }
}

/// The conversion a text begins with, and what is behind it.
fn conversion(text: &str) -> Option<(Conversion, &str)> {
    let mut rest = text.strip_prefix('%')?;
    let mut conversion = Conversion::default();
    loop {
        match rest.chars().next()? {
            '-' => conversion.left = true,
            '0' => conversion.zeros = true,
            '#' => conversion.alternative = true,
            '+' => conversion.plus = "+",
            ' ' if conversion.plus.is_empty() => conversion.plus = " ",
            ' ' => {}
            _ => break,
        }
        rest = rest.get(1..)?;
    }
    (conversion.width, rest) = digits(rest)?;
    if let Some(behind) = rest.strip_prefix('.') {
        let (precision, behind) = digits(behind)?;
        conversion.precision = Some(precision);
        rest = behind;
    }
    // How big a number of C would be.
    let rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
    conversion.letter = rest.chars().next()?;
    "sdiuboxXeEfFgG"
        .contains(conversion.letter)
        .then_some(conversion)
        .zip(rest.get(1..))
}

/// The number a text begins with, 0 if it begins with none, and what is behind it, which must be something.
fn digits(text: &str) -> Option<(usize, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, behind) = text.split_at_checked(end)?;
    let too_large = if digits.is_empty() { 0 } else { usize::MAX };
    Some((digits.parse().unwrap_or(too_large), behind))
}

impl Conversion {
    fn print(&self, x: f64) -> String {
        if !x.is_finite() || self.letter == 's' {
            let text = if x.is_finite() {
                number::to_text(x)
            } else {
                number::not_finite(x).to_owned()
            };
            let length = match self.letter {
                's' => self.precision.unwrap_or(text.len()),
                _ => text.len(),
            };
            return self.padded("", text.get(..length).unwrap_or(&text), false);
        }
        let (negative, digits) = match self.letter {
            'd' | 'i' | 'u' | 'b' | 'o' | 'x' | 'X' => self.integer(x.trunc()),
            _ => self.double(x),
        };
        let upper = matches!(self.letter, 'X' | 'E' | 'G');
        let digits = if upper {
            digits.to_ascii_uppercase()
        } else {
            digits
        };
        let sign = match (negative, self.letter) {
            (true, _) => "-",
            (false, 'u' | 'b' | 'o' | 'x' | 'X') => "",
            (false, _) => self.plus,
        };
        let base = match self.letter {
            'x' if self.alternative => "0x",
            'X' if self.alternative => "0X",
            _ => "",
        };
        // A precision says how many digits a whole number has, so there are no zeros to add.
        let whole =
            self.precision.is_some() && !matches!(self.letter, 'e' | 'E' | 'f' | 'F' | 'g' | 'G');
        self.padded(&[sign, base].concat(), &digits, self.zeros && !whole)
    }

    /// Whether it is negative, and its digits.
    fn integer(&self, x: f64) -> (bool, String) {
        // Where there is no sign, a negative number is what 32 bits hold of it.
        let unsigned = !matches!(self.letter, 'd' | 'i');
        let x = if unsigned && x < 0.0 {
            x + 4_294_967_296.0
        } else {
            x
        };
        let mut digits = match self.letter {
            'b' => number::to_radix(x, 2),
            'o' => number::to_radix(x, 8),
            'x' | 'X' => number::to_radix(x, 16),
            _ => number::to_text(x.abs()),
        };
        if x == 0.0 && self.precision == Some(0) {
            digits.clear();
        }
        let missing = self.precision.unwrap_or(1).saturating_sub(digits.len());
        digits.insert_str(0, &"0".repeat(missing));
        if self.letter == 'o' && self.alternative && !digits.starts_with('0') {
            digits.insert(0, '0');
        }
        (x < 0.0, digits)
    }

    /// Whether it is negative, and its digits.
    fn double(&self, x: f64) -> (bool, String) {
        let precision = self.precision.unwrap_or(PRECISION);
        let size = x.abs();
        let mut digits = match self.letter {
            'e' | 'E' => number::to_exponential(size, precision, 2),
            'g' | 'G' => number::to_general(size, precision, 2),
            _ => number::to_fixed(size, precision),
        };
        let end = digits.find('e').unwrap_or(digits.len());
        if self.alternative {
            if !digits.contains('.') {
                digits.insert(end, '.');
            }
        } else if matches!(self.letter, 'g' | 'G') && digits.contains('.') {
            let exponent = digits.split_off(end);
            digits.truncate(digits.trim_end_matches('0').trim_end_matches('.').len());
            digits.push_str(&exponent);
        }
        (x < 0.0, digits)
    }

    fn padded(&self, prefix: &str, digits: &str, zeros: bool) -> String {
        let missing = self.width.saturating_sub(prefix.len() + digits.len());
        if self.left {
            format!("{prefix}{digits}{}", " ".repeat(missing))
        } else if zeros {
            format!("{prefix}{}{digits}", "0".repeat(missing))
        } else {
            format!("{}{prefix}{digits}", " ".repeat(missing))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(format: &str, x: f64) -> String {
        Format::parse(format).unwrap().print(x)
    }

    /// What the reference's package prints.
    #[test]
    fn numbers_print_as_in_the_reference() {
        for (format, x, text) in [
            ("%.1f", 6.0, "6.0"),
            ("%02d", 2.0, "02"),
            ("%5d", 8.0, "    8"),
            ("%#x", 4.0, "0x4"),
            ("%#x", 0.0, "0x0"),
            ("%.2f", 6.0, "6.00"),
            ("%e", 12345.678, "1.234568e+04"),
            ("%g", 0.000_012_34, "1.234e-05"),
            ("%g", 123_456_789.0, "1.23457e+08"),
            ("%x", -1.0, "ffffffff"),
            ("%u", -3.0, "4294967293"),
            ("%#o", 8.0, "010"),
            ("%s", 3.5, "3.5"),
            ("%-6d|", 5.0, "5     |"),
            ("%-06d|", 5.0, "5     |"),
            ("%+d", 5.0, "+5"),
            ("% d", 5.0, " 5"),
            ("%.3d", 5.0, "005"),
            ("%.0d", 0.0, ""),
            ("%08.3f", 2.34567, "0002.346"),
            ("%#.0f", 3.0, "3."),
            ("%G", 1e-10, "1E-10"),
            ("%X", 255.0, "FF"),
            ("%#X", 255.0, "0XFF"),
            ("%b", 5.0, "101"),
            ("%d", 2.9, "2"),
            ("%d", -2.9, "-2"),
            ("%d", -0.5, "0"),
            ("%ld", 3.0, "3"),
            ("%.0f", 0.5, "1"),
            ("sum: %5.1f%% ", 6.04, "sum:   6.0% "),
            ("%d%", 5.0, "5%"),
            ("%y", 5.0, "%y"),
            ("plain", 5.0, "plain"),
        ] {
            assert_eq!(print(format, x), text, "{format} of {x}");
        }
    }

    /// What C prints, and the reference's package does not.
    #[test]
    fn flags_meet_as_in_c() {
        for (format, x, text) in [
            ("%05d", -5.0, "-0005"),
            ("%+05d", 5.0, "+0005"),
            ("%#06x", 4.0, "0x0004"),
            ("%08.3f", -2.34567, "-002.346"),
            ("%g", 100.0, "100"),
            ("%g", 1.5, "1.5"),
            ("%#g", 1.0, "1.00000"),
            ("%.0g", 0.0, "0"),
            ("%.15g", 0.1, "0.1"),
            ("%.2s", 3.55, "3."),
            ("%+x", 5.0, "5"),
        ] {
            assert_eq!(print(format, x), text, "{format} of {x}");
        }
        for (x, text) in [(f64::NAN, "  NaN"), (f64::INFINITY, "Infinity")] {
            assert_eq!(print("%05.1f", x), text);
            assert_eq!(print("%05d", x), text);
        }
        assert_eq!(print("%d", 1e21), "1e+21");
    }

    #[test]
    fn formats_that_make_no_sense_are_refused() {
        for format in ["%d %d", "%1001d", "%.101f", "%99999999999999999999d"] {
            assert!(Format::parse(format).is_err(), "{format}");
        }
    }
}
