//! `maggr`: columns of groups of lines.

use std::io::Write;

use crate::support::{Ended, call};

const SAMPLE: &str = "foo baz 1 2\nbar baz 3 4\nfoo bng 5 6";

async fn check(args: &[&str], stdin: &str, expected: &str) {
    let ended = call("maggr", args).stdin(stdin).run().await;
    let said = (ended.code, &*ended.stdout, &*ended.stderr);
    assert_eq!(said, (0, expected, ""), "{args:?}");
}

async fn refused(args: &[&str]) -> Ended {
    let ended = call("maggr", args).stdin(SAMPLE).run().await;
    assert_eq!((ended.code, &*ended.stdout), (2, ""), "{ended:?}");
    assert!(ended.stderr.contains("usage: maggr"), "{}", ended.stderr);
    ended
}

#[tokio::test]
async fn testNoOpts() {
    refused(&[]).await;
}

#[tokio::test]
async fn testBadColumnArgs() {
    refused(&["-c1", "key"]).await;
}

#[tokio::test]
async fn testColumnNegative() {
    refused(&["-c1=key", "-c2=nop", "-c-1=sum"]).await;
    refused(&["-c0=sum"]).await;
}

#[tokio::test]
async fn testOpList() {
    let args = ["-c1=key", "-c2=nop", "sum"];
    check(&args, SAMPLE, "foo 6 8\nbar 3 4\n").await;
}

#[tokio::test]
async fn testOpListWithStringColumn() {
    let input = "foo 1 1\nbar 1 1\nfoo baz 1\nfoo 1 1\nbar 1 1\n";
    let ended = call("maggr", &["-c1=key", "sum"]).stdin(input).run().await;
    assert_eq!((ended.code, &*ended.stdout), (1, "foo 2 2\nbar 2 2\n"));
    let said = "Non-number in non-key column 2. line: foo baz 1\n";
    assert_eq!(ended.stderr, said);
}

#[tokio::test]
async fn testOpListWithStringColumnFirstLine() {
    let input = "foo baz 1\nbar 1 1\nfoo 1 1\nfoo 1 1\nbar 1 1\n";
    let ended = call("maggr", &["-c1=key", "sum"]).stdin(input).run().await;
    // Nothing of a line that is skipped is left, not even its key.
    assert_eq!((ended.code, &*ended.stdout), (1, "bar 2 2\nfoo 2 2\n"));
    let said = "Non-number in non-key column 2. line: foo baz 1\n";
    assert_eq!(ended.stderr, said);
}

#[tokio::test]
async fn testNoColumnDefForSomeColumns() {
    check(&["-c1=key", "-c4=sum"], SAMPLE, "foo 8\nbar 4\n").await;
}

#[tokio::test]
async fn testList() {
    let ended = call("maggr", &["-l"]).run().await;
    assert_eq!((ended.code, &*ended.stdout), (0, ""));
    let all = "key nop count max mean min range sum ovariance variance stddev\n";
    assert_eq!(ended.stderr, all);
}

#[tokio::test]
async fn testAllOperations() {
    let all = "-c2=count,max,mean,min,range,sum,ovariance,variance,stddev";
    let input = "foo 19\nfoo 3\nfoo 7\nfoo 8\nfoo 12";
    let results = "foo 5,19,9.8,3,16,49,36.7,36.7,6.058052492344384\n";
    check(&["-c1=key", all], input, results).await;
}

#[tokio::test]
async fn allNoOp() {
    let args = ["-c1=nop", "-c2=nop", "-c3=nop", "-c4=nop"];
    check(&args, SAMPLE, "\n").await;
}

#[tokio::test]
async fn testSimpleSum() {
    let args = ["-c1=key", "-c2=nop", "-c3=sum", "-c4=sum"];
    check(&args, SAMPLE, "foo 6 8\nbar 3 4\n").await;
}

#[tokio::test]
async fn testInputSeparator() {
    let args = ["-c1=key", "-c2=nop", "-c3=sum", "-c4=sum", "-d", "~"];
    check(&args, &SAMPLE.replace(' ', "~"), "foo~6~8\nbar~3~4\n").await;
}

#[tokio::test]
async fn testOutputSeparator() {
    let args = ["-c1=key", "-c2=nop", "-c3=sum", "-c4=sum", "-o", "~"];
    check(&args, SAMPLE, "foo~6~8\nbar~3~4\n").await;
}

#[tokio::test]
async fn testFormatString() {
    let formats = ["-t3=%.1f", "-t4=%5d"];
    let args = [&["-c1=key", "-c2=nop", "-c3=sum", "-c4=sum"][..], &formats];
    check(&args.concat(), SAMPLE, "foo 6.0     8\nbar 3.0     4\n").await;
}

#[tokio::test]
async fn testMultipleOpsFormatString() {
    let operations = ["-c1=key", "-c2=nop", "-c3=sum,count", "-c4=sum,range"];
    let formats = ["-t3=%.1f,%02d", "-t4=%5d,%#x"];
    let args = [&operations[..], &formats].concat();
    let expected = "foo 6.0,02     8,0x4\nbar 3.0,01     4,0x0\n";
    check(&args, SAMPLE, expected).await;
}

#[tokio::test]
async fn testGlobalFormatString() {
    let operations = ["-c1=key", "-c2=nop", "-c3=sum,count", "-c4=sum,range"];
    let args = [&operations[..], &["-T", "%.2f"]].concat();
    let expected = "foo 6.00,2.00 8.00,4.00\nbar 3.00,1.00 4.00,0.00\n";
    check(&args, SAMPLE, expected).await;
}

#[tokio::test]
async fn testGlobalFormatStringSkip() {
    let operations = ["-c1=key", "-c2=nop", "-c3=sum,count", "-c4=sum,range"];
    let args = [&operations[..], &["-T", "%.2f", "-t4=,%#x"]].concat();
    let expected = "foo 6.00,2.00 8.00,0x4\nbar 3.00,1.00 4.00,0x0\n";
    check(&args, SAMPLE, expected).await;
}

#[tokio::test]
async fn testReadingFromFileNotStdin() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(SAMPLE.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let args = ["-c1=key", "-c2=nop", "-c3=sum", "-c4=sum", "-f", path];
    check(&args, "foo baz 100 100\n", "foo 6 8\nbar 3 4\n").await;

    let missing = format!("{path}.missing");
    let ended = call("maggr", &["-f", &missing, "sum"]).run().await;
    assert_eq!(ended.code, 1, "{ended:?}");
}

#[tokio::test]
async fn testMultipleOpsMultipleCols() {
    let args = ["-c1=key", "-c2=nop", "-c3=sum,count", "-c4=sum,range"];
    check(&args, SAMPLE, "foo 6,2 8,4\nbar 3,1 4,0\n").await;
}

#[tokio::test]
async fn testMultipleOpsMultipleColsSeparator() {
    let operations = ["-c1=key", "-c2=nop", "-c3=sum,count", "-c4=sum,range"];
    let args = [&operations[..], &["-i", "~"]].concat();
    check(&args, SAMPLE, "foo 6~2 8~4\nbar 3~1 4~0\n").await;
}

#[tokio::test]
async fn testColumnOutOfBounds() {
    let args = ["-c1=key", "-c2=nop", "-c3=nop", "-c4=nop", "-c5=sum"];
    check(&args, SAMPLE, "foo\nbar\n").await;
}

#[tokio::test]
async fn testAlternateKey() {
    let args = ["-c1=nop", "-c2=key", "-c3=sum", "-c4=sum"];
    check(&args, SAMPLE, "baz 4 6\nbng 5 6\n").await;
}

#[tokio::test]
async fn groups_come_in_the_order_of_their_first_lines_and_sums_may_be_zero() {
    let input = "10 5\n9 1\n10 -5\n9 2 7\n";
    check(&["-c1=key", "sum"], input, "10 0\n9 3 7\n").await;
    check(&["sum"], "1\n2\n", "3\n").await;
    check(&["sum"], "", "").await;
    check(&["variance,stddev,ovariance"], "1\n", "NaN,NaN,NaN\n").await;
}
