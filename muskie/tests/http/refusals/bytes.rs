//! Bodies and the headers that come with them: what does not fit, does not match, or is refused for its condition.

use super::{Row, Stage, asks, row};
use crate::client::Request;
use crate::upload::md5_of;

const DURABILITY: &str = "durability-level must be between 1 and 9";
const EXHAUSTED: &str = "No storage nodes available for this request";
const MALFORMED: &str = "the chunks of the body are malformed";
const RANGES: &str = "multi-range requests not supported";

pub(super) const ROWS: &[Row<Stage>] = &[
    row(400, "BadRequest", "Content-MD5 invalid", |stage| {
        vec![asks(stage.put("content-md5", "x"), "Content-MD5 invalid")]
    }),
    row(
        400,
        "ContentMD5Mismatch",
        "Content-MD5 expected {computed}, but was {sent}",
        |stage| {
            let (computed, sent) = (md5_of(b"new"), md5_of(b"neu"));
            let message = format!("Content-MD5 expected {computed}, but was {sent}");
            vec![asks(stage.put("content-md5", &sent), message)]
        },
    ),
    row(
        400,
        "BadRequest",
        "invalid content-disposition header: {header}",
        |stage| {
            let message = "invalid content-disposition header: attachment;";
            let name = "content-disposition";
            vec![
                asks(stage.put(name, "attachment;"), message),
                asks(stage.update("/alice/stor/o", name, "attachment;"), message),
            ]
        },
    ),
    row(
        400,
        "BadRequest",
        "{what} cannot exceed {limit} bytes",
        |stage| {
            let message = "content-type cannot exceed 1024 bytes";
            let long = format!("text/{}", "x".repeat(1020));
            vec![
                asks(stage.put("content-type", &long), message),
                asks(
                    stage.update("/alice/stor/o", "content-type", &long),
                    message,
                ),
            ]
        },
    ),
    row(400, "BadRequest", MALFORMED, |stage| {
        let chunked = || {
            let request =
                Request::new("PUT", "/alice/stor/o").header("transfer-encoding", "chunked");
            asks(stage.by_alice(request), MALFORMED).told("connection", "close")
        };
        let garbage: [&[u8]; 5] = [
            b"zz\r\n",
            b"5\r\nhelloX\r\n",
            b"-5\r\nhello\r\n",
            b"fffffffffffffffff\r\n",
            b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
        ];
        garbage.map(|bytes| chunked().and_sends(bytes)).into()
    }),
    // A body that only stops too early is not malformed. Seen by whoever closes only its own side.
    row(
        499,
        "UploadAbandoned",
        "request was aborted prematurely by the client",
        |stage| {
            let put = |header: &str, value: &str| {
                let request = Request::new("PUT", "/alice/stor/o").header(header, value);
                let message = "request was aborted prematurely by the client";
                asks(stage.by_alice(request), message).and_hangs_up()
            };
            let cut: [&[u8]; 4] = [b"5\r\nhel", b"5", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n"];
            let mut all: Vec<_> = cut
                .map(|bytes| put("transfer-encoding", "chunked").and_sends(bytes))
                .into();
            all.push(put("content-length", "100").and_sends(b"hel"));
            all
        },
    ),
    row(
        501,
        "NotImplemented",
        "transfer-encoding {value} is not supported (use 'chunked')",
        |stage| {
            ["gzip, chunked", "chunked, chunked", "identity, Chunked"]
                .map(|value| {
                    let request = Request::new("PUT", "/alice/stor/o");
                    let request = request.header("transfer-encoding", value);
                    let message =
                        format!("transfer-encoding {value} is not supported (use 'chunked')");
                    asks(stage.by_alice(request), message).and_sends(b"5\r\nhello\r\n0\r\n\r\n")
                })
                .into()
        },
    ),
    row(501, "NotImplemented", RANGES, |stage| {
        let request = Request::new("GET", "/alice/stor/o").header("range", "bytes=0-0,2-2");
        vec![asks(stage.by_alice(request), RANGES)]
    }),
    row(
        416,
        "RequestedRangeNotSatisfiable",
        "(surface `manta`)",
        |stage| {
            let request = Request::new("GET", "/alice/stor/o").header("range", "bytes=3-");
            vec![asks(stage.by_alice(request), "").told("content-range", "bytes */3")]
        },
    ),
    row(
        406,
        "NotAcceptable",
        "{path} accepts {content_type}",
        |stage| {
            let request = Request::new("GET", "/alice/stor/o").header("accept", "application/json");
            let message = "/alice/stor/o accepts text/plain";
            vec![asks(stage.by_alice(request), message)]
        },
    ),
    row(
        400,
        "InvalidDurabilityLevel",
        "durability-level must be between 1 and {max}",
        |stage| vec![asks(stage.put("durability-level", "10"), DURABILITY)],
    ),
    row(
        503,
        "InternalError",
        "No storage nodes available for this request (`Retry-After: 30`)",
        |stage| vec![asks(stage.put("durability-level", "9"), EXHAUSTED)],
    ),
    row(
        400,
        "InvalidMaxContentLength",
        "{value} is an invalid max-content-length value",
        |stage| {
            let request = Request::new("PUT", "/alice/stor/o").chunked(&[b"new"]);
            let request = request.header("max-content-length", "-5");
            let message = "-5 is an invalid max-content-length value";
            vec![asks(stage.by_alice(request), message)]
        },
    ),
    row(
        413,
        "MaxContentLengthExceeded",
        "request has exceeded {received_bytes} bytes",
        |stage| {
            let request = Request::new("PUT", "/alice/stor/o").chunked(&[b"hello ", b"world"]);
            let request = request.header("max-content-length", "7");
            vec![asks(
                stage.by_alice(request),
                "request has exceeded 11 bytes",
            )]
        },
    ),
    row(
        507,
        "NotEnoughSpace",
        "not enough free space for {megabytes} MB",
        |stage| {
            let request = Request::new("PUT", "/alice/stor/o")
                .header("content-length", "1000000000000000")
                .header("expect", "100-continue");
            let message = "not enough free space for 953674317 MB";
            vec![asks(stage.by_alice(request), message).told("connection", "close")]
        },
    ),
    row(
        400,
        "InvalidUpdate",
        "overwrite of \"{header}\" forbidden",
        |stage| {
            let path = "/alice/stor/o";
            let sized = Request::new("PUT", &format!("{path}?metadata=true")).body("");
            vec![
                asks(
                    stage.by_alice(sized),
                    "overwrite of \"content-length\" forbidden",
                ),
                asks(
                    stage.update(path, "content-md5", &md5_of(b"old")),
                    "overwrite of \"content-md5\" forbidden",
                ),
                asks(
                    stage.update(path, "durability-level", "2"),
                    "overwrite of \"durability-level\" forbidden",
                ),
            ]
        },
    ),
    row(
        400,
        "InvalidUpdate",
        "overwrite of \"{header}\" forbidden on a directory",
        |stage| {
            let message = "overwrite of \"content-length\" forbidden on a directory";
            let put =
                |path: &str| asks(stage.by_alice(Request::new("PUT", path).body("")), message);
            [
                "/alice/stor/d?metadata=true",
                "/alice/stor/d",
                "/alice/stor",
                "/alice/jobs",
            ]
            .map(put)
            .into()
        },
    ),
    row(412, "PreconditionFailed", "(the reason)", |stage| {
        let message = "if-match 'x' didn't match etag ''";
        let new = Request::new("PUT", "/alice/stor/new").header("if-match", "x");
        vec![asks(stage.by_alice(new.body("x")), message)]
    }),
];
