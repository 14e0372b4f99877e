//! The unmodified `manta` package of npm: `mmpu` and the calls of its library, with parts of 5 MiB.
//! The line (nm) of rest-api.md section 15.4.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::Store;
use tests::home::{Home, outcome, run};

const PART_BYTES: usize = 5 << 20;

fn part(number: u8, size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8 ^ number).collect()
}

fn mmpu(home: &Home, arguments: &[&str]) -> Result<String> {
    Ok(run(home.npm("mmpu")?.args(arguments))?
        .trim_end()
        .to_owned())
}

#[test]
fn nm_mmpu_flow_with_parts_of_5_mib() -> Result<()> {
    let mut store = Store::launch()?;
    let home = store.user()?;
    let parts = [part(1, PART_BYTES), part(2, PART_BYTES), part(3, 77)];
    let size = parts.iter().map(Vec::len).sum::<usize>().to_string();
    for (number, bytes) in parts.iter().enumerate() {
        fs::write(home.path().join(format!("part{number}")), bytes)?;
    }
    let object = "~~/stor/whole";
    let create = [
        "create",
        "-c",
        "3",
        "-s",
        &size,
        "-H",
        "m-kind: large",
        object,
    ];
    let id = mmpu(&home, &create)?;
    let get =
        |id: &str| -> Result<Value> { Ok(serde_json::from_str(&mmpu(&home, &["get", id])?)?) };
    let state = get(&id)?;
    ensure!(
        state["state"] == "created" && state["numCopies"] == 3,
        "{state}"
    );
    let directory = state["partsDirectory"]
        .as_str()
        .context("it has a directory")?;
    ensure!(mmpu(&home, &["list"])? == directory, "mmpu list");

    let mut etags = Vec::new();
    for number in 0..parts.len() {
        let file = format!("part{number}");
        etags.push(mmpu(
            &home,
            &["upload", "-q", "-f", &file, &id, &number.to_string()],
        )?);
    }
    let expected: Vec<String> = (0..3)
        .map(|number| format!("{directory}/{number}"))
        .collect();
    ensure!(
        mmpu(&home, &["parts", &id])? == expected.join("\n"),
        "mmpu parts"
    );
    let all = mmpu(&home, &["list", "-p"])?;
    ensure!(expected.iter().all(|path| all.contains(path)), "{all}");

    let mut commit = vec!["commit", &id];
    commit.extend(etags.iter().map(String::as_str));
    ensure!(
        mmpu(&home, &commit)?.is_empty(),
        "mmpu commit prints nothing"
    );
    ensure!(mmpu(&home, &commit)?.is_empty(), "and may be repeated");
    let state = get(&id)?;
    ensure!(
        state["state"] == "done" && state["result"] == "committed",
        "{state}"
    );
    let got = outcome(home.npm("mget")?.args(["-q", object]))?;
    ensure!(
        got.stdout == parts.concat(),
        "mget gives the parts in a row"
    );
    let info = run(home.npm("minfo")?.arg(object))?;
    ensure!(info.contains("m-kind: large"), "{info}");

    let other = mmpu(&home, &["create", "~~/stor/other"])?;
    mmpu(&home, &["abort", &other])?;
    let state = get(&other)?;
    ensure!(
        state["state"] == "done" && state["result"] == "aborted",
        "{state}"
    );
    let refused = outcome(home.npm("mmpu")?.args(["commit", &other]))?;
    ensure!(refused.status.code() == Some(1), "a commit after an abort");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(said.contains("already aborted"), "{said}");
    let unknown = "11111111-1111-4111-8111-111111111111";
    let refused = outcome(home.npm("mmpu")?.args(["get", unknown]))?;
    ensure!(refused.status.code() == Some(1), "an unknown upload");

    // What was committed is there after a crash, too.
    store.kill()?;
    store.start()?;
    let home = store.user()?;
    let got = outcome(home.npm("mget")?.args(["-q", object]))?;
    ensure!(got.stdout == parts.concat(), "after a kill");
    store.finish()
}

const LIBRARY: &str = r#"
var manta = require('manta');
var stream = require('stream');
var account = process.env.MANTA_USER;
var client = manta.createClient({
    sign: manta.cliSigner({ keyId: process.env.MANTA_KEY_ID, user: account }),
    user: account,
    url: process.env.MANTA_URL
});
function check(what, condition) {
    if (!condition) { throw new Error(what); }
}
function put(id, number, bytes, next) {
    var body = new stream.PassThrough();
    var options = { account: account, size: bytes.length };
    client.uploadPart(body, id, number, options, function (err, res) {
        if (err) { throw err; }
        next(res.headers.etag);
    });
    body.end(bytes);
}
var first = Buffer.alloc(5242880, 'a'), last = Buffer.from('the end');
var options = { account: account, size: first.length + last.length, copies: 2,
    headers: { 'm-from': 'library' } };
client.createUpload('/' + account + '/stor/library', options, function (err, upload) {
    if (err) { throw err; }
    check('create', upload.id && upload.partsDirectory);
    put(upload.id, 1, last, function (second) {
        put(upload.id, 0, first, function (etag) {
            client.getUpload(upload.id, { account: account }, function (err2, state) {
                if (err2) { throw err2; }
                check('state', state.state === 'created' && state.headers['m-from'] === 'library');
                var late = { account: account };
                client.commitUpload(upload.id, [second, etag], late, function (err3) {
                    check('wrong order', err3 && err3.name === 'MultipartUploadInvalidArgumentError');
                    client.commitUpload(upload.id, [etag, second], late, function (err4) {
                        if (err4) { throw err4; }
                        client.abortUpload(upload.id, late, function (err5) {
                            check('abort', err5 && err5.name === 'InvalidMultipartUploadStateError');
                            client.info('/' + account + '/stor/library', function (err6, info) {
                                if (err6) { throw err6; }
                                check('size', info.size === first.length + last.length);
                                console.log('done');
                                client.close();
                                process.exit(0);
                            });
                        });
                    });
                });
            });
        });
    });
});
"#;

#[test]
fn nm_library_flow_with_parts_of_5_mib() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let said = run(&mut home.node(LIBRARY)?)?;
    ensure!(said.trim_end() == "done", "{said}");
    store.finish()
}
