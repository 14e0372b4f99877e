//! A list of strings in one blob: for each its length in bytes (`u32`, little endian) and its UTF-8. An empty
//! list is an empty blob. Headers are names and values in turn.

use crate::error::Fault;

pub(super) fn encode<'a>(strings: impl IntoIterator<Item = &'a str>) -> Result<Vec<u8>, Fault> {
    let mut blob = Vec::new();
    for string in strings {
        let len = u32::try_from(string.len())
            .map_err(|_| Fault::corrupt("a string of 4 GiB cannot be stored"))?;
        blob.extend_from_slice(&len.to_le_bytes());
        blob.extend_from_slice(string.as_bytes());
    }
    Ok(blob)
}

pub(super) fn decode(mut blob: &[u8]) -> Result<Vec<&str>, Fault> {
    let mut strings = Vec::new();
    while let Some((len, rest)) = blob.split_first_chunk::<4>() {
        let len = u32::from_le_bytes(*len) as usize;
        let (string, rest) = rest
            .split_at_checked(len)
            .ok_or_else(|| Fault::corrupt("a list of strings is cut short"))?;
        strings.push(
            std::str::from_utf8(string)
                .map_err(|_| Fault::corrupt("a list of strings is not UTF-8"))?,
        );
        blob = rest;
    }
    if blob.is_empty() {
        Ok(strings)
    } else {
        Err(Fault::corrupt("a list of strings has a torn end"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_round_trip_and_have_golden_bytes() {
        for list in [&[][..], &[""], &["a", "", "ü"]] {
            let blob = encode(list.iter().copied()).unwrap();
            assert_eq!(decode(&blob).unwrap(), list);
        }
        assert_eq!(
            encode(["a", "bc"]).unwrap(),
            [1, 0, 0, 0, b'a', 2, 0, 0, 0, b'b', b'c']
        );
    }

    #[test]
    fn damage_is_an_error() {
        for blob in [&[1, 0][..], &[2, 0, 0, 0, b'a'], &[1, 0, 0, 0, 0xff]] {
            assert!(decode(blob).is_err());
        }
    }
}
