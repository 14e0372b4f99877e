//! JSON as text, with its keys left in the order the server sent them: a parsed object would sort them, and
//! scripts compare output byte for byte.

/// Indents compact JSON by `width` blanks a level. Text that is not JSON comes out in some shape; it came
/// from a server that answered nonsense.
pub(super) fn pretty(json: &str, width: usize) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0usize;
    let mut chars = json.chars().peekable();
    let mut in_string = false;
    while let Some(char) = chars.next() {
        if in_string {
            out.push(char);
            match char {
                '\\' => out.extend(chars.next()),
                '"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match char {
            '"' => {
                in_string = true;
                out.push(char);
            }
            '{' | '[' => {
                out.push(char);
                while chars.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                match chars.next_if(|next| matches!(next, '}' | ']')) {
                    Some(close) => out.push(close),
                    None => {
                        depth += 1;
                        new_line(&mut out, depth, width);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth, width);
                out.push(char);
            }
            ',' => {
                out.push(char);
                new_line(&mut out, depth, width);
            }
            ':' => out.push_str(": "),
            space if space.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize, width: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth * width));
}

/// A string as JSON.
pub(super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An object of which the values are JSON already.
pub(super) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fields: Vec<String> = fields
        .into_iter()
        .map(|(key, value)| format!("{}:{value}", quote(key)))
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// Adds fields at the end of an object that is given as text.
pub(super) fn append<'a>(
    object: &str,
    fields: impl IntoIterator<Item = (&'a str, String)>,
) -> String {
    let mut out = object
        .trim_end()
        .strip_suffix('}')
        .unwrap_or(object)
        .to_owned();
    for (key, value) in fields {
        if !out.ends_with('{') {
            out.push(',');
        }
        out.push_str(&format!("{}:{value}", quote(key)));
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indents_and_keeps_the_order() {
        let json = r#"{"b":1,"a":[{},[ ],{"x":"y,{\"\\"}],"c":{"d":null}}"#;
        let expected = "{\n  \"b\": 1,\n  \"a\": [\n    {},\n    [],\n    {\n      \"x\": \
                        \"y,{\\\"\\\\\"\n    }\n  ],\n  \"c\": {\n    \"d\": null\n  }\n}";
        assert_eq!(pretty(json, 2), expected);
        assert_eq!(pretty(expected, 2), expected);
    }

    #[test]
    fn fields_are_added_behind_the_others() {
        assert_eq!(append("{}", [("a", "1".to_owned())]), "{\"a\":1}");
        let line = append(r#"{"name":"x}"}"#, [("parent", quote("/a/\"b"))]);
        assert_eq!(line, r#"{"name":"x}","parent":"/a/\"b"}"#);
    }
}
