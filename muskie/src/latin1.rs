//! Header values as text: their bytes read as Latin-1, so that whatever came in goes out byte for byte.

use http::HeaderValue;
use http::header::{AsHeaderName, HeaderMap};

pub(crate) fn decode(value: &HeaderValue) -> String {
    match value.to_str() {
        Ok(ascii) => ascii.to_owned(),
        Err(_) => {
            let bytes = value.as_bytes().iter();
            bytes.map(|&byte| char::from(byte)).collect()
        }
    }
}

/// The inverse; a character that Latin-1 lacks becomes `?`. `None` if the text cannot be a header.
pub(crate) fn encode(text: &str) -> Option<HeaderValue> {
    if text.is_ascii() {
        return HeaderValue::from_str(text).ok();
    }
    let bytes: Vec<u8> = text
        .chars()
        .map(|c| u8::try_from(c).unwrap_or(b'?'))
        .collect();
    HeaderValue::from_bytes(&bytes).ok()
}

/// The header's value; several of one name are joined by a comma, as they mean the same.
pub(crate) fn get(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let mut text = decode(values.next()?);
    for value in values {
        text.push_str(", ");
        text.push_str(&decode(value));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_round_trip() {
        let bytes: Vec<u8> = (0x20..=0x7e).chain(0x80..=0xff).collect();
        let value = HeaderValue::from_bytes(&bytes).unwrap();
        assert_eq!(encode(&decode(&value)).unwrap(), value);
        assert_eq!(encode("a\u{20ac}\u{e9}").unwrap().as_bytes(), b"a?\xe9");
        assert_eq!(encode("a\nb"), None);
    }
}
