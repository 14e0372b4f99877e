//! `Content-Disposition`: parsed as RFC 6266 has it and written anew. The type becomes `attachment`, the
//! file name loses its directories. Text is Latin-1, as everywhere in headers.
//! Source: rest-api.md section 3.4.

use crate::errors::{Error, Result};

/// Most characters of a header, as it came and as it is kept: escapes make it longer.
pub(crate) const CHARS_MAX: usize = 4096;

/// What is kept of a request's header. Errors: one that does not parse, or is too long.
pub(crate) fn stored(header: Option<String>) -> Result<Option<String>> {
    let Some(header) = header else {
        return Ok(None);
    };
    let Some(canonical) = canonical(&header) else {
        return Err(Error::ContentDispositionInvalid { header });
    };
    if canonical.chars().count() > CHARS_MAX {
        return Err(Error::HeaderTooLong {
            what: "content-disposition",
            limit: CHARS_MAX,
        });
    }
    Ok(Some(canonical))
}

/// The canonical form of a header; `None` when it does not parse.
fn canonical(header: &str) -> Option<String> {
    let parameters = parse(header)?;
    let Some(name) = parameters.filename else {
        return Some(String::from("attachment"));
    };
    let name = base_name(&name);
    let plain: String = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '?' })
        .collect();
    let mut header = String::from("attachment");
    if !plain.is_empty() {
        header.push_str("; filename=\"");
        for c in plain.chars() {
            if matches!(c, '"' | '\\') {
                header.push('\\');
            }
            header.push(c);
        }
        header.push('"');
    }
    // A plain name that looks escaped would be decoded by some browsers, so it is given both ways.
    if plain != name || looks_escaped(name) {
        header.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                header.push(char::from(byte));
            } else {
                header.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    Some(header)
}

fn is_plain(c: char) -> bool {
    matches!(c, '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{ff}')
}

fn looks_escaped(name: &str) -> bool {
    name.as_bytes()
        .windows(3)
        .any(|w| w[0] == b'%' && w[1].is_ascii_hexdigit() && w[2].is_ascii_hexdigit())
}

fn base_name(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
}

struct Parameters {
    filename: Option<String>,
}

fn parse(header: &str) -> Option<Parameters> {
    let mut rest = header;
    token(&mut rest)?;
    let mut seen: Vec<String> = Vec::new();
    let mut plain = None;
    let mut extended = None;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            break;
        }
        rest = rest.strip_prefix(';')?.trim_start_matches([' ', '\t']);
        let name = token(&mut rest)?.to_ascii_lowercase();
        rest = rest.trim_start_matches([' ', '\t']);
        rest = rest.strip_prefix('=')?.trim_start_matches([' ', '\t']);
        let value = if rest.starts_with('"') {
            quoted(&mut rest)?
        } else {
            token(&mut rest)?.to_owned()
        };
        if seen.contains(&name) {
            return None;
        }
        match name.as_str() {
            "filename" => plain = Some(value),
            "filename*" => extended = Some(extended_value(&value)?),
            _ => {}
        }
        seen.push(name);
    }
    Some(Parameters {
        filename: extended.or(plain),
    })
}

/// Takes a token of RFC 9110 off the front.
fn token<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
    let (token, after) = rest.split_at(end);
    *rest = after;
    (!token.is_empty()).then_some(token)
}

fn quoted(rest: &mut &str) -> Option<String> {
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                *rest = &rest[at + 1..];
                return Some(value);
            }
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// `UTF-8'en'%e2%82%ac`, with UTF-8 or ISO-8859-1.
fn extended_value(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, escaped) = (parts.next()?, parts.next()?, parts.next()?);
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut input = escaped.bytes();
    while let Some(byte) = input.next() {
        if byte == b'%' {
            let high = char::from(input.next()?).to_digit(16)?;
            let low = char::from(input.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    match charset.to_ascii_lowercase().as_str() {
        "utf-8" => Some(String::from_utf8_lossy(&bytes).into_owned()),
        "iso-8859-1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn names_are_reduced_and_the_type_is_attachment() {
        let cases = [
            ("attachment", "attachment"),
            ("inline", "attachment"),
            (
                "attachment; filename=x.txt",
                "attachment; filename=\"x.txt\"",
            ),
            (
                "inline; filename=\"a b.txt\"",
                "attachment; filename=\"a b.txt\"",
            ),
            (
                "attachment; filename=\"/root/x.txt\"",
                "attachment; filename=\"x.txt\"",
            ),
            (
                "attachment; filename=\"a\\\"b\"",
                "attachment; filename=\"a\\\"b\"",
            ),
            (
                "attachment; filename*=UTF-8''%e2%82%ac.txt",
                "attachment; filename=\"?.txt\"; filename*=UTF-8''%E2%82%AC.txt",
            ),
            (
                "attachment; filename=\"EURO.txt\"; filename*=iso-8859-1'en'%e9.txt",
                "attachment; filename=\"\u{e9}.txt\"",
            ),
        ];
        for (header, expected) in cases {
            assert_eq!(canonical(header).as_deref(), Some(expected), "{header}");
        }
    }

    #[test]
    fn the_canonical_form_is_a_fixed_point() {
        for header in [
            "attachment; filename=\"a%20b\"",
            "x; filename*=UTF-8''%e2%82%ac",
        ] {
            let once = canonical(header).unwrap();
            assert_eq!(canonical(&once).unwrap(), once, "{header}");
        }
    }

    #[test]
    fn what_does_not_parse_is_none() {
        for header in [
            "",
            "attachment;",
            "bad/;;",
            "attachment; filename",
            "attachment; filename=",
            "attachment; filename=\"x",
            "attachment; filename=a; filename=b",
            "attachment; filename*=utf-16''x",
            "attachment; filename*=utf-8''%e",
            "a b",
        ] {
            assert_eq!(canonical(header), None, "{header}");
        }
    }
}
