//! Calls of the library in the unmodified `manta` package of npm: lines (nm) of rest-api.md section 15.

use anyhow::{Context, Result, ensure};
use tests::home::{outcome, run};
use tests::{Launch, Request, Store};

/// A client, `check`, and `root`: a directory of the account's.
const BEGIN: &str = r"
var manta = require('manta');
var stream = require('stream');
var account = process.env.MANTA_USER;
var client = manta.createClient({
    sign: manta.cliSigner({ keyId: process.env.MANTA_KEY_ID, user: account }),
    user: account,
    url: process.env.MANTA_URL
});
var root = '/' + account + '/stor/library';
function check(what, found, expected) {
    if (JSON.stringify(found) !== JSON.stringify(expected)) {
        throw new Error(what + ': ' + JSON.stringify(found));
    }
}
function fail(err) { if (err) { throw err; } }
function put(name, options, next) {
    var body = new stream.PassThrough();
    client.put(root + '/' + name, body, options, function (err) { fail(err); next(); });
    body.end('x');
}
function end() { console.log('done'); client.close(); process.exit(0); }
";

const LISTINGS: &str = r"
function ls(options, next) {
    client.ls(root, options, function (err, res) {
        fail(err);
        var rows = [];
        ['object', 'directory'].forEach(function (type) {
            res.on(type, function (row) {
                check('type', row.type, type);
                check('parent', row.parent, root);
                rows.push(row.name);
            });
        });
        res.once('error', fail);
        res.once('end', function () { next(rows); });
    });
}
var names = ['a', 'b', 'c', 'd', 'e'];
function make(at, next) {
    if (at === names.length) { next(); return; }
    put(names[at], { size: 1 }, function () { make(at + 1, next); });
}
client.mkdirp(root + '/sub', function (err) {
    fail(err);
    make(0, function () {
        ls({}, function (all) {
            check('all', all, ['a', 'b', 'c', 'd', 'e', 'sub']);
            // Page by page, each with the last name of the one before as its marker.
            ls({ limit: 2 }, function (pages) {
                check('pages', pages, all);
                ls({ marker: 'c', limit: 3 }, function (rest) {
                    check('marker', rest, ['c', 'd', 'e', 'sub']);
                    ls({ reverse: true }, function (back) {
                        check('reverse', back, all.reverse());
                        ls({ type: 'directory' }, function (directories) {
                            check('directories', directories, ['sub']);
                            end();
                        });
                    });
                });
            });
        });
    });
});
";

const EMPTY_TYPE: &str = r"
client.mkdirp(root, function (err) {
    fail(err);
    put('text.txt', { size: 1, headers: { 'content-type': '' } }, function () {
        client.info(root + '/text.txt', function (err2, info) {
            fail(err2);
            check('type', info.type, 'text/plain');
            end();
        });
    });
});
";

/// A URL for each of these, one in a line.
const SIGNED: &str = r"
var wanted = [['GET'], ['HEAD', 'GET'], ['OPTIONS', 'PUT']];
function sign(at) {
    if (at === wanted.length) { client.close(); process.exit(0); }
    var options = {
        path: root + '/it\'s here',
        method: wanted[at],
        expires: Math.floor(Date.now() / 1000) + 600
    };
    client.signURL(options, function (err, url) {
        fail(err);
        console.log(url);
        sign(at + 1);
    });
}
sign(0);
";

const JOBS: &str = r"
function keys(method, id, next) {
    client[method](id, function (err, emitter) {
        fail(err);
        var found = [];
        emitter.on('key', function (key) { found.push(key); });
        emitter.once('error', fail);
        emitter.once('end', function () { next(found); });
    });
}
function wait(id, next) {
    client.job(id, function (err, job) {
        fail(err);
        if (job.state === 'done') { next(job); } else { setTimeout(wait, 20, id, next); }
    });
}
function cancels() {
    client.createJob({ phases: [ { exec: 'grep foo' } ] }, function (err, id) {
        fail(err);
        client.cancelJob(id, function (err2) {
            fail(err2);
            client.job(id, function (err3, job) {
                fail(err3);
                check('cancelled', [job.cancelled, job.inputDone], [true, true]);
                end();
            });
        });
    });
}
client.mkdirp(root, function (err) {
    fail(err);
    put('x', { size: 1 }, function () {
        // A job of one command is that command.
        client.createJob('grep x', function (err2, id) {
            fail(err2);
            client.job(id, function (err3, job) {
                fail(err3);
                check('name', job.name, '');
                check('state', ['queued', 'running'].indexOf(job.state) >= 0, true);
                check('open', [job.cancelled, job.inputDone], [false, false]);
                check('phases', job.phases, [ { type: 'map', exec: 'grep x' } ]);
                client.addJobKey(id, root + '/x', function (err4) {
                    fail(err4);
                    keys('jobInput', id, function (inputs) {
                        check('inputs', inputs, [root + '/x']);
                        client.endJob(id, function (err5) {
                            fail(err5);
                            wait(id, function (done) {
                                check('ended', [done.cancelled, done.inputDone], [false, true]);
                                check('stats', done.stats.outputs, 1);
                                keys('jobOutput', id, function (outputs) {
                                    check('outputs', outputs.length, 1);
                                    keys('jobFailures', id, function (failures) {
                                        check('failures', failures, []);
                                        cancels();
                                    });
                                });
                            });
                        });
                    });
                });
            });
        });
    });
});
";

/// Without jobs, which most of this is not about.
fn launch() -> Launch {
    Launch::new().setting("jobs.isolation = \"off\"")
}

/// Creates, feeds, ends, watches and cancels: marlin.md, appendix A.7.
#[test]
fn jobs_of_the_library() -> Result<()> {
    says_done(Launch::new().start()?, JOBS)
}

fn says_done(store: Store, script: &str) -> Result<()> {
    let home = store.user()?;
    let said = run(&mut home.node(&format!("{BEGIN}{script}"))?)?;
    ensure!(said.trim_end() == "done", "{said}");
    store.finish()
}

#[test]
fn nm_ls_of_the_library() -> Result<()> {
    says_done(launch().start()?, LISTINGS)
}

/// That client sends the type which the name suggests, so the server never sees the empty one.
#[test]
fn nm_an_empty_type_is_guessed_from_the_name() -> Result<()> {
    let store = launch().setting("surface = \"manta2\"");
    says_done(store.start()?, EMPTY_TYPE)
}

#[test]
fn nm_sign_url_for_one_and_for_several_methods() -> Result<()> {
    let store = launch().start()?;
    let home = store.user()?;
    let urls = run(&mut home.node(&format!("{BEGIN}{SIGNED}"))?)?;
    let [get, head_or_get, options_or_put] = urls.lines().collect::<Vec<_>>()[..] else {
        anyhow::bail!("three URLs: {urls}");
    };
    let mut owner = store.client()?;
    owner.mkdir(&store.path("stor/library"))?.expect(204)?;
    let mut anyone = store.anonymous();
    let mut ask = |method: &str, url: &str| {
        let request = Request::new(method, url).header("host", &store.address().to_string());
        anyone.call(&match method {
            "PUT" => request.body("x"),
            _ => request,
        })
    };
    ask("PUT", options_or_put)?.expect(204)?;
    ask("OPTIONS", options_or_put)?.expect(200)?;
    ensure!(ask("GET", get)?.expect(200)?.text() == "x");
    ask("GET", head_or_get)?.expect(200)?;
    ask("HEAD", head_or_get)?.expect(200)?;
    ask("HEAD", get)?.expect(403)?;
    ask("PUT", head_or_get)?.expect_error(403, "InvalidQueryStringAuthentication")?;
    store.finish()
}

/// What `msign` is told wrongly, and the same key under both its names.
#[test]
fn nm_msign_argument_errors_and_key_ids() -> Result<()> {
    let store = launch().start()?;
    let home = store.user()?;
    for (arguments, why) in [
        (
            &["-e", "2000000000", "-E", "1h", "~~/stor/x"][..],
            "-e and -E cannot be specified together",
        ),
        (&["-E", "0h", "~~/stor/x"], "invalid expires: 0h"),
        (&["-m", "PATCH", "~~/stor/x"], "method invalid: PATCH"),
        (&[], "path required"),
    ] {
        let refused = outcome(home.npm("msign")?.args(arguments))?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(refused.status.code() == Some(1), "{arguments:?}: {said}");
        ensure!(said.contains(why), "{arguments:?}: {said}");
        ensure!(refused.stdout.is_empty(), "{arguments:?}");
    }
    let public = home.path().join(".ssh/id_rsa.pub");
    for hash in ["md5", "sha256"] {
        let mut keygen = home.command("ssh-keygen");
        let shown = run(keygen.args(["-l", "-E", hash, "-f"]).arg(&public))?;
        let print = shown.split(' ').nth(1).context("a fingerprint")?;
        let key_id = print.trim_start_matches("MD5:");
        let listed = run(home.npm("mls")?.env("MANTA_KEY_ID", key_id).arg("~~"))?;
        ensure!(listed.contains("stor/"), "{key_id}: {listed}");
        let signed = run(home
            .npm("msign")?
            .env("MANTA_KEY_ID", key_id)
            .arg("~~/stor"))?;
        let url = signed
            .trim_end()
            .strip_prefix(store.url().trim_end_matches('/'));
        let request = Request::new("GET", url.context("a URL")?);
        let request = request.header("host", &store.address().to_string());
        store.anonymous().call(&request)?.expect(200)?;
    }
    store.finish()
}
