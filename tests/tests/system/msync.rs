//! Our own `msync`, in both directions and with each of its options.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tests::home::{Home, run, run_with};
use tests::{Store, wire};

use crate::said::{fails_with, is_wrong_usage, said};

/// Contents by relative path.
type Files = BTreeMap<String, String>;

fn files(pairs: &[(&str, &str)]) -> Files {
    pairs
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

fn write(root: &Path, files: &Files) -> Result<()> {
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
        fs::write(path, text)?;
    }
    Ok(())
}

fn local(root: &Path) -> Result<Files> {
    let mut found = Files::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let name = path.strip_prefix(root)?.display().to_string();
            found.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(found)
}

fn remote(store: &Store, home: &Home, root: &str) -> Result<Files> {
    let mut client = store.client()?;
    let root = store.path(root);
    let mut found = Files::new();
    for path in run(home.own("mfind").args(["-t", "o", &root]))?.lines() {
        let text = client
            .get(
                &path
                    .split('/')
                    .map(wire::escape)
                    .collect::<Vec<_>>()
                    .join("/"),
            )?
            .expect(200)?
            .text();
        found.insert(path[root.len() + 1..].to_owned(), text);
    }
    Ok(found)
}

#[test]
fn up_and_down_and_what_changed_in_between() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let here = home.path().join("here");
    // One directory with so few files that each is asked for, one with so many that it is listed.
    let mut wanted = files(&[("a", "1"), ("few/b", ""), ("few/é ü", "two")]);
    for number in 0..40 {
        wanted.insert(format!("many/{number:02}"), format!("text {number}"));
    }
    write(&here, &wanted)?;
    let bytes: usize = wanted.values().map(String::len).sum();
    let up = |options: &[&str]| {
        let mut command = home.own("msync");
        command.args(options).args(["here", "~~/stor/x/y"]);
        run(&mut command)
    };
    let first = up(&["-c", "1", "-H", "m-by: msync"])?;
    ensure!(
        first.contains("source file list built, 43 files found\n"),
        "{first}"
    );
    ensure!(first.contains("43 files staged for syncing"), "{first}");
    ensure!(
        first.contains(&format!(
            "43 files ({bytes} B) synced successfully, 0 files failed"
        )),
        "{first}"
    );
    ensure!(first.ends_with("\ndone\n"), "{first}");
    ensure!(remote(&store, &home, "stor/x/y")? == wanted, "up");
    let info = run(home.own("minfo").arg("~~/stor/x/y/a"))?;
    ensure!(
        info.contains("durability-level: 1\n") && info.contains("m-by: msync\n"),
        "{info}"
    );

    let second = up(&[])?;
    ensure!(second.contains("0 files staged for syncing"), "{second}");
    ensure!(!second.contains("same as source"), "{second}");
    let talkative = up(&["-v"])?;
    ensure!(
        talkative
            .matches("size same as source file, skipping")
            .count()
            == 43,
        "{talkative}"
    );
    ensure!(up(&["-q"])?.is_empty(), "quiet");

    // Another size, and another content of the same size.
    wanted.insert("a".into(), "longer".into());
    wanted.insert("many/07".into(), "TEXT 7".into());
    wanted.insert("few/b".into(), "no longer empty".into());
    write(&here, &wanted)?;
    let by_size = up(&[])?;
    ensure!(
        by_size.matches("size is different").count() == 2,
        "{by_size}"
    );
    let by_md5 = up(&["-m"])?;
    ensure!(by_md5.matches("md5 is different").count() == 1, "{by_md5}");
    ensure!(remote(&store, &home, "stor/x/y")? == wanted, "up again");

    let down = |options: &[&str]| {
        let mut command = home.own("msync");
        command
            .arg("-r")
            .args(options)
            .args(["~~/stor/x/y", "there/too"]);
        run(&mut command)
    };
    let there = home.path().join("there/too");
    down(&[])?;
    ensure!(local(&there)? == wanted, "down");
    ensure!(down(&["-m"])?.contains("0 files staged"), "nothing to do");
    fs::write(there.join("many/08"), "TEXT 8")?;
    fs::remove_file(there.join("a"))?;
    ensure!(down(&[])?.contains("1 files staged"), "by size");
    ensure!(down(&["-m"])?.contains("1 files staged"), "by md5");
    ensure!(local(&there)? == wanted, "down again");
    store.finish()
}

#[test]
fn what_is_extra_goes_only_when_asked_and_only_when_all_is_known() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let here = home.path().join("here");
    let kept = files(&[("a", "1"), ("d/b", "2")]);
    write(&here, &kept)?;
    let extra = files(&[
        ("extra", "x"),
        ("d/extra", "x"),
        ("e/extra.o", "x"),
        ("a", "1"),
    ]);
    for (name, text) in &extra {
        let path = format!("~~/stor/x/{name}");
        run_with(home.own("mput").args(["-p", &path]), text.as_bytes())?;
    }
    let sync = |options: &[&str], operands: [&str; 2]| {
        let mut command = home.own("msync");
        command.args(options).args(operands);
        command
    };
    let up = ["here", "~~/stor/x"];
    let before = remote(&store, &home, "stor/x")?;
    let dry = run(&mut sync(&["-n", "-d"], up))?;
    ensure!(dry.starts_with("== dryrun ==\n"), "{dry}");
    ensure!(dry.matches("... deleted (dryrun)\n").count() == 3, "{dry}");
    ensure!(dry.matches("... synced (dryrun)\n").count() == 1, "{dry}");
    ensure!(
        remote(&store, &home, "stor/x")? == before,
        "a dry run changes nothing"
    );

    // A source that cannot be read as a whole deletes nothing.
    std::os::unix::fs::symlink("nowhere", here.join("broken"))?;
    let incomplete = said(&mut sync(&["-d"], up))?;
    ensure!(
        incomplete.code == Some(1)
            && incomplete.stderr.contains("incomplete: nothing is deleted")
            && incomplete.stderr.contains("\n== errors\n"),
        "{incomplete:?}"
    );
    ensure!(
        remote(&store, &home, "stor/x")?.len() == 5,
        "nothing was deleted"
    );
    let ignoring = run(&mut sync(&["-l", "-d", "-x", "*.o"], up))?;
    ensure!(
        ignoring.contains("2 files deleted successfully"),
        "{ignoring}"
    );
    let mut left = kept.clone();
    left.insert("e/extra.o".into(), "x".into());
    ensure!(
        remote(&store, &home, "stor/x")? == left,
        "the excluded one stays"
    );
    fs::remove_file(here.join("broken"))?;
    fs::write(here.join("new"), "new")?;
    let just = run(&mut sync(&["-j"], up))?;
    ensure!(just.contains("1 files deleted successfully"), "{just}");
    ensure!(remote(&store, &home, "stor/x")? == kept, "only deleted");

    // An empty source is rather a mistake than a wish to delete everything.
    fs::create_dir(home.path().join("empty"))?;
    run(&mut sync(&["-d"], ["empty", "~~/stor/x"]))?;
    let none = said(&mut sync(&["-d"], ["none", "~~/stor/x"]))?;
    ensure!(
        none.code == Some(1)
            && none.stderr.starts_with("failed to walk files in ")
            && none.stderr.contains("/none - "),
        "{none:?}"
    );
    ensure!(
        remote(&store, &home, "stor/x")? == kept,
        "nothing was deleted"
    );

    let there = home.path().join("there");
    write(&there, &extra)?;
    std::os::unix::fs::symlink("extra", there.join("link"))?;
    let down = ["~~/stor/x", "there"];
    run(&mut sync(&["-r", "-d", "-n"], down))?;
    ensure!(local(&there)?.len() == 5, "a dry run changes nothing");
    run(&mut sync(&["-r", "-d", "-x", "e"], down))?;
    let mut left = kept.clone();
    left.remove("extra");
    // The pattern covers both, and links are nobody's copy of anything.
    left.extend(files(&[("extra", "x"), ("e/extra.o", "x"), ("link", "x")]));
    ensure!(local(&there)? == left, "{:?}", local(&there)?);
    store.finish()
}

#[test]
fn msync_fails_loudly() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let stor = store.path("stor");
    write(&home.path().join("here"), &files(&[("a", "1"), ("o", "2")]))?;
    run_with(home.own("mput").arg("~~/stor/object"), b"x")?;
    run(home.own("mmkdir").args(["-p", "~~/stor/t/o"]))?;
    // One of two files cannot be stored: a directory is there.
    let half = said(home.own("msync").args(["here", "~~/stor/t"]))?;
    ensure!(half.code == Some(1), "{half:?}");
    ensure!(
        half.stdout
            .contains("1 files (1 B) synced successfully, 1 files failed"),
        "{half:?}"
    );
    ensure!(
        half.stderr
            .matches(&format!("{stor}/t/o... error syncing: "))
            .count()
            == 2,
        "once when it happens, once at the end: {half:?}"
    );
    fails_with(
        home.own("msync").args(["-q", "-r", "~~/stor/none", "down"]),
        &format!("failed to walk files in {stor}/none - NotFoundError"),
    )?;
    fails_with(
        home.own("msync")
            .args(["-q", "-r", "~~/stor/object", "down"]),
        &format!("failed to walk files in {stor}/object - it is not a directory"),
    )?;
    ensure!(
        !home.path().join("down").exists(),
        "nothing is made for nothing"
    );
    // A file in the way of a directory.
    fs::write(home.path().join("blocked"), "")?;
    let blocked = said(home.own("msync").args(["-r", "~~/stor", "blocked/x"]))?;
    ensure!(blocked.code == Some(1), "{blocked:?}");
    is_wrong_usage(
        home.own("msync").arg("here"),
        "[error] must supply exactly 2 operands\n",
    )?;
    fails_with(
        home.own("msync").args(["here", "stor/x"]),
        "msync: InvalidPathError: stor/x is not a valid Manta path",
    )?;
    store.finish()
}
