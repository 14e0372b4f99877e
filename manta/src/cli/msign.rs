//! `msign`: URLs that need no further authorisation. Nothing is sent: the key is all it takes.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use httpsig::Algorithm;
use manta_client::SignedUrl;

use super::command::Command;
use super::connection::{Connection, at_least_one, raw_paths};
use super::failure::Failure;
use super::output::Output;

const METHODS: [&str; 6] = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"];
const HOUR: u64 = 3600;

/// Sign URLs
#[derive(Debug, Parser)]
#[command(
    name = "msign",
    version,
    disable_version_flag = true,
    after_help = "Examples:
  msign ~~/stor/book.txt
  msign -E 2d -m GET -m HEAD ~~/stor/book.txt
  curl -T report.pdf \"$(msign -m PUT -E 10m ~~/stor/inbox/report.pdf)\""
)]
pub(super) struct Arguments {
    /// When the URL ceases to work, in seconds since the epoch (default: in one hour)
    #[arg(short = 'e', long, value_name = "EXPIRATION", value_parser = clap::value_parser!(u64).range(1..))]
    expires: Option<u64>,
    /// The same from now on: a number with s, m, h, d, w or y behind it
    #[arg(short = 'E', long, value_name = "EXPIRATION")]
    expires_relative: Option<String>,
    /// Private key to sign with, in place of the one found by its fingerprint
    #[arg(short = 'f', long, value_name = "PRIVATE_KEY")]
    file: Option<PathBuf>,
    /// Algorithm to sign with, such as rsa-sha512
    #[arg(short = 'g', long)]
    algorithm: Option<String>,
    /// HTTP method that the URL is for; repeat it for several (default: GET)
    #[arg(short = 'm', long = "method", value_name = "METHOD")]
    methods: Vec<String>,
    /// Role tags for the object that is created
    #[arg(long = "role-tag", value_name = "TAG,TAG...", value_delimiter = ',')]
    role_tags: Vec<String>,
    path: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        at_least_one(&self.path)?;
        let methods = methods(&self.methods)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let expires = self.expires(now.map_or(0, |since| since.as_secs()))?;
        let algorithm = self.algorithm.as_deref().map(Algorithm::parse).transpose();
        let algorithm = algorithm.map_err(|error| failed(error.to_string()))?;
        let server = self.connection.url()?;
        let signer = self.connection.signer(self.file.clone()).await?;
        let roles: Vec<&str> = self.connection.roles().collect();
        let (roles, role_tags) = (roles.join(","), self.role_tags.join(","));
        let query = [("role", roles.as_str()), ("role-tag", role_tags.as_str())];
        let query: Vec<_> = query
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();

        let mut output = Output::new();
        for path in &self.path {
            let request = SignedUrl {
                server,
                path,
                account: self.connection.account().unwrap_or_default(),
                raw_path: raw_paths(),
                methods: &methods,
                expires,
                algorithm,
                query: &query,
            };
            output.line(&signer.sign_url(&request).await?)?;
        }
        output.finish()
    }
}

impl Arguments {
    fn expires(&self, now: u64) -> Result<u64, Failure> {
        match (self.expires, &self.expires_relative) {
            (Some(_), Some(_)) => Err(failed("-e and -E cannot be specified together".to_owned())),
            (Some(expires), None) => Ok(expires),
            (None, None) => Ok(now + HOUR),
            (None, Some(text)) => seconds(text)
                .and_then(|seconds| now.checked_add(seconds))
                .ok_or_else(|| failed(format!("invalid expires: {text}"))),
        }
    }
}

fn failed(message: String) -> Failure {
    Failure::Message(format!("Error: {message}"))
}

/// The methods in upper case, each once; `GET` if there are none.
fn methods(given: &[String]) -> Result<Vec<&'static str>, Failure> {
    let mut methods = Vec::new();
    for method in given {
        let upper = method.to_ascii_uppercase();
        let known = METHODS.iter().find(|known| **known == upper);
        let known = known.ok_or_else(|| Failure::Usage(format!("method invalid: {method}")))?;
        if !methods.contains(known) {
            methods.push(*known);
        }
    }
    if methods.is_empty() {
        methods.push("GET");
    }
    Ok(methods)
}

/// `2d` and the like; not zero, and without zeros in front.
fn seconds(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => HOUR,
        'd' => 24 * HOUR,
        'w' => 7 * 24 * HOUR,
        'y' => 365 * 24 * HOUR,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    if digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_times_have_a_unit() {
        let known = [
            ("1s", 1),
            ("10m", 600),
            ("2h", 7200),
            ("1d", 86_400),
            ("1w", 604_800),
        ];
        for (text, expected) in known {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        assert_eq!(seconds("1y"), Some(31_536_000));
        for text in [
            "",
            "d",
            "0d",
            "01d",
            "-1d",
            "+1d",
            "1",
            "1D",
            "1.5d",
            "99999999999999999999y",
            "1ü",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn methods_are_known_ones_each_once() {
        let methods = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|method| (*method).to_owned()).collect();
            methods(&given).ok()
        };
        assert_eq!(methods(&[]), Some(vec!["GET"]));
        assert_eq!(methods(&["put", "GET", "PUT"]), Some(vec!["PUT", "GET"]));
        assert_eq!(methods(&["PATCH"]), None);
    }
}
