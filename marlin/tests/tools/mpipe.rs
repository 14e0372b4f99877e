//! `mpipe`: standard input, or a file, as an output.

use std::io::Write;

use http::{Method, StatusCode};
use tempfile::NamedTempFile;

use crate::support::{Ended, OUTPUT_BASE, Sent, call};

const INPUT: &str = "1\n2\n3\n4\n";

/// The one request of a call that succeeded.
fn only(ended: &Ended) -> &Sent {
    assert_eq!(ended.code, 0, "{ended:?}");
    let [sent] = &ended.sent[..] else {
        panic!("one request: {ended:?}");
    };
    assert_eq!(sent.method, Method::PUT);
    assert_eq!(sent.header("x-manta-stream"), Some("stdout"));
    assert_eq!(ended.stdout, format!("{}\n", sent.path));
    sent
}

fn file() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(INPUT.as_bytes()).unwrap();
    file
}

#[tokio::test]
async fn testHelp() {
    let ended = call("mpipe", &["-h"]).run().await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("usage: mpipe"), "{}", ended.stderr);
    assert!(ended.sent.is_empty());
}

#[tokio::test]
async fn testBasic() {
    let ended = call("mpipe", &[]).stdin(INPUT).run().await;
    let sent = only(&ended);
    assert_eq!(sent.text(), INPUT);
    assert!(sent.path.starts_with(OUTPUT_BASE), "{}", sent.path);
    assert!(sent.path.len() > OUTPUT_BASE.len(), "{}", sent.path);
    assert_eq!(sent.header("x-manta-reducer"), None);
    let staged = "saving stdin to /var/tmp/mpipe.";
    assert!(ended.stderr.starts_with(staged), "{}", ended.stderr);
}

#[tokio::test]
async fn testAddHeaders() {
    let header = "Access-Control-Allow-Origin: *";
    let ended = call("mpipe", &["-H", header]).stdin(INPUT).run().await;
    let sent = only(&ended);
    assert_eq!(sent.header("access-control-allow-origin"), Some("*"));
    assert_eq!(sent.text(), INPUT);
}

#[tokio::test]
async fn testTargetedReducer() {
    let ended = call("mpipe", &["-r", "1"]).stdin(INPUT).run().await;
    let sent = only(&ended);
    assert_eq!(sent.header("x-manta-reducer"), Some("1"));
    assert_eq!(sent.text(), INPUT);
}

#[tokio::test]
async fn testNamedOutput() {
    let name = "/user/stor/out.txt";
    let ended = call("mpipe", &[name]).stdin(INPUT).run().await;
    let sent = only(&ended);
    assert_eq!(sent.path, name);
    assert_eq!(sent.text(), INPUT);
}

#[tokio::test]
async fn testFileUpload() {
    let file = file();
    let path = file.path().to_str().unwrap();
    let ended = call("mpipe", &["-f", path]).run().await;
    let sent = only(&ended);
    assert!(sent.path.starts_with(OUTPUT_BASE), "{}", sent.path);
    assert_eq!(sent.text(), INPUT);
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), INPUT);
    assert_eq!(ended.stderr, "");
}

#[tokio::test]
async fn testFileUploadTargetingReducer() {
    let file = file();
    let path = file.path().to_str().unwrap();
    let ended = call("mpipe", &["-f", path, "-r", "1"]).run().await;
    let sent = only(&ended);
    assert_eq!(sent.header("x-manta-reducer"), Some("1"));
    assert_eq!(sent.text(), INPUT);
    assert!(file.path().exists());
}

#[tokio::test]
async fn testFileDoesntExist() {
    let missing = format!("{}.missing", file().path().display());
    for path in [&*missing, "/var/tmp"] {
        let ended = call("mpipe", &["-f", path]).run().await;
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.sent.is_empty());
    }
}

#[tokio::test]
async fn an_upload_is_tried_three_times() {
    let broken = StatusCode::SERVICE_UNAVAILABLE;
    let ended = call("mpipe", &[]).stdin(INPUT).answers(&[broken; 2]).run();
    let failing = call("mpipe", &[]).stdin(INPUT).answers(&[broken; 3]).run();
    let (ended, failing) = tokio::join!(ended, failing);
    assert_eq!(ended.code, 0, "{ended:?}");
    let bodies: Vec<&str> = ended.sent.iter().map(Sent::text).collect();
    assert_eq!(bodies, [INPUT; 3]);
    assert_eq!(ended.stdout, format!("{}\n", ended.sent[0].path));
    assert_eq!((failing.code, failing.sent.len()), (1, 3), "{failing:?}");
    assert!(failing.stderr.contains("mpipe: "), "{}", failing.stderr);
    assert_eq!(failing.stdout, "");
}
