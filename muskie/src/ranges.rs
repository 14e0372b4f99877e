//! `Range` on a `GET` of an object. Source: rest-api.md section 3.6.

use std::ops::Range;

use crate::errors::{Error, Result};

/// The bytes a request wants; `None` for all of them. `size_bytes` is that of the object.
pub(crate) fn parse(header: Option<&str>, size_bytes: u64) -> Result<Option<Range<u64>>> {
    let Some((unit, set)) = header.and_then(|header| header.split_once('=')) else {
        return Ok(None);
    };
    if unit.trim() != "bytes" || size_bytes == 0 {
        return Ok(None);
    }
    if set.contains(',') {
        return Err(Error::MultiRange);
    }
    let unsatisfiable = Error::RangeNotSatisfiable { size_bytes };
    let Some((first, last)) = set.trim().split_once('-') else {
        return Err(unsatisfiable);
    };
    let range = match (position(first), position(last)) {
        (Position::At(first), Position::Absent) => first..size_bytes,
        (Position::At(first), Position::At(last)) if first <= last => {
            first..last.saturating_add(1).min(size_bytes)
        }
        (Position::Absent, Position::At(suffix)) => size_bytes.saturating_sub(suffix)..size_bytes,
        _ => return Err(unsatisfiable),
    };
    if range.is_empty() {
        Err(unsatisfiable)
    } else {
        Ok(Some(range))
    }
}

enum Position {
    Absent,
    At(u64),
    Nonsense,
}

fn position(text: &str) -> Position {
    let text = text.trim();
    if text.is_empty() {
        Position::Absent
    } else if text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are beyond every object.
        Position::At(text.parse().unwrap_or(u64::MAX))
    } else {
        Position::Nonsense
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_inside_the_object_are_clamped() {
        let of = |text| parse(Some(text), 26).unwrap();
        assert_eq!(of("bytes=0-5"), Some(0..6));
        assert_eq!(of("bytes=0-0"), Some(0..1));
        assert_eq!(of("bytes=20-"), Some(20..26));
        assert_eq!(of("bytes=20-26"), Some(20..26));
        assert_eq!(of("bytes=25-99999999999999999999999"), Some(25..26));
        assert_eq!(of("bytes=-3"), Some(23..26));
        assert_eq!(of("bytes=-100"), Some(0..26));
    }

    #[test]
    fn other_units_and_empty_objects_have_no_range() {
        assert_eq!(parse(Some("lines=0-1"), 26), Ok(None));
        assert_eq!(parse(Some("nonsense"), 26), Ok(None));
        assert_eq!(parse(Some("bytes=5-1"), 0), Ok(None));
        assert_eq!(parse(None, 26), Ok(None));
    }

    #[test]
    fn impossible_ranges_are_refused() {
        for text in [
            "bytes=26-",
            "bytes=26-30",
            "bytes=5-4",
            "bytes=foo",
            "bytes=-",
            "bytes=-0",
            "bytes=",
            "bytes=1-x",
            "bytes=x-1",
            "bytes=--1",
            "bytes=99999999999999999999999-",
        ] {
            let expected = Err(Error::RangeNotSatisfiable { size_bytes: 26 });
            assert_eq!(parse(Some(text), 26), expected, "{text}");
        }
        assert_eq!(parse(Some("bytes=0-1,3-4"), 26), Err(Error::MultiRange));
    }
}
