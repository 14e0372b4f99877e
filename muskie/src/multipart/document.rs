//! The documents that clients send: what an upload is to become, and what it is committed of. The texts of
//! the refusals are part of the API. Source: rest-api.md sections 5.3, 5.6.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};

use super::upload_id::UploadId;
use crate::content_disposition;
use crate::errors::{Error, Result};
use crate::latin1;
use crate::stored_headers;

/// Conditions are about the moment of the commit, which this is not.
const CONDITIONS: [&str; 4] = [
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
];

/// What an upload is to become.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) object_path: String,
    /// As they came, with names in lower case.
    pub(crate) headers: Map<String, Value>,
    pub(crate) copies: u8,
    pub(crate) content_length: Option<u64>,
    pub(crate) content_md5: Option<String>,
}

/// Reads the body of a creation.
pub(crate) fn wanted(body: &[u8], copies_default: u8, copies_max: u8) -> Result<Wanted> {
    let Value::Object(data) = json(body)? else {
        return Err(refused("data should be object"));
    };
    let object_path = match data.get("objectPath") {
        None => {
            return Err(refused("data should have required property 'objectPath'"));
        }
        Some(Value::String(path)) => path.clone(),
        Some(_) => return Err(refused("data.objectPath should be string")),
    };
    let mut headers = match data.get("headers") {
        None => Map::new(),
        Some(Value::Object(headers)) => headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect(),
        Some(_) => return Err(refused("data.headers should be object")),
    };
    if CONDITIONS.iter().any(|name| headers.contains_key(*name)) {
        return Err(refused("data.headers should not be valid"));
    }
    let content_length = content_length(headers.get("content-length"))?;
    let copies = copies(&headers, copies_default, copies_max)?;
    let content_md5 = headers.get("content-md5").map(text_of).transpose()?;
    let stored = as_headers(&headers)?;
    stored_headers::check_lengths(&stored)?;
    let disposition = latin1::get(&stored, "content-disposition");
    if let Some(disposition) = content_disposition::stored(disposition)? {
        headers.insert("content-disposition".to_owned(), disposition.into());
    }
    Ok(Wanted {
        object_path,
        headers,
        copies,
        content_length,
        content_md5,
    })
}

/// The headers of the object, as if they had come with a `PUT`.
pub(crate) fn as_headers(headers: &Map<String, Value>) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let text = text_of(value).map_err(|_| not_a_header(name))?;
        let parsed: Option<(HeaderName, HeaderValue)> =
            name.parse().ok().zip(latin1::encode(&text));
        let (name, value) = parsed.ok_or_else(|| not_a_header(name))?;
        map.append(name, value);
    }
    Ok(map)
}

/// Reads the body of a commit: the etags of the parts.
pub(crate) fn etags(body: &[u8], upload: UploadId, parts_max: usize) -> Result<Vec<String>> {
    let invalid = |text: &str| Error::MultipartInvalid {
        upload: upload.to_string(),
        reason: text.to_owned(),
    };
    let Value::Object(data) = json(body)? else {
        return Err(invalid("data should be object"));
    };
    let parts = match data.get("parts") {
        None => return Err(invalid("data should have required property 'parts'")),
        Some(Value::Array(parts)) => parts,
        Some(_) => return Err(invalid("data.parts should be array")),
    };
    if parts.len() > parts_max {
        return Err(invalid(&format!(
            "data.parts should NOT have more than {parts_max} items"
        )));
    }
    let etag = |(at, part): (usize, &Value)| match part {
        Value::String(etag) if etag.is_empty() => Err(invalid(&format!(
            "data.parts[{at}] should NOT be shorter than 1 characters"
        ))),
        Value::String(etag) => Ok(etag.clone()),
        _ => Err(invalid(&format!("data.parts[{at}] should be string"))),
    };
    parts.iter().enumerate().map(etag).collect()
}

fn json(body: &[u8]) -> Result<Value> {
    serde_json::from_slice(body).map_err(|error| Error::InvalidContent {
        reason: error.to_string(),
    })
}

fn content_length(value: Option<&Value>) -> Result<Option<u64>> {
    let Some(value) = value else {
        return Ok(None);
    };
    let Value::Number(number) = value else {
        return Err(refused("data.headers['content-length'] should be number"));
    };
    if let Some(length) = number.as_u64() {
        return Ok(Some(length));
    }
    Err(refused(if number.as_f64().is_some_and(|n| n < 0.0) {
        "data.headers['content-length'] should be >= 0"
    } else {
        "data.headers['content-length'] should be integer"
    }))
}

fn copies(headers: &Map<String, Value>, default: u8, max: u8) -> Result<u8> {
    let level = headers
        .get("durability-level")
        .or_else(|| headers.get("x-durability-level"));
    let Some(level) = level else {
        return Ok(default);
    };
    level
        .as_u64()
        .and_then(|level| u8::try_from(level).ok())
        .filter(|level| (1..=max).contains(level))
        .ok_or(Error::InvalidDurabilityLevel { max })
}

/// Numbers and truth values are written as JSON has them.
fn text_of(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(refused("data.headers['content-md5'] should be string"))
        }
    }
}

fn not_a_header(name: &str) -> Error {
    refused(&format!("data.headers['{name}'] should be a header"))
}

fn refused(text: &str) -> Error {
    Error::MultipartCreation {
        reason: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        let error = wanted(body.as_bytes(), 2, 9).unwrap_err().answer();
        format!(
            "{} {}: {}",
            error.status.as_u16(),
            error.code,
            error.message
        )
    }

    #[test]
    fn documents_that_are_wrong_are_refused_with_the_documented_texts() {
        let argument = "409 MultipartUploadInvalidArgument: cannot create upload: ";
        for (body, text) in [
            ("[]", "data should be object"),
            ("7", "data should be object"),
            ("{}", "data should have required property 'objectPath'"),
            ("{\"objectPath\":7}", "data.objectPath should be string"),
            (
                "{\"objectPath\":\"/a/stor/x\",\"headers\":{\"content-length\":\"5\"}}",
                "data.headers['content-length'] should be number",
            ),
            (
                "{\"objectPath\":\"/a/stor/x\",\"headers\":{\"Content-Length\":-1}}",
                "data.headers['content-length'] should be >= 0",
            ),
        ] {
            assert_eq!(refusal(body), format!("{argument}{text}"));
        }
        for condition in [
            "if-match",
            "If-None-Match",
            "if-modified-since",
            "IF-UNMODIFIED-SINCE",
        ] {
            let body =
                format!("{{\"objectPath\":\"/a/stor/x\",\"headers\":{{\"{condition}\":\"*\"}}}}");
            assert!(refusal(&body).starts_with(argument), "{condition}");
        }
        for level in ["0", "10", "-1", "1.5", "\"3\"", "null"] {
            let body = format!(
                "{{\"objectPath\":\"/a/stor/x\",\"headers\":{{\"durability-level\":{level}}}}}"
            );
            assert_eq!(
                refusal(&body),
                "400 InvalidDurabilityLevel: durability-level must be between 1 and 9"
            );
        }
        for (header, code) in [
            ("\"content-disposition\":\"attachment;\"", "400 BadRequest"),
            ("\"m-x\":[]", "409 MultipartUploadInvalidArgument"),
            ("\"m x\":\"1\"", "409 MultipartUploadInvalidArgument"),
            ("\"m-x\":\"a\\nb\"", "409 MultipartUploadInvalidArgument"),
        ] {
            let body = format!("{{\"objectPath\":\"/a/stor/x\",\"headers\":{{{header}}}}}");
            assert!(refusal(&body).starts_with(code), "{header}");
        }
        assert!(refusal("{").starts_with("400 InvalidContent: Invalid JSON: "));
    }

    #[test]
    fn names_become_lower_case_and_values_stay() {
        let body = br#"{"objectPath":"/a/stor/x","more":1,"headers":{"M-Foo":"Bar","content-length":9,
            "durability-level":3,"content-md5":"x","Content-Disposition":"attachment; filename=\"a\""}}"#;
        let wanted = wanted(body, 2, 9).unwrap();
        assert_eq!(wanted.copies, 3);
        assert_eq!(wanted.content_length, Some(9));
        assert_eq!(wanted.content_md5.as_deref(), Some("x"));
        assert_eq!(
            Value::Object(wanted.headers).to_string(),
            "{\"m-foo\":\"Bar\",\"content-length\":9,\"durability-level\":3,\"content-md5\":\"x\",\
             \"content-disposition\":\"attachment; filename=\\\"a\\\"\"}"
        );
    }

    #[test]
    fn lists_of_etags_are_bounded_and_hold_texts() {
        let id = UploadId::random(1);
        let of = |body: &str| etags(body.as_bytes(), id, 2);
        assert_eq!(of("{\"parts\":[]}").unwrap(), [""; 0]);
        assert_eq!(of("{\"parts\":[\"a\",\"b\"]}").unwrap(), ["a", "b"]);
        for bad in [
            "[]",
            "{}",
            "{\"parts\":7}",
            "{\"parts\":[\"\"]}",
            "{\"parts\":[\"a\",7]}",
            "{\"parts\":[\"a\",\"b\",\"c\"]}",
        ] {
            let error = of(bad).unwrap_err().answer();
            assert_eq!(error.code, "MultipartUploadInvalidArgument", "{bad}");
            assert!(
                error.message.starts_with(&format!("upload {id}: ")),
                "{bad}"
            );
        }
    }
}
