//! The content types that choose what a `PUT` makes. Source: rest-api.md section 3.3.

/// The parameter `type` of a header that says `application/json`, without its quotes, wherever it stands among the
/// parameters; `None` for every other content type. Blanks and letter case do not matter, so compare the value
/// without case, too.
#[must_use]
pub fn json_type(header: &str) -> Option<&str> {
    let mut parts = header.split(';').map(str::trim);
    let media = parts.next()?;
    if !media.eq_ignore_ascii_case("application/json") {
        return None;
    }
    parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("type"))
        .map(|(_, value)| value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference's `tst.isdirectory`.
    #[test]
    fn a_directory_is_json_with_a_type_wherever_it_stands() {
        for header in [
            "application/json; type=directory",
            "application/json;type=directory",
            "application/json ;  type = directory ; charset=utf-8",
            "Application/JSON; charset=utf-8; Type=\"directory\"",
        ] {
            assert_eq!(json_type(header), Some("directory"), "{header}");
        }
        for header in [
            "",
            "application/json",
            "application/jsonp; type=directory",
            "application/x-json-stream; type=directory",
            "text/plain; type=directory",
            "type=directory",
            "application/json; subtype=directory",
            "application/json; directory",
        ] {
            assert_eq!(json_type(header), None, "{header}");
        }
        let other = json_type("application/json; type=directory2");
        assert_eq!(other, Some("directory2"));
    }
}
