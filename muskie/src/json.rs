//! JSON written by hand, for rows and records that are made in great numbers. Only writing, only what
//! those need; documents that are made once go through `serde_json`.

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[written..at]);
        written = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends a number in decimal.
pub(crate) fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // The remainder of ten is one digit.
        digits[at] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends milliseconds since 1970 as `2013-05-22T17:39:43.714Z`, without quotes.
pub(crate) fn iso_time(out: &mut Vec<u8>, millis: u64) {
    let days = millis / 86_400_000;
    let of_day = millis % 86_400_000;
    let (year, month, day) = civil_from_days(days);
    if year > 9999 {
        out.extend_from_slice(b"9999-12-31T23:59:59.999Z");
        return;
    }
    padded(out, year, 4);
    out.push(b'-');
    padded(out, month, 2);
    out.push(b'-');
    padded(out, day, 2);
    out.push(b'T');
    padded(out, of_day / 3_600_000, 2);
    out.push(b':');
    padded(out, of_day / 60_000 % 60, 2);
    out.push(b':');
    padded(out, of_day / 1000 % 60, 2);
    out.push(b'.');
    padded(out, of_day % 1000, 3);
    out.push(b'Z');
}

fn padded(out: &mut Vec<u8>, value: u64, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10u64.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar. Years are counted
/// from March, so that the leap day comes last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use libmanta::Timestamp;

    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_agree_with_serde_json() {
        for sample in [
            "",
            "plain",
            "a\"b\\c",
            "\u{0}\u{1f}\u{7f}\n\r\t\u{8}\u{c}",
            "é€😀",
            "\\",
        ] {
            assert_eq!(
                text(|o| string(o, sample)),
                serde_json::to_string(sample).unwrap()
            );
        }
    }

    #[test]
    fn numbers_agree_with_the_formatter() {
        for n in [0, 9, 10, 12_345, u64::MAX] {
            assert_eq!(text(|o| number(o, n)), n.to_string());
        }
    }

    #[test]
    fn times_agree_with_the_calendar() {
        let mut millis: u64 = 0;
        while millis < 253_402_300_800_000 {
            assert_eq!(
                text(|o| iso_time(o, millis)),
                Timestamp::from_millis(millis).to_iso()
            );
            // A prime number of milliseconds, a little over ten days.
            millis += 864_000_049;
        }
        assert_eq!(text(|o| iso_time(o, u64::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
