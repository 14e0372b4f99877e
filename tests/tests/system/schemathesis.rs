//! Schemathesis asks a store for everything that docs/openapi.json describes, with what it can think of: no
//! answer is a defect of ours, none has a status that the document does not name.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::home::outcome;
use tests::{Launch, seed};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
const HOOKS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/system/schemathesis_hooks.py"
);

/// Long enough for some thousand requests; `MANTA_TEST_SCHEMATHESIS_SECONDS` for more.
const SECONDS: u64 = 60;

#[test]
fn the_api_is_what_its_document_says() -> Result<()> {
    let store = Launch::new()
        .argument("--isolation")
        .argument("off")
        .expecting(&["jobs are unavailable"])
        .start()?;
    let home = store.user()?;
    let seconds = seed::number("MANTA_TEST_SCHEMATHESIS_SECONDS").unwrap_or(SECONDS);
    let limit = Duration::from_secs(seconds).as_secs().to_string();
    let mut command = home.schemathesis()?;
    command
        .env("SCHEMATHESIS_HOOKS", HOOKS)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("MANTA_KEY_FILE", store.ready("keyFile"))
        .args([
            "--config-file",
            "/dev/null",
            "run",
            DOCUMENT,
            "--url",
            store.url(),
        ])
        .args(["--checks", "nothing_breaks,status_code_conformance"])
        .args(["--phases", "coverage,fuzzing", "--max-time", &limit])
        .args([
            "--seed",
            "1",
            "--max-examples",
            "20",
            "--continue-on-failure",
        ])
        .args(["--suppress-health-check", "all", "--request-timeout", "60"])
        .args([
            "--no-color",
            "--warnings",
            "off",
            "--generation-database",
            "none",
        ]);
    let output = outcome(&mut command)?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // It has asked, and was let in.
    let asked = store.metric("http_requests_completed")?;
    ensure!(asked > 1000.0, "only {asked} requests: {said}");
    store.finish()
}
