//! Our own commands about whole trees: `muntar`, `mput -r`, `mrm -r`.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Result, ensure};
use tests::home::{Home, run, run_with};
use tests::{Launch, Store};

use crate::said::{fails_with, is_wrong_usage, said, said_with};

fn everything(home: &Home, path: &str) -> Result<Vec<String>> {
    let mut lines: Vec<String> = run(home.own("mfind").arg(path))?
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    Ok(lines)
}

/// A directory `tree` with files of several sizes, an empty directory and a link.
fn make_tree(home: &Home) -> Result<()> {
    let tree = home.path().join("tree");
    fs::create_dir_all(tree.join("b/empty"))?;
    fs::create_dir_all(tree.join("b/c/d"))?;
    fs::write(tree.join("a.txt"), "a\n")?;
    fs::write(tree.join("b/nothing"), "")?;
    fs::write(tree.join("b/é ü"), "umlauts")?;
    fs::write(tree.join("b/c/d/large"), vec![7_u8; 3 << 20])?;
    symlink("../a.txt", tree.join("b/link"))?;
    Ok(())
}

#[test]
fn muntar_stores_members_from_a_file_and_from_a_pipe() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    make_tree(&home)?;
    run(home
        .command("tar")
        .args(["-cf", "tree.tar", "-C", "tree", "."]))?;
    let stored = ["a.txt", "b/c/d/large", "b/nothing", "b/é ü"];
    let listed = [
        "a.txt",
        "b",
        "b/c",
        "b/c/d",
        "b/c/d/large",
        "b/empty",
        "b/nothing",
        "b/é ü",
    ];
    for (place, options, input) in [
        ("file", vec!["-f", "tree.tar"], Vec::new()),
        ("one", vec!["-f", "tree.tar", "-p", "1"], Vec::new()),
        ("pipe", vec![], fs::read(home.path().join("tree.tar"))?),
    ] {
        let target = store.path(&format!("stor/x/{place}"));
        let mut command = home.own("muntar");
        command
            .args(&options)
            .args(["-c", "1", "-H", "m-from: tar"])
            .arg(&target);
        let done = said_with(&mut command, &input)?;
        ensure!(done.code == Some(0), "{place}: {done:?}");
        ensure!(
            done.stderr == "muntar: b/link: left out, a symbolic link\n",
            "{done:?}"
        );
        let mut names: Vec<&str> = done.stdout.lines().collect();
        names.sort_unstable();
        let full = |names: &[&str]| -> Vec<String> {
            names
                .iter()
                .map(|name| format!("{target}/{name}"))
                .collect()
        };
        ensure!(names == full(&stored), "{place}: {names:?}");
        ensure!(everything(&home, &target)? == full(&listed), "{place}");
        for name in stored {
            let back = run(home.own("mget").arg(format!("{target}/{name}")))?;
            let wanted = fs::read_to_string(home.path().join("tree").join(name))?;
            ensure!(back == wanted, "{place}: {name} has {} bytes", back.len());
        }
        let info = run(home.own("minfo").arg(format!("{target}/a.txt")))?;
        ensure!(
            info.contains("content-type: text/plain\n")
                && info.contains("durability-level: 1\n")
                && info.contains("m-from: tar\n"),
            "{info}"
        );
    }
    store.finish()
}

#[test]
fn muntar_refuses_what_it_cannot_store() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    fs::write(home.path().join("x"), "x")?;
    run(home
        .command("tar")
        .args(["-cf", "out.tar", "--transform", "s,x,../../out,", "-P", "x"]))?;
    run(home
        .command("tar")
        .args(["-cf", "cut.tar", "--transform", "s,x,whole,", "x"]))?;
    let whole = fs::read(home.path().join("cut.tar"))?;
    fs::write(home.path().join("cut.tar"), &whole[..300])?;
    let led_out = said(home.own("muntar").args(["-f", "out.tar", "~~/stor/a/b"]))?;
    ensure!(
        led_out.code == Some(1)
            && led_out
                .stderr
                .contains("../../out: leads out of the directory"),
        "{led_out:?}"
    );
    let cut = said(home.own("muntar").args(["-f", "cut.tar", "~~/stor/a/b"]))?;
    ensure!(
        cut.code == Some(1) && cut.stderr.starts_with("muntar: Error: cut.tar"),
        "{cut:?}"
    );
    let none = said(home.own("muntar").args(["-f", "none.tar", "~~/stor/a/b"]))?;
    ensure!(
        none.code == Some(1) && none.stderr.contains("none.tar"),
        "{none:?}"
    );
    ensure!(
        everything(&home, "~~/stor")?.is_empty(),
        "nothing was stored"
    );
    run_with(home.own("mput").arg("~~/stor/object"), b"x")?;
    run(home.command("tar").args(["-cf", "good.tar", "x"]))?;
    let stor = store.path("stor");
    fails_with(
        home.own("muntar")
            .args(["-f", "good.tar", "~~/stor/object"]),
        &format!("muntar: ParentNotDirectoryError: {stor}/object is not a directory"),
    )?;
    is_wrong_usage(home.own("muntar").args(["-f", "good.tar"]), "path required")?;
    store.finish()
}

#[test]
fn mput_r_uploads_a_tree_and_then_only_what_changed() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    make_tree(&home)?;
    let target = store.path("stor/made/on/the/way");
    // The directories above are made only when asked for.
    let refused = said(home.own("mput").args(["-r", "-f", "tree", &target]))?;
    ensure!(
        refused.code == Some(1) && refused.stderr.contains("DirectoryDoesNotExist"),
        "{refused:?}"
    );
    run(home
        .own("mput")
        .args(["-r", "-p", "-f", "tree", "-H", "m-tree: 1", &target]))?;
    let listed = [
        "a.txt",
        "b",
        "b/c",
        "b/c/d",
        "b/c/d/large",
        "b/empty",
        "b/link",
        "b/nothing",
        "b/é ü",
    ];
    let full: Vec<String> = listed
        .iter()
        .map(|name| format!("{target}/{name}"))
        .collect();
    ensure!(
        everything(&home, &target)? == full,
        "{:?}",
        everything(&home, &target)?
    );
    let large = run(home.own("mget").arg(format!("{target}/b/c/d/large")))?;
    ensure!(large.len() == 3 << 20, "{} bytes", large.len());

    let etags = || -> Result<Vec<(String, String)>> {
        let rows = run(home.own("mfind").args(["-j", "-t", "o", &target]))?;
        let mut etags = Vec::new();
        for row in rows.lines() {
            let row: serde_json::Value = serde_json::from_str(row)?;
            etags.push((row["name"].to_string(), row["etag"].to_string()));
        }
        etags.sort();
        Ok(etags)
    };
    let before = etags()?;
    // The same size, another content: only the MD5 tells.
    fs::write(home.path().join("tree/a.txt"), "b\n")?;
    run(home.own("mput").args(["-r", "-m", "-f", "tree", &target]))?;
    let after = etags()?;
    let changed: Vec<&str> = before
        .iter()
        .filter(|row| !after.contains(row))
        .map(|(name, _)| name.as_str())
        .collect();
    // The link leads to the file that changed.
    ensure!(changed == ["\"a.txt\"", "\"link\""], "{changed:?}");
    ensure!(
        run(home.own("mget").arg(format!("{target}/a.txt")))? == "b\n",
        "the new content"
    );

    run(home
        .own("mput")
        .args(["-r", "--ignore-links", "-f", "tree", "~~/stor/second"]))?;
    ensure!(
        !everything(&home, "~~/stor/second")?
            .iter()
            .any(|path| path.ends_with("/link")),
        "links are left out"
    );
    is_wrong_usage(
        home.own("mput").args(["-r", "~~/stor/x"]),
        "--recursive requires --file",
    )?;
    fails_with(
        home.own("mput")
            .args(["-r", "-f", "tree/a.txt", "~~/stor/x"]),
        "tree/a.txt is not a directory",
    )?;
    fails_with(
        home.own("mput")
            .args(["-r", "-f", "tree", &format!("{target}/a.txt")]),
        &format!("{target}/a.txt is not a directory"),
    )?;
    store.finish()
}

#[test]
fn mput_r_goes_on_where_it_was_interrupted() -> Result<()> {
    let mut store = Launch::new().start()?;
    let home = store.user()?;
    let tree = home.path().join("many");
    for directory in 0..4 {
        let directory = tree.join(directory.to_string());
        fs::create_dir_all(&directory)?;
        for file in 0..25 {
            fs::write(
                directory.join(file.to_string()),
                format!("{file}").repeat(2000),
            )?;
        }
    }
    // One file in each directory cannot be read, so that not all is uploaded and the command says so.
    for directory in 0..4 {
        symlink("nowhere", tree.join(format!("{directory}/broken")))?;
    }
    let first = said(home.own("mput").args(["-r", "-f", "many", "~~/stor/many"]))?;
    ensure!(
        first.code == Some(1) && first.stderr.matches("broken").count() == 4,
        "{first:?}"
    );
    for directory in 0..4 {
        fs::remove_file(tree.join(format!("{directory}/broken")))?;
        fs::write(tree.join(format!("{directory}/new")), "new")?;
    }
    // A server that is away is one failure, not one for each file.
    store.stop()?;
    let away = said(home.own("mput").args(["-r", "-f", "many", "~~/stor/many"]))?;
    ensure!(
        away.code == Some(1) && away.stderr.lines().count() == 1,
        "{away:?}"
    );
    store.start()?;
    let home = store.user()?;
    fs::rename(&tree, home.path().join("many"))?;
    run(home.own("mput").args(["-r", "-f", "many", "~~/stor/many"]))?;
    let objects = run(home.own("mfind").args(["-t", "o", "~~/stor/many"]))?;
    ensure!(
        objects.lines().count() == 104,
        "{} objects",
        objects.lines().count()
    );
    store.finish()
}

#[test]
fn uploads_into_a_tree_leave_its_directories_as_they_are() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    run(home.own("mmkdir").args(["-H", "m-owner: me", "~~/stor/d"]))?;
    fs::create_dir(home.path().join("up"))?;
    fs::write(home.path().join("up/x"), "x")?;
    run(home.command("tar").args(["-cf", "up.tar", "up"]))?;
    run_with(home.own("mput").args(["-p", "~~/stor/d/e/f/g"]), b"x")?;
    run(home.own("mput").args(["-p", "-f", "up/x", "~~/stor/d/h/i"]))?;
    run(home
        .own("mput")
        .args(["-r", "-p", "-f", "up", "~~/stor/d/j/k"]))?;
    run(home.own("muntar").args(["-f", "up.tar", "~~/stor/d"]))?;
    run(home.own("msync").args(["-q", "up", "~~/stor/d/l"]))?;
    let info = run(home.own("minfo").arg("~~/stor/d"))?;
    ensure!(
        info.contains("m-owner: me\n"),
        "the metadata is gone: {info}"
    );
    store.finish()
}

/// To the server `..` is a name like any other. A client that takes it for the directory above deletes
/// what nobody asked it to.
#[test]
fn mrm_r_of_a_tree_with_an_entry_named_dot_dot_stays_inside() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let mut client = store.client()?;
    for directory in ["stor/d", "stor/d/.."] {
        client.mkdir(&store.path(directory))?.expect(204)?;
    }
    for object in ["stor/keep", "stor/d/../inside", "stor/d/.", "stor/d/x"] {
        client.put(&store.path(object), "x")?.expect(204)?;
    }
    let found = everything(&home, "~~/stor")?;
    let d = store.path("stor/d");
    let expected = [
        d.clone(),
        format!("{d}/."),
        format!("{d}/.."),
        format!("{d}/../inside"),
        format!("{d}/x"),
        store.path("stor/keep"),
    ];
    ensure!(found == expected, "{found:?}");
    // Down here they cannot be files.
    let down = said(home.own("msync").args(["-r", "~~/stor/d", "down"]))?;
    ensure!(
        down.code == Some(1) && down.stderr.contains("no file can have this name"),
        "{down:?}"
    );
    let names: Vec<_> = fs::read_dir(home.path().join("down"))?.collect();
    ensure!(names.len() == 1, "{names:?}");
    run(home.own("mrm").args(["-r", "~~/stor/d"]))?;
    ensure!(
        everything(&home, "~~/stor")? == [store.path("stor/keep")],
        "only d is gone"
    );
    store.finish()
}

/// The server walks and deletes; a tree costs one request, not one for each entry.
#[test]
fn trees_are_found_and_removed_in_one_request() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    make_tree(&home)?;
    run(home
        .own("mput")
        .args(["-q", "-r", "-f", "tree", "~~/stor/t"]))?;
    let requests = |words: &str| -> Result<usize> {
        Ok(store
            .log()?
            .lines()
            .filter(|line| line.contains(words))
            .count())
    };
    let objects = run(home.own("mfind").args(["-t", "o", "-s", "1", "~~/stor/t"]))?;
    ensure!(objects.lines().count() == 4, "{objects}");
    ensure!(
        requests("/stor/t?recursive=true&type=object&size_min=1\"")? == 1,
        "mfind asks once"
    );
    ensure!(
        requests("/stor/t/b?")? == 1,
        "only mput has listed what is further down"
    );
    let deep = run(home.own("mfind").args([
        "--mindepth",
        "1",
        "--maxdepth",
        "2",
        "-n",
        "^[cl]",
        "~~/stor/t",
    ]))?;
    let t = store.path("stor/t");
    ensure!(deep == format!("{t}/b/c\n{t}/b/link\n"), "{deep}");
    let few = run(home.own("mfind").args(["-l", "2", "~~/stor/t"]))?;
    ensure!(few.lines().count() == 2, "{few}");
    // Without a key, and in somebody else's tree, every directory is listed by itself.
    let mut anonymous = home.own("mfind");
    anonymous.arg("~~/stor/t").env("MANTA_NO_AUTH", "true");
    ensure!(said(&mut anonymous)?.code == Some(1), "not for everybody");

    let removed = said(home.own("mrm").args(["-r", "~~/stor/t"]))?;
    ensure!(
        removed.code == Some(0) && removed.stderr.is_empty(),
        "{removed:?}"
    );
    ensure!(requests("\"method\":\"DELETE\"")? == 1, "mrm asks once");
    ensure!(
        everything(&home, "~~/stor")?.is_empty(),
        "all of it is gone"
    );

    // What always exists is emptied, and stays.
    run(home
        .own("mput")
        .args(["-q", "-r", "-f", "tree", "~~/stor/t"]))?;
    fails_with(
        home.own("mrm").args(["-r", "~~/stor"]),
        &format!(
            "mrm: OperationNotAllowedOnRootDirectoryError: DELETE is not allowed on {}",
            store.path("stor")
        ),
    )?;
    ensure!(
        everything(&home, "~~/stor")?.is_empty(),
        "all of it is gone"
    );
    store.finish()
}
