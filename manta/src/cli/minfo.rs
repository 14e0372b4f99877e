//! `minfo`: the headers of an object or directory. An error answer is an answer too: exit code 0.

use clap::Parser;
use http::Version;
use manta_client::{Info, resolve_path};

use super::command::Command;
use super::connection::{Connection, at_least_one};
use super::failure::Failure;
use super::json_text;
use super::mls::joined_headers;
use super::output::Output;

/// Show the headers of objects and directories
#[derive(Debug, Parser)]
#[command(
    name = "minfo",
    version,
    disable_version_flag = true,
    after_help = "Examples:
  minfo ~~/stor/book.txt
  minfo -j ~~/stor/a ~~/stor/b"
)]
pub(super) struct Arguments {
    /// JSON output, with the fields "status" and "statusCode" besides the headers
    #[arg(short = 'j', long)]
    json: bool,
    path: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        at_least_one(&self.path)?;
        let client = self.connection.client().await?;
        let mut output = Output::new();
        for path in &self.path {
            let info = client.info(&resolve_path(path, client.account())?).await?;
            output.line(&if self.json {
                as_json(&info)
            } else {
                as_text(&info)
            })?;
        }
        output.finish()
    }
}

fn status_line(info: &Info) -> String {
    let version = if info.version == Version::HTTP_10 {
        "1.0"
    } else {
        "1.1"
    };
    let reason = info.status.canonical_reason().unwrap_or_default();
    format!("HTTP/{version} {} {reason}", info.status.as_u16())
}

/// Every header on its line, and an empty line.
fn as_text(info: &Info) -> String {
    let mut text = status_line(info);
    text.push('\n');
    for (name, value) in joined_headers(&info.headers) {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text
}

fn as_json(info: &Info) -> String {
    let headers = joined_headers(&info.headers);
    let status = [
        ("status", json_text::quote(&status_line(info))),
        ("statusCode", info.status.as_u16().to_string()),
    ];
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str(), json_text::quote(value)));
    json_text::object(status.into_iter().chain(headers))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    fn info() -> Info {
        let mut headers = HeaderMap::new();
        headers.insert("etag", HeaderValue::from_static("x"));
        headers.append("m-a", HeaderValue::from_static("1"));
        headers.append("m-a", HeaderValue::from_static("\"2\""));
        Info {
            status: StatusCode::NOT_FOUND,
            version: Version::HTTP_11,
            headers,
        }
    }

    #[test]
    fn prints_the_head_of_the_answer() {
        assert_eq!(
            as_text(&info()),
            "HTTP/1.1 404 Not Found\netag: x\nm-a: 1, \"2\"\n"
        );
        assert_eq!(
            as_json(&info()),
            r#"{"status":"HTTP/1.1 404 Not Found","statusCode":404,"etag":"x","m-a":"1, \"2\""}"#
        );
    }
}
