//! Query parameters. Nothing in a query string is an error by itself: a bad escape stands for itself, the
//! first of several equal names counts, a name without value has the empty one.

use percent_encoding::percent_decode_str;

#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let pairs = text
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name), decode(value))
            });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value, unless it is empty.
    pub(crate) fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }
}

fn decode(text: &str) -> String {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return text.to_owned();
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_nonsense_is_kept() {
        let query = Query::parse(Some("a=1&b=x%20y+z&&c&d=%zz&a=2&e=%2B"));
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.get("b"), Some("x y z"));
        assert_eq!((query.get("c"), query.non_empty("c")), (Some(""), None));
        assert_eq!(query.get("d"), Some("%zz"));
        assert_eq!(query.get("e"), Some("+"));
        assert_eq!(query.get("f"), None);
        assert_eq!(Query::parse(None).get("a"), None);
    }
}
