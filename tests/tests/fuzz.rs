//! Hostile input for everything that reads what clients write. The corpus is in `fuzz/corpus`, a directory
//! for each target; an input that ever broke something is added to it and stays.
//!
//! `MANTA_FUZZ_SECONDS` says how long (20 each), `MANTA_TEST_SEED` repeats a run.

use std::path::Path;

use aperture::Rule;
use httpsig::{Authorization, Presigned, signing_string};
use testkit::fuzz::{outcome, run};

fn corpus(name: &str, target: fn(&[u8]) -> String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    run(&root.join(name), target);
}

fn authorization(input: &[u8]) -> String {
    let parsed = Authorization::parse(&String::from_utf8_lossy(input));
    if let Ok(authorization) = &parsed {
        let text = signing_string(authorization, "GET", "/jill/stor?x=y", |name| {
            (name != "x-absent").then(|| name.to_owned())
        });
        return format!("signed {}", outcome(&text));
    }
    outcome(&parsed)
}

fn signed_url(input: &[u8]) -> String {
    let query = String::from_utf8_lossy(input);
    let parsed = Presigned::parse("GET", &query, 1_700_000_000);
    if let Ok(Some(presigned)) = &parsed {
        let text = presigned.text("store", "/jill/stor/x");
        assert!(text.ends_with('\n') || !text.is_empty());
        return "signed".to_owned();
    }
    outcome(&parsed)
}

fn rule(input: &[u8]) -> String {
    let parsed = Rule::parse(&String::from_utf8_lossy(input));
    if let Ok(rule) = &parsed {
        let printed = rule.to_string();
        assert_eq!(Rule::parse(&printed).as_ref(), Ok(rule), "{printed}");
    }
    outcome(&parsed.map_err(|error| error.to_string()))
}

#[test]
fn fuzz_authorization() {
    corpus("authorization", authorization);
}

#[test]
fn fuzz_signed_url() {
    corpus("signed_url", signed_url);
}

#[test]
fn fuzz_path() {
    corpus("path", muskie::fuzz::path);
}

#[test]
fn fuzz_range() {
    corpus("range", muskie::fuzz::range);
}

#[test]
fn fuzz_rule() {
    corpus("rule", rule);
}

#[test]
fn fuzz_job() {
    corpus("job", muskie::fuzz::job);
}

#[test]
fn fuzz_accept_version() {
    corpus("accept_version", muskie::fuzz::accept_version);
}
