//! Lines of text and their fields. They are bytes, as for the other text tools of a zone: only what has to be
//! text is ever decoded.

use std::io::{self, BufRead};

/// Calls `each` with every line, without its end, which is a line feed with or without a carriage return.
pub(super) fn for_each<E: From<io::Error>>(
    mut input: impl BufRead,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        each(text.strip_suffix(b"\r").unwrap_or(text))?;
    }
}

/// What is between the delimiters; a line without any is one field. The delimiter must not be empty.
pub(super) fn fields<'a>(line: &'a [u8], delimiter: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = line
            .windows(delimiter.len())
            .position(|window| window == delimiter);
        rest = end.and_then(|end| line.get(end + delimiter.len()..));
        Some(end.and_then(|end| line.get(..end)).unwrap_or(line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_their_ends_and_the_last_needs_none() {
        let mut lines = Vec::new();
        for_each(&b"a\r\n\n\xff\rb\nc"[..], |line| {
            lines.push(line.to_owned());
            Ok::<_, io::Error>(())
        })
        .unwrap();
        assert_eq!(lines, [&b"a"[..], b"", b"\xff\rb", b"c"]);
    }

    #[test]
    fn fields_are_what_is_between_delimiters_of_any_length() {
        let split = |line: &str, delimiter: &str| -> Vec<String> {
            let fields = fields(line.as_bytes(), delimiter.as_bytes());
            fields
                .map(|field| String::from_utf8(field.to_owned()).unwrap())
                .collect()
        };
        assert_eq!(split("a,,b,", ","), ["a", "", "b", ""]);
        assert_eq!(split("a::b:c", "::"), ["a", "b:c"]);
        assert_eq!(split("", ","), [""]);
        assert_eq!(split("ab", "abc"), ["ab"]);
    }
}
