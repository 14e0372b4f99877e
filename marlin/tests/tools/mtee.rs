//! `mtee`: standard input into an object, and on to standard output.

use http::{Method, StatusCode};

use crate::support::{Ended, Sent, call};

const INPUT: &str = "1\n2\n3\n4\n";
const OBJECT: &str = "/user/stor/mtee.txt";

/// The one request of a call that succeeded and copied.
fn only(ended: &Ended) -> &Sent {
    assert_eq!((ended.code, &*ended.stderr), (0, ""), "{ended:?}");
    assert_eq!(ended.stdout, INPUT);
    let [sent] = &ended.sent[..] else {
        panic!("one request: {ended:?}");
    };
    assert_eq!(sent.method, Method::PUT);
    assert_eq!(sent.path, OBJECT);
    assert_eq!(sent.text(), INPUT);
    assert_eq!(sent.header("x-manta-stream"), None);
    sent
}

async fn refused(args: &[&str]) {
    let ended = call("mtee", args).stdin(INPUT).run().await;
    assert_eq!((ended.code, &*ended.stdout), (2, ""), "{ended:?}");
    assert!(ended.stderr.contains("usage: mtee"), "{}", ended.stderr);
    assert!(ended.sent.is_empty());
}

#[tokio::test]
async fn testNoOpts() {
    refused(&[]).await;
}

#[tokio::test]
async fn testBasic() {
    let ended = call("mtee", &[OBJECT]).stdin(INPUT).run().await;
    assert_eq!(only(&ended).header("x-durability-level"), Some("2"));
}

#[tokio::test]
async fn testAddHeaders() {
    let header = "Access-Control-Allow-Origin: *";
    let ended = call("mtee", &["-H", header, OBJECT])
        .stdin(INPUT)
        .run()
        .await;
    let sent = only(&ended);
    assert_eq!(sent.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn testAddManyHeaders() {
    let args = ["-H", "a:b:c", "-H", "d: e:f", "-H", "g:h: i", OBJECT];
    let ended = call("mtee", &args).stdin(INPUT).run().await;
    let sent = only(&ended);
    assert_eq!(sent.header("a"), Some("b:c"));
    assert_eq!(sent.header("d"), Some("e:f"));
    assert_eq!(sent.header("g"), Some("h: i"));
}

#[tokio::test]
async fn testAddInvalidHeaderOption() {
    refused(&["-H", "nothing", OBJECT]).await;
}

#[tokio::test]
async fn testDurabilityLevel() {
    let ended = call("mtee", &["-c", "3", OBJECT]).stdin(INPUT).run().await;
    assert_eq!(only(&ended).header("x-durability-level"), Some("3"));
}

#[tokio::test]
async fn testInvalidDurabilityLevel() {
    refused(&["-c", "foo", OBJECT]).await;
}

#[tokio::test]
async fn what_is_no_text_is_copied_too_and_a_second_attempt_stores_it() {
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let input = String::from_utf8(bytes.iter().map(|byte| byte % 128).collect()).unwrap();
    let ended = call("mtee", &[OBJECT])
        .stdin(&input)
        .answers(&[StatusCode::INTERNAL_SERVER_ERROR])
        .run()
        .await;
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
    assert!(ended.stdout == input, "what was read comes out again");
    assert_eq!(ended.sent.len(), 2);
    assert!(ended.sent[1].body == input, "and lies in the object");
}
