//! `msplit`: lines to reducers.

use std::io::Read;

use flate2::read::GzDecoder;
use http::StatusCode;

use crate::support::{Ended, OUTPUT_BASE, Sent, call};

const NUMBERS: &str = "1\n2\n3\n4\n";
const OBJECTS: &str = "{\"x\":1}\n{\"x\":2}\n{\"x\":3}\n{\"x\":4}\n";

/// The parts of a call that succeeded without a word. Their names are told apart by the reducer alone.
fn parts(ended: Ended) -> Vec<Sent> {
    let said = (ended.code, &*ended.stdout, &*ended.stderr);
    assert_eq!(said, (0, "", ""), "{ended:?}");
    let parts = ended.by_reducer();
    let base = parts[0].path.strip_suffix(".0").unwrap();
    assert!(base.starts_with(OUTPUT_BASE), "{base}");
    assert!(base.len() > OUTPUT_BASE.len(), "{base}");
    for (reducer, part) in parts.iter().enumerate() {
        assert_eq!(part.path, format!("{base}.{reducer}"));
        assert_eq!(part.header("x-manta-stream"), Some("stdout"));
    }
    parts
}

async fn check(args: &[&str], stdin: &str, expected: &[&str]) {
    let parts = parts(call("msplit", args).stdin(stdin).run().await);
    let texts: Vec<&str> = parts.iter().map(Sent::text).collect();
    assert_eq!(texts, expected, "{args:?}");
}

/// The call ends with this code, and nothing is emitted.
async fn refused(args: &[&str], stdin: &str, code: i32) -> String {
    let ended = call("msplit", args).stdin(stdin).run().await;
    assert_eq!((ended.code, &*ended.stdout), (code, ""), "{ended:?}");
    assert!(ended.sent.is_empty(), "{ended:?}");
    ended.stderr
}

#[tokio::test]
async fn testNoOpts() {
    let said = refused(&[], "", 2).await;
    assert!(said.contains("usage: msplit"), "{said}");
}

#[tokio::test]
async fn testBasic() {
    check(&["-n", "2"], NUMBERS, &["1\n3\n", "2\n4\n"]).await;
}

#[tokio::test]
async fn testBasicAltField() {
    let args = ["-n", "2", "-f", "3", "-d", ","];
    // The last line has no end of its own.
    let parts = ["1,2,3\n1,1,1\n", "1,2,2\n1,3,4\n"];
    check(&args, "1,2,3\n1,2,2\n1,1,1\n1,3,4", &parts).await;
}

#[tokio::test]
async fn testBasicJson() {
    let parts = ["{\"x\":1}\n{\"x\":3}\n", "{\"x\":2}\n{\"x\":4}\n"];
    check(&["-n", "2", "-j", "-f", "x"], OBJECTS, &parts).await;
}

#[tokio::test]
async fn testBasicExec() {
    let args = ["-n", "2", "-e", "return (line < 3 ? \"1\" : \"2\")"];
    check(&args, NUMBERS, &["1\n2\n", "3\n4\n"]).await;
}

#[tokio::test]
async fn testExecWithoutReturn() {
    let args = ["-n", "2", "-e", "line < 3 ? \"1\" : \"2\""];
    check(&args, NUMBERS, &["1\n2\n", "3\n4\n"]).await;
}

#[tokio::test]
async fn testExecWithTrailingSemicolon() {
    let args = ["-n", "2", "-e", "line < 3 ? \"1\" : \"2\";"];
    check(&args, NUMBERS, &["1\n2\n", "3\n4\n"]).await;
}

#[tokio::test]
async fn testBasicExecJson() {
    let args = ["-n", "2", "-j", "-e", "this.x < 3 ? \"1\" : \"2\""];
    let parts = ["{\"x\":1}\n{\"x\":2}\n", "{\"x\":3}\n{\"x\":4}\n"];
    check(&args, OBJECTS, &parts).await;
}

#[tokio::test]
async fn testReducerTargetingWithDashI() {
    let numbers: String = (1..=10).map(|number| format!("{number}\n")).collect();
    let parts = ["3\n6\n9\n", "1\n4\n7\n10\n", "2\n5\n8\n"];
    // A number, or the text of one.
    for body in ["line % 3", "String(line % 3)"] {
        check(&["-n", "3", "-i", "-e", body], &numbers, &parts).await;
    }
    check(&["-n", "3", "-i"], "2\n0\n2\n", &["0\n", "", "2\n2\n"]).await;
}

#[tokio::test]
async fn testDashIOutOfRange() {
    for line in ["3", "-1", "x", ""] {
        let said = refused(&["-n", "3", "-i"], &format!("1\n{line}\n"), 1).await;
        assert!(said.contains(&format!("\"{line}\"")), "{said}");
    }
}

#[tokio::test]
async fn testBasicGzCompress() {
    let ended = call("msplit", &["-n", "3", "-z"])
        .stdin(NUMBERS)
        .run()
        .await;
    let parts = parts(ended);
    let texts = parts.iter().map(|part| {
        let mut text = String::new();
        // One member: not every reader goes on to a second one.
        let mut gzip = GzDecoder::new(&part.body[..]);
        gzip.read_to_string(&mut text).unwrap();
        assert!(gzip.into_inner().is_empty());
        text
    });
    let texts: Vec<String> = texts.collect();
    assert_eq!(texts.concat().len(), NUMBERS.len());
    let mut lines: Vec<&str> = texts.iter().flat_map(|text| text.lines()).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn every_reducer_gets_an_object_and_no_byte_is_changed() {
    check(&["-n", "3"], "", &["", "", ""]).await;

    let mut input = Vec::new();
    for number in 0..60_000_u32 {
        input.extend(number.to_string().bytes());
        input.extend([b'\t', 0xff, 0, 0xc3, b'\n']);
    }
    let ended = call("msplit", &["-n", "30"]).stdin(&input).run().await;
    let parts = parts(ended);
    assert_eq!(parts.len(), 30);
    let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let mut lines: Vec<Vec<u8>> = lines.map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    let all: Vec<u8> = parts.iter().flat_map(|part| part.body.to_vec()).collect();
    assert!(lines(&all) == lines(&input), "a line is lost or changed");
}

#[tokio::test]
async fn lines_without_a_key_go_to_one_reducer() {
    let parts = ["", "a\nb\n"];
    check(&["-n", "2", "-f", "2"], "a\nb\n", &parts).await;
    let objects = "{\"a\":1}\n{\"b\":1}\n";
    check(&["-n", "2", "-j", "-f", "x.y"], objects, &["", objects]).await;
}

#[tokio::test]
async fn what_is_thrown_ends_it_before_anything_is_emitted() {
    for (args, line, expected) in [
        (
            &["-j", "-f", "x"][..],
            "{\"x\":",
            "SyntaxError: input is not json: {\"x\":",
        ),
        (&["-j", "-f", "x"], "", "SyntaxError: input is not json: "),
        (
            &["-e", "5"],
            "1",
            "TypeError: the key must be a string, but is number: 5",
        ),
        (
            &["-e", "throw new Error('no ' + line); return"],
            "1",
            "Error: no 1",
        ),
        (&["-e", "line("], "1", "SyntaxError: "),
    ] {
        let args: Vec<&str> = ["-n", "2"].iter().chain(args).copied().collect();
        let said = refused(&args, &format!("{line}\n"), 1).await;
        assert!(said.starts_with(&format!("msplit: {expected}")), "{said}");
    }
}

#[tokio::test]
async fn a_part_that_cannot_be_stored_fails_all() {
    let ended = call("msplit", &["-n", "1"])
        .stdin(NUMBERS)
        .answers(&[StatusCode::SERVICE_UNAVAILABLE; 3])
        .run()
        .await;
    assert_eq!((ended.code, ended.sent.len()), (1, 3), "{ended:?}");
}
