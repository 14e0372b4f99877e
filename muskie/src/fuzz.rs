//! For tests that throw hostile input at what clients write: each takes bytes, checks what must hold of the
//! result, and says in a word what became of them. Not part of the API of this crate.

use libmanta::{AccountId, VersionRange};

use crate::config::Config;
use crate::job_definition;
use crate::path::RequestPath;
use crate::ranges;

/// Sizes at which arithmetic on them may go wrong.
const SIZES: [u64; 4] = [1, 6, 1 << 40, u64::MAX];

#[must_use]
pub fn path(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let path = RequestPath::clean(&text);
    let cleaned = path.as_str();
    assert!(cleaned.starts_with('/') && !cleaned.contains("//"));
    assert!(cleaned.len() == 1 || !cleaned.ends_with('/'));
    assert_eq!(
        RequestPath::clean(cleaned),
        path,
        "cleaning twice changes nothing"
    );
    let login = path.login().is_ok();
    match path.key(AccountId::from_uuid(uuid::Uuid::nil())) {
        Ok(key) => {
            let names: Vec<&str> = key.names().collect();
            assert!(
                names
                    .iter()
                    .all(|name| !name.is_empty() && !name.contains(['/', '\0']))
            );
            format!("key of {} {login}", names.len().min(8))
        }
        Err(error) => format!("{} {login}", error.answer().code),
    }
}

#[must_use]
pub fn range(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let of = |size: u64| match ranges::parse(Some(&text), size) {
        Ok(None) => "all",
        Ok(Some(range)) => {
            assert!(
                range.start < range.end && range.end <= size,
                "{range:?} of {size}"
            );
            "part"
        }
        Err(error) => error.answer().code,
    };
    SIZES.map(of).concat()
}

#[must_use]
pub fn job(input: &[u8]) -> String {
    let images = Config::default().job_images;
    let of = |operator| match job_definition::parse(input, operator, &images) {
        Ok(job) => format!("{} phases", job.phases.len().min(4)),
        // What is wrong, without where.
        Err(error) => {
            let message = error.answer().message;
            message
                .chars()
                .filter(char::is_ascii_alphabetic)
                .take(40)
                .collect()
        }
    };
    of(false) + &of(true)
}

#[must_use]
pub fn accept_version(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let range = VersionRange::parse(&text);
    let admits = |version| range.as_ref().map(|range| range.admits(version));
    format!(
        "{:?}",
        ["1.0.0", "0.0.0", "18446744073709551614.1.1"].map(admits)
    )
}
