//! The unmodified `manta` package of npm: every command of it that this store serves.

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::home::{Home, outcome, run, run_with};
use tests::{Launch, Store};

fn mls(home: &Home, arguments: &[&str]) -> Result<Vec<String>> {
    Ok(run(home.npm("mls")?.args(arguments))?
        .lines()
        .map(str::to_owned)
        .collect())
}

#[test]
fn files_and_directories() -> Result<()> {
    let store = Launch::new().without_key().start()?;
    let home = store.user()?;
    ensure!(
        mls(&home, &["~~"])? == ["jobs/", "public/", "reports/", "stor/", "uploads/"],
        "{:?}",
        mls(&home, &["~~"])?
    );
    run(home.npm("mmkdir")?.args(["-p", "~~/stor/books/old (very)"]))?;
    // Twice is no error.
    run(home.npm("mmkdir")?.arg("~~/stor/books"))?;

    let text = "It is a truth universally acknowledged\n".repeat(5000);
    let file = home.path().join("pride.txt");
    std::fs::write(&file, &text)?;
    // Into a directory, under the name of the file.
    run(home
        .npm("mput")?
        .args(["-q", "-m", "-c", "3", "-H", "m-author: Austen", "-f"])
        .arg(&file)
        .arg("~~/stor/books"))?;
    run_with(
        home.npm("mput")?
            .args(["-q", "~~/stor/books/old (very)/é %41 'x'"]),
        b"chunked",
    )?;
    run_with(home.npm("mput")?.args(["-q", "~~/stor/books/empty"]), b"")?;
    run_with(
        home.npm("mput")?
            .args(["-q", "-p", "~~/stor/made/on/the/way"]),
        b"x",
    )?;

    ensure!(
        run(home.npm("mget")?.args(["-q", "~~/stor/books/pride.txt"]))? == text,
        "mget gives what mput took"
    );
    ensure!(
        run(home
            .npm("mget")?
            .args(["-q", "~~/stor/books/old (very)/é %41 'x'"]))?
            == "chunked",
        "odd names"
    );
    ensure!(
        run(home.npm("mget")?.args(["-q", "~~/stor/books/empty"]))?.is_empty(),
        "an empty object"
    );

    let info: Value = serde_json::from_str(&run(home
        .npm("minfo")?
        .args(["-j", "~~/stor/books/pride.txt"]))?)?;
    ensure!(
        info["m-author"] == "Austen" && info["durability-level"] == "3",
        "{info}"
    );
    ensure!(info["content-type"] == "text/plain", "{info}");
    ensure!(
        run(home.npm("minfo")?.arg("~~/stor/nothing"))?.starts_with("HTTP/1.1 404"),
        "minfo of nothing"
    );

    ensure!(
        mls(&home, &["~~/stor/books"])? == ["empty", "old (very)/", "pride.txt"],
        "mls"
    );
    ensure!(
        mls(&home, &["-r", "~~/stor/books"])? == ["pride.txt", "old (very)/", "empty"],
        "mls -r"
    );
    ensure!(
        mls(&home, &["--type", "d", "~~/stor/books"])? == ["old (very)/"],
        "mls --type d"
    );
    ensure!(
        mls(&home, &["--type", "o", "~~/stor/books"])? == ["empty", "pride.txt"],
        "mls --type o"
    );
    let long = mls(&home, &["-l", "~~/stor/books"])?;
    ensure!(
        long[2].starts_with("-rwxr-xr-x 1") && long[2].contains(&text.len().to_string()),
        "{long:?}"
    );

    let mut found: Vec<String> = run(home.npm("mfind")?.args(["-t", "o", "~~/stor"]))?
        .lines()
        .map(str::to_owned)
        .collect();
    found.sort();
    let expected = [
        "books/empty",
        "books/old (very)/é %41 'x'",
        "books/pride.txt",
        "made/on/the/way",
    ];
    let expected: Vec<String> = expected
        .iter()
        .map(|name| store.path(&format!("stor/{name}")))
        .collect();
    ensure!(found == expected, "{found:?}");

    let refused = outcome(home.npm("mrmdir")?.arg("~~/stor/books"))?;
    ensure!(
        !refused.status.success(),
        "a directory that holds something is not removed"
    );
    ensure!(
        String::from_utf8_lossy(&refused.stderr).contains("DirectoryNotEmpty"),
        "{refused:?}"
    );
    run(home.npm("mrm")?.arg("~~/stor/books/pride.txt"))?;
    let gone = outcome(home.npm("mget")?.args(["-q", "~~/stor/books/pride.txt"]))?;
    ensure!(gone.status.code() == Some(1), "{gone:?}");
    ensure!(
        String::from_utf8_lossy(&gone.stderr).contains("ResourceNotFound"),
        "{gone:?}"
    );
    run(home.npm("mrm")?.args(["-r", "~~/stor/books"]))?;
    run(home.npm("mmkdir")?.arg("~~/stor/short"))?;
    run(home.npm("mrmdir")?.arg("~~/stor/short"))?;
    ensure!(
        mls(&home, &["~~/stor"])? == ["made/"],
        "{:?}",
        mls(&home, &["~~/stor"])?
    );
    store.finish()
}

#[test]
fn a_directory_of_several_pages() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let mut client = store.client()?;
    let directory = store.path("stor/many");
    client.mkdir(&directory)?.expect(204)?;
    let names: Vec<String> = (0..2500).map(|number| format!("{number:04}")).collect();
    for name in &names {
        client
            .put(&format!("{directory}/{name}"), "")?
            .expect(204)?;
    }
    ensure!(
        mls(&home, &["~~/stor/many"])? == names,
        "every entry once, in order"
    );
    ensure!(
        mls(&home, &["-m", "2400", "~~/stor/many"])? == names[2400..],
        "from a marker on"
    );
    run(home.npm("mrm")?.args(["-r", "~~/stor/many"]))?;
    ensure!(
        client.head(&directory)?.status == 404,
        "mrm -r removes all of it"
    );
    store.finish()
}

#[test]
fn public_objects_are_for_all() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    run_with(
        home.npm("mput")?.args(["-q", "~~/public/hello"]),
        b"for all",
    )?;
    ensure!(
        store
            .anonymous()
            .get(&store.path("public/hello"))?
            .expect(200)?
            .body
            == b"for all",
        "public"
    );
    store
        .anonymous()
        .get(&store.path("stor"))?
        .expect_error(403, "AuthorizationFailed")?;
    store.finish()
}

#[test]
fn a_job_from_map_to_reduce() -> Result<()> {
    let store = Launch::new().setting("jobs.zones = 2").start()?;
    let home = store.user()?;
    for (name, text) in [("a", "the cat\n"), ("b", "the dog\nthe end\n"), ("c", "")] {
        run_with(
            home.npm("mput")?.args(["-q", &format!("~~/stor/{name}")]),
            text.as_bytes(),
        )?;
    }
    let inputs = run(home.npm("mfind")?.args(["-t", "o", "~~/stor"]))?;
    let count = [
        "create",
        "-o",
        "-q",
        "-m",
        "tr ' ' '\\n' | grep -x the || true",
        "-r",
        "wc -l",
    ];
    let counted = run_with(home.npm("mjob")?.args(count), inputs.as_bytes())?;
    ensure!(
        counted.trim() == "3",
        "three times \"the\", not {counted:?}"
    );

    let mut mjob = home.npm("mjob")?;
    let id = run_with(
        mjob.args(["create", "-w", "-n", "named", "-m", "cat"]),
        inputs.as_bytes(),
    )?;
    let id = id.trim();
    let status: Value = serde_json::from_str(&run(home.npm("mjob")?.args(["get", id]))?)?;
    ensure!(
        status["state"] == "done" && status["stats"]["tasksDone"] == 3,
        "{status}"
    );
    ensure!(status["name"] == "named", "{status}");
    let listed = run(home.npm("mjob")?.args(["list"]))?;
    ensure!(
        listed.lines().any(|line| line == format!("{id}/")),
        "{listed}"
    );
    let outputs = run(home.npm("mjob")?.args(["outputs", id]))?;
    ensure!(outputs.lines().count() == 3, "{outputs}");
    ensure!(
        run(home.npm("mjob")?.args(["inputs", id]))?.lines().count() == 3,
        "inputs"
    );
    let one = outputs
        .lines()
        .find(|name| name.contains("/stor/a.0."))
        .unwrap_or_default();
    ensure!(
        run(home.npm("mget")?.args(["-q", one]))? == "the cat\n",
        "the content of {one}"
    );

    let failed = outcome(
        home.npm("mjob")?
            .args(["create", "--close", "-o", "-r", "exit 7"]),
    )?;
    ensure!(failed.status.code() == Some(1), "{failed:?}");
    ensure!(
        String::from_utf8_lossy(&failed.stderr).contains("had 1 error"),
        "{failed:?}"
    );
    store.finish()
}

/// A line of rest-api.md section 15.7.
#[test]
fn nm_mjob_create_close_or_prints_hello() -> Result<()> {
    let store = Launch::new().setting("jobs.zones = 1").start()?;
    let home = store.user()?;
    let echo = outcome(
        home.npm("mjob")?
            .args(["create", "--close", "-or", "echo hello"]),
    )?;
    ensure!(
        echo.status.success() && echo.stdout == b"hello\n" && echo.stderr.is_empty(),
        "{echo:?}"
    );
    store.finish()
}

#[test]
fn a_job_left_open_is_fed_and_cancelled() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    run_with(home.npm("mput")?.args(["-q", "~~/stor/a"]), b"x")?;
    let id = run(home
        .npm("mjob")?
        .args(["create", "--open", "-m", "sleep 1000"]))?;
    let id = id.trim();
    run_with(
        home.npm("mjob")?.args(["addinputs", "--open", id]),
        b"~~/stor/a\n",
    )?;
    run(home.npm("mjob")?.args(["cancel", id]))?;
    let done: Value = serde_json::from_str(&run(home.npm("mjob")?.args(["watch", id]))?)?;
    ensure!(
        done["state"] == "done" && done["cancelled"] == true,
        "{done}"
    );
    store.finish()
}
