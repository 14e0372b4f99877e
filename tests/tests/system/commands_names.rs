//! Our own commands that give names: `mln` and `mmv`.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::home::{Home, run, run_with};
use tests::{Store, wait_for};

use crate::said::{Said, fails_with, is_wrong_usage, said};

fn info(home: &Home, path: &str) -> Result<Value> {
    Ok(serde_json::from_str(&run(home
        .own("minfo")
        .args(["-j", path]))?)?)
}

fn put(home: &Home, path: &str, content: &str) -> Result<()> {
    run_with(
        home.own("mput").args(["-H", "m-a: b", path]),
        content.as_bytes(),
    )
    .map(drop)
}

fn content(home: &Home, path: &str) -> Result<String> {
    run(home.own("mget").args(["-q", path]))
}

#[test]
fn mln_gives_a_second_name() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let stor = store.path("stor");
    put(&home, "~~/stor/a 'é'", "first")?;
    run(home.own("mmkdir").arg("~~/stor/d"))?;
    run(home.own("mln").args(["~~/stor/a 'é'", "~~/public/link"]))?;
    let (source, link) = (
        info(&home, "~~/stor/a 'é'")?,
        info(&home, "~~/public/link")?,
    );
    for same in [
        "etag",
        "content-md5",
        "content-length",
        "content-type",
        "m-a",
    ] {
        ensure!(source[same] == link[same], "{same}: {source} {link}");
    }
    let promoted = store.metric("upkeeper_objects_promoted")?;
    ensure!(promoted >= 1.0, "a first link is counted: {promoted}");
    wait_for("both names to be audited", Duration::from_secs(30), || {
        let audited = store.metric("upkeeper_references_audited")?;
        Ok((audited >= 2.0).then_some(()))
    })?;
    // Each name goes its own way from here on.
    put(&home, "~~/stor/a 'é'", "second")?;
    ensure!(
        content(&home, "~~/public/link")? == "first",
        "the link keeps what it was made of"
    );
    run(home.own("mrm").arg("~~/stor/a 'é'"))?;
    ensure!(
        content(&home, "~~/public/link")? == "first",
        "also when the source has gone"
    );
    // Over something that is there.
    put(&home, "~~/stor/b", "third")?;
    run(home.own("mln").args(["~~/stor/b", "~~/public/link"]))?;
    ensure!(content(&home, "~~/public/link")? == "third", "overwritten");

    for (words, line) in [
        (
            ["~~/stor/none", "~~/stor/x"],
            format!("mln: SourceObjectNotFoundError: {stor}/none was not found"),
        ),
        (
            ["~~/stor/d", "~~/stor/x"],
            format!("mln: LinkNotObjectError: {stor}/d is not an object"),
        ),
        (
            ["~~/stor/b", "~~/stor/none/x"],
            format!("mln: DirectoryDoesNotExistError: {stor}/none does not exist"),
        ),
        (
            ["~~/stor/b", "stor/x"],
            "mln: InvalidPathError: stor/x is not a valid Manta path".to_owned(),
        ),
    ] {
        fails_with(home.own("mln").args(words), &line)?;
    }
    let etag = info(&home, "~~/stor/b")?["etag"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let if_match = |etag: &str| format!("if-match: {etag}");
    let wrong = if_match("9253bed5-6f7f-4b13-8b25-21392bfa6426");
    let refused = said(
        home.own("mln")
            .args(["-H", &wrong, "~~/stor/b", "~~/stor/c"]),
    )?;
    ensure!(
        refused.code == Some(1) && refused.stderr.starts_with("mln: PreconditionFailedError: "),
        "{refused:?}"
    );
    run(home
        .own("mln")
        .args(["-H", &if_match(&etag), "~~/stor/b", "~~/stor/c"]))?;
    is_wrong_usage(home.own("mln").arg("~~/stor/b"), "dest required")?;
    is_wrong_usage(&mut home.own("mln"), "path required")?;

    // The package of npm makes the same links and says the same of those it cannot make.
    run(home.npm("mln")?.args(["~~/stor/b", "~~/stor/by npm"]))?;
    ensure!(
        info(&home, "~~/stor/by npm")?["etag"] == etag.as_str(),
        "a link made by npm"
    );
    for words in [
        ["~~/stor/none", "~~/stor/x"],
        ["~~/stor/d", "~~/stor/x"],
        ["~~/stor/b", "~~/stor/none/x"],
        ["~~/stor/b", "~~/stor/d"],
        ["~~/nowhere/b", "~~/stor/x"],
    ] {
        let npm = said(home.npm("mln")?.args(words).env("NODE_NO_WARNINGS", "1"))?;
        let own = said(home.own("mln").args(words))?;
        ensure!(npm == own, "{words:?}: {npm:?} {own:?}");
    }
    store.finish()
}

#[test]
fn mmv_gives_another_name() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let stor = store.path("stor");
    put(&home, "~~/stor/a 'é'", "first")?;
    put(&home, "~~/stor/b", "second")?;
    run(home.own("mmkdir").args(["-p", "~~/stor/d/e"]))?;
    let before = info(&home, "~~/stor/a 'é'")?;
    run(home.own("mmv").args(["~~/stor/a 'é'", "~~/stor/new"]))?;
    let after = info(&home, "~~/stor/new")?;
    for same in [
        "etag",
        "content-md5",
        "content-length",
        "m-a",
        "last-modified",
    ] {
        ensure!(before[same] == after[same], "{same}: {before} {after}");
    }
    ensure!(
        info(&home, "~~/stor/a 'é'")?["statusCode"] == 404,
        "the old name is gone"
    );

    let said_no = said(home.own("mmv").args(["-n", "~~/stor/b", "~~/stor/new"]))?;
    ensure!(
        said_no.code == Some(1) && said_no.stderr.starts_with("mmv: PreconditionFailedError: "),
        "{said_no:?}"
    );
    ensure!(content(&home, "~~/stor/new")? == "first", "not replaced");
    let wrong = "if-match: 9253bed5-6f7f-4b13-8b25-21392bfa6426";
    let said_no = said(
        home.own("mmv")
            .args(["-H", wrong, "~~/stor/b", "~~/stor/new"]),
    )?;
    ensure!(said_no.code == Some(1), "{said_no:?}");
    ensure!(content(&home, "~~/stor/b")? == "second", "not renamed");
    run(home.own("mmv").args(["~~/stor/b", "~~/stor/new"]))?;
    ensure!(content(&home, "~~/stor/new")? == "second", "replaced");
    run(home.own("mmv").args(["-n", "~~/stor/new", "~~/stor/newer"]))?;

    // Into a directory, one or several.
    put(&home, "~~/stor/x", "x")?;
    put(&home, "~~/stor/y", "y")?;
    run(home.own("mmv").args(["~~/stor/newer", "~~/stor/d"]))?;
    run(home
        .own("mmv")
        .args(["~~/stor/x", "~~/stor/y", "~~/stor/d/e"]))?;
    let found = run(home.own("mfind").args(["-t", "o", "~~/stor"]))?;
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    let expected = [
        format!("{stor}/d/e/x"),
        format!("{stor}/d/e/y"),
        format!("{stor}/d/newer"),
    ];
    ensure!(found == expected, "{found:?}");

    let several = ["~~/stor/d/e/x", "~~/stor/d/e/y", "~~/stor/d/newer"];
    let refused = said(home.own("mmv").args(several))?;
    let expected = Said {
        stdout: String::new(),
        stderr: format!("{stor}/d/newer is not a directory\n"),
        code: Some(1),
    };
    ensure!(refused == expected, "{refused:?}");
    for (words, line) in [
        (
            ["~~/stor/none", "~~/stor/z"],
            format!("mmv: SourceObjectNotFoundError: {stor}/none was not found"),
        ),
        (
            ["~~/stor/d", "~~/stor/z"],
            format!("mmv: LinkNotObjectError: {stor}/d is not an object"),
        ),
        (
            ["~~/stor/d/newer", "~~/stor/none/z"],
            format!("mmv: DirectoryDoesNotExistError: {stor}/none does not exist"),
        ),
    ] {
        fails_with(home.own("mmv").args(words), &line)?;
    }
    is_wrong_usage(home.own("mmv").arg("~~/stor/b"), "dest required")?;
    store.finish()
}
