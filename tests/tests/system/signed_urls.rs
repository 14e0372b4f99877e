//! `msign`: its URLs are those of the npm package to the byte, and the store takes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tests::Store;
use tests::home::{run, run_with};
use tests::wire::Request;

use crate::said::{fails_with, is_wrong_usage, said};

/// An hour from now, for both clients the same.
fn in_an_hour() -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok((now + Duration::from_secs(3600)).as_secs().to_string())
}

/// What stands behind the host.
fn target<'a>(store: &Store, url: &'a str) -> Result<&'a str> {
    url.trim_end()
        .strip_prefix(store.url().trim_end_matches('/'))
        .with_context(|| format!("{url} is not for {}", store.url()))
}

#[test]
fn urls_are_those_of_the_npm_client() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let expires = in_an_hour()?;
    for arguments in [
        vec!["~~/stor/x.txt"],
        vec![
            "~~/stor/a b/ü+%/x=1&2",
            "~~/public",
            "~~/stor/two//slashes/./x",
        ],
        vec!["-m", "PUT", "-m", "OPTIONS", "~~/stor/x.txt"],
        vec!["-m", "HEAD", "--role", "one,two", "~~/stor/x.txt"],
        vec!["--role", "one", "--role", "two", "~~/stor/x.txt"],
        vec!["--subuser", "bob", "~~/stor/x.txt"],
        vec!["-g", "rsa-sha256", "~~/stor/x.txt"],
    ] {
        let theirs = run(home.npm("msign")?.args(["-e", &expires]).args(&arguments))?;
        let ours = run(home.own("msign").args(["-e", &expires]).args(&arguments))?;
        // Theirs signs side by side, and prints in the order in which that ends.
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(String::from).collect();
            lines.sort();
            lines
        };
        ensure!(
            sorted(&ours) == sorted(&theirs),
            "{arguments:?}\nours   {ours}\ntheirs {theirs}"
        );
    }
    store.finish()
}

/// A request without a signature of its own, to the host that the URL was signed for.
fn request(store: &Store, method: &str, target: &str) -> Request {
    Request::new(method, target).header("host", &store.address().to_string())
}

#[test]
fn the_store_takes_them_without_any_other_sign_of_who_asks() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    run_with(home.own("mput").arg("~~/stor/a (b) 'c'!*"), b"content")?;
    let mut anyone = store.anonymous();

    let both = run(home
        .own("msign")
        .args(["-m", "get", "-m", "HEAD", "~~/stor/a (b) 'c'!*"]))?;
    let both = target(&store, &both)?;
    ensure!(
        anyone
            .call(&request(&store, "GET", both))?
            .expect(200)?
            .text()
            == "content",
        "GET"
    );
    anyone.call(&request(&store, "HEAD", both))?.expect(200)?;
    anyone
        .call(&request(&store, "DELETE", both))?
        .expect_error(403, "InvalidQueryStringAuthentication")?;
    let shortened = both.replace("&method=GET%2CHEAD", "");
    ensure!(shortened != both, "{both}");
    anyone
        .call(&request(&store, "GET", &shortened))?
        .expect_error(403, "InvalidSignature")?;

    let put = run(home
        .own("msign")
        .args(["-E", "10m", "-m", "PUT", "~~/stor/new"]))?;
    let put = target(&store, &put)?;
    anyone
        .call(&request(&store, "PUT", put).body("by anyone"))?
        .expect(204)?;
    ensure!(
        run(home.own("mget").arg("~~/stor/new"))? == "by anyone",
        "PUT"
    );
    let listed = run(home.own("msign").arg("~~/stor"))?;
    let listed = anyone.call(&request(&store, "GET", target(&store, &listed)?))?;
    ensure!(
        listed.expect(200)?.text().lines().count() == 2,
        "a directory"
    );

    let past = run(home.own("msign").args(["-e", "1000000000", "~~/stor/new"]))?;
    anyone
        .call(&request(&store, "GET", target(&store, &past)?))?
        .expect_error(403, "InvalidQueryStringAuthentication")?;
    store.finish()
}

#[test]
fn nothing_but_the_key_is_needed_and_mistakes_are_named() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let key = store.ready("keyFile").to_owned();
    let mut offline = home.own("msign");
    offline
        .env("MANTA_URL", "https://manta.example.com/")
        .env_remove("MANTA_KEY_ID")
        .args(["-f", &key, "-E", "1y", "-g", "rsa-sha512", "~~/stor/x"]);
    let url = run(&mut offline)?;
    let start = format!(
        "https://manta.example.com{}?algorithm=RSA-SHA512&expires=",
        store.path("stor/x")
    );
    ensure!(url.starts_with(&start), "{url}");

    let msign = |arguments: &[&str]| {
        let mut command = home.own("msign");
        command.args(arguments);
        command
    };
    fails_with(
        &mut msign(&["-e", "2000000000", "-E", "1h", "~~/stor/x"]),
        "msign: Error: -e and -E cannot be specified together",
    )?;
    for text in ["1", "0h", "1H", "h"] {
        let line = format!("msign: Error: invalid expires: {text}");
        fails_with(&mut msign(&["-E", text, "~~/stor/x"]), &line)?;
    }
    fails_with(
        &mut msign(&["stor/x"]),
        "msign: InvalidPathError: stor/x is not a valid Manta path",
    )?;
    fails_with(
        &mut msign(&["-g", "rsa-md5", "~~/stor/x"]),
        "msign: Error: rsa-md5 is not supported",
    )?;
    is_wrong_usage(
        &mut msign(&["-m", "PATCH", "~~/stor/x"]),
        "method invalid: PATCH",
    )?;
    is_wrong_usage(&mut msign(&[]), "path required")?;
    let wrong = said(&mut msign(&["-g", "ecdsa-sha256", "~~/stor/x"]))?;
    ensure!(
        wrong.code == Some(1) && wrong.stdout.is_empty(),
        "{wrong:?}"
    );
    store.finish()
}
