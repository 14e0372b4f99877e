//! Calls of the library in the unmodified `manta` package of npm: lines (nm) of rest-api.md section 15.

use anyhow::{Result, ensure};
use tests::Store;
use tests::home::run;

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

fn says_done(script: &str) -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let said = run(&mut home.node(&format!("{BEGIN}{script}"))?)?;
    ensure!(said.trim_end() == "done", "{said}");
    store.finish()
}

#[test]
fn nm_ls_of_the_library() -> Result<()> {
    says_done(LISTINGS)
}

/// That client sends the type which the name suggests, so the server never sees the empty one.
#[test]
fn nm_an_empty_type_is_guessed_from_the_name() -> Result<()> {
    says_done(EMPTY_TYPE)
}
