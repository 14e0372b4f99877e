//! The commands of the npm package and our own, side by side on one store: what they print, what they say
//! of failures, and how they end has to be the same.
//!
//! Compared are stdout, the first line of stderr (what follows is how to call the command, which each
//! says in its own words) and the exit code. Left out of the comparison are the headers that differ from
//! request to request, durations, and what the packages say about themselves.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::Store;
use tests::home::{Home, run, run_with};

use crate::said::{Said, said};

/// Headers that are different each time, or that the npm library adds by itself.
const PASSING_HEADERS: &[&str] = &[
    "date",
    "x-request-id",
    "x-response-time",
    "x-request-received",
    "x-request-processing-time",
];

fn is_passing(line: &str) -> bool {
    PASSING_HEADERS
        .iter()
        .any(|name| line.starts_with(&format!("{name}: ")))
}

/// Removes the members with passing names, wherever they are.
fn settle(value: &mut serde_json::Value) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|name, _| !PASSING_HEADERS.contains(&name.as_str()));
        object.values_mut().for_each(settle);
    }
}

fn settled_line(line: &str) -> String {
    if let Ok(mut value) = serde_json::from_str::<serde_json::Value>(line)
        && value.is_object()
    {
        settle(&mut value);
        return value.to_string();
    }
    match line.split_once("(took ") {
        Some((before, _)) => format!("{before}(took …)"),
        None => line.to_owned(),
    }
}

/// Without the count of a line of `msync`, which is that of its turn.
fn uncounted(line: String) -> String {
    match line.rsplit_once(" (") {
        Some((before, count)) if count.contains('/') && line.contains("... ") => before.to_owned(),
        _ => line,
    }
}

fn settled(said: &Said, any_order: bool) -> Said {
    let lines = said.stdout.lines().filter(|line| !is_passing(line));
    let mut lines: Vec<String> = lines.map(settled_line).collect();
    if any_order {
        lines = lines.into_iter().map(uncounted).collect();
        lines.sort();
    }
    // The packages log to stderr in JSON.
    let mut errors = said.stderr.lines().filter(|line| !line.starts_with('{'));
    Said {
        stdout: lines.join("\n"),
        stderr: errors.next().unwrap_or_default().to_owned(),
        code: said.code,
    }
}

struct Pair<'a> {
    home: &'a Home,
    /// Whether lines come in the order in which answers arrived.
    any_order: bool,
}

impl Pair<'_> {
    fn npm(&self, words: &[&str]) -> Result<Command> {
        let mut command = self.home.npm(words[0])?;
        command.args(&words[1..]).env("NODE_NO_WARNINGS", "1");
        Ok(command)
    }

    fn own(&self, words: &[&str]) -> Command {
        let mut command = self.home.own(words[0]);
        command.args(&words[1..]);
        command
    }

    /// Runs the same with both.
    fn agree(&self, words: &[&str]) -> Result<()> {
        self.compare(words, self.npm(words)?, self.own(words))
    }

    /// Runs it with `@` in its words replaced: commands that change something work in places of their own.
    fn agree_apart(&self, words: &[&str]) -> Result<()> {
        let placed = |place: &str| -> Vec<String> {
            words.iter().map(|word| word.replace('@', place)).collect()
        };
        let (theirs, ours) = (placed("npm"), placed("own"));
        let theirs: Vec<&str> = theirs.iter().map(String::as_str).collect();
        let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
        self.compare(words, self.npm(&theirs)?, self.own(&ours))
    }

    fn compare(&self, words: &[&str], mut npm: Command, mut own: Command) -> Result<()> {
        let npm = settled(&said(&mut npm)?, self.any_order);
        let own = settled(&said(&mut own)?, self.any_order);
        let apart = |said: &Said, place: &str| Said {
            stdout: said.stdout.replace(&format!("/{place}"), "/@"),
            stderr: said.stderr.replace(&format!("/{place}"), "/@"),
            code: said.code,
        };
        let (npm, own) = (apart(&npm, "npm"), apart(&own, "own"));
        ensure!(npm == own, "{words:?}\nnpm: {npm:#?}\nown: {own:#?}");
        Ok(())
    }
}

/// `books` with four kinds of names, and an object for everybody.
fn furnish(home: &Home) -> Result<()> {
    let put = |options: &[&str], content: &[u8]| {
        run_with(home.own("mput").arg("-q").args(options), content)
    };
    run(home.own("mmkdir").args(["-p", "~~/stor/books/old"]))?;
    put(
        &[
            "-H",
            "m-author: A",
            "-H",
            "m-odd: \"x\\y\"",
            "~~/stor/books/a.txt",
        ],
        b"hello\n",
    )?;
    put(&["-c", "1", "~~/stor/books/empty"], b"")?;
    put(&["~~/stor/books/old/n \"q\" \\ é 'x'"], b"x")?;
    put(&["~~/stor/books/zz.json"], &[b'z'; 5000])?;
    put(&["~~/public/all"], b"for all")?;
    Ok(())
}

#[test]
fn listings() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    furnish(&home)?;
    let pair = Pair {
        home: &home,
        any_order: false,
    };
    for line in [
        "mls",
        "mls ~~",
        "mls -l ~~",
        "mls ~~/stor/books",
        "mls -l ~~/stor/books",
        "mls -lh ~~/stor/books",
        "mls -j ~~/stor/books",
        "mls --fulljson ~~/stor/books",
        "mls -r ~~/stor/books",
        "mls -t ~~/stor/books",
        "mls -tr ~~/stor/books",
        "mls --type o ~~/stor/books",
        "mls --type d ~~/stor/books",
        "mls --type x ~~/stor/books",
        "mls -m empty ~~/stor/books",
        "mls -m empty -r ~~/stor/books",
        "mls ~~/stor/books/old",
        "mls books/../books",
        "mls books/a.txt",
        "mls -l books/a.txt",
        "mls -j books/a.txt",
        "mls --fulljson books/a.txt",
        "mls none",
        "mls ~x",
        "mls /",
        "mls /nosuch/stor",
    ] {
        pair.agree(&line.split(' ').collect::<Vec<_>>())?;
    }
    let pair = Pair {
        home: &home,
        any_order: true,
    };
    for line in [
        "mfind ~~/stor",
        "mfind -t o ~~/stor",
        "mfind -t d ~~/stor",
        "mfind -n ^a ~~/stor ~~/public",
        "mfind -s 6 ~~/stor",
        "mfind --mindepth 1 ~~/stor",
        "mfind --maxdepth 1 ~~/stor",
        "mfind --maxdepth 2 ~~/stor",
        "mfind -j ~~/stor",
        "mfind ~~/stor/books/a.txt",
        "mfind -j ~~/stor/books/a.txt",
        "mfind ~~/stor/none ~~/stor/books/old",
        "mfind",
    ] {
        pair.agree(&line.split(' ').collect::<Vec<_>>())?;
    }
    store.finish()
}

#[test]
fn looking_at_one_thing() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    furnish(&home)?;
    let pair = Pair {
        home: &home,
        any_order: false,
    };
    for line in [
        "minfo ~~/stor/books/a.txt",
        "minfo -j ~~/stor/books/a.txt",
        "minfo ~~/stor/books ~~/stor/books/empty",
        "minfo ~~/stor/none",
        "minfo -j ~~/stor/none",
        "minfo",
        "mmd5 ~~/stor/books/a.txt",
        "mmd5 ~~/stor/books",
        "mmd5 ~~/stor/none",
        "mmd5",
        "mget ~~/stor/books/a.txt ~~/stor/books/empty ~~/stor/books/zz.json",
        "mget -H range:bytes=1-2 ~~/stor/books/a.txt",
        "mget -H if-match:x ~~/stor/books/a.txt",
        "mget ~~/stor/none",
        "mget ~~/stor/books",
        "mget -O ~~/stor/books/a.txt ~~/stor/books/empty",
        "mget -H nocolon ~~/stor/books/a.txt",
        "mget",
    ] {
        pair.agree(&line.split(' ').collect::<Vec<_>>())?;
    }
    let without = |command: &mut Command, name: &str| said(command.env_remove(name));
    for (variable, line) in [
        ("MANTA_URL", "url is a required argument"),
        ("MANTA_USER", "account is a required argument"),
    ] {
        let words = ["minfo", "/manta/stor"];
        let npm = settled(&without(&mut pair.npm(&words)?, variable)?, false);
        let own = settled(&without(&mut pair.own(&words), variable)?, false);
        ensure!(
            npm == own && own.stderr == line,
            "{variable}: {npm:?} {own:?}"
        );
    }
    store.finish()
}

#[test]
fn changes() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    furnish(&home)?;
    let up = home.path().join("up");
    fs::create_dir_all(up.join("d")).context("make a tree")?;
    for (name, text) in [("a.txt", "hello\n"), ("d/b", "x"), ("empty", "")] {
        fs::write(up.join(name), text)?;
    }
    let pair = Pair {
        home: &home,
        any_order: false,
    };
    for line in [
        "mmkdir ~~/stor/@",
        "mmkdir ~~/stor/@",
        "mmkdir -H m-a:b -p ~~/stor/@/p/q/r",
        "minfo -j ~~/stor/@/p/none",
        "mput -q -f up/a.txt ~~/stor/@",
        "mput -q -f up/a.txt -p ~~/stor/@/new/x.json",
        "mput -q -m -c 3 -H m-a:b -f up/a.txt ~~/stor/@/md5",
        "mls ~~/stor/@",
        "mput ~~/stor/@",
        "mput -f up ~~/stor/@/x",
        "mput -m ~~/stor/@/x",
        "mput ~~",
        "mput ~~/stor/@/none/x",
        "mput ~~/stor/@/a.txt/x",
        "mput -H if-match:x ~~/stor/@/a.txt",
        "mput -c 77 ~~/stor/@/x",
        "mput --role-tag nosuch ~~/stor/@/x",
        "mput",
        "mchattr -H m-a:c ~~/stor/@/a.txt",
        "mchattr -H m-a:c ~~/stor/@",
        "mchattr -H m-a:c ~~/stor/@/none",
        "mchattr -H durability-level:3 ~~/stor/@/a.txt",
        "mchattr -H m-a:c ~~",
        "mchattr -H nocolon ~~/stor/@/a.txt",
        "mchmod = ~~/stor/@/a.txt",
        "mchmod -- -x ~~/stor/@/a.txt",
        "mchmod =x ~~/stor/@/a.txt",
        "mchmod +x ~~/stor/@/a.txt",
        "mchmod +x ~~/stor/@/none",
        "mchmod x ~~/stor/@/none",
        "mchmod ~~/stor/@/none",
        "mchmod",
        "mrm ~~/stor/@/none",
        "mrm ~~/stor/@",
        "mrm -I ~~/stor/@",
        "mrm",
        "mrmdir ~~/stor/@",
        "mrmdir ~~/stor/@/a.txt",
        "mrmdir ~~/stor/@/none",
        "mrmdir -I ~~/stor/@/p",
        "mrm ~~/stor/@/a.txt ~~/stor/@/md5",
        "mrm -r ~~/stor/@/new ~~/stor/@/p/q",
        "mrmdir ~~/stor/@/p",
        "mls ~~/stor/@",
        "mmkdir ~~/stor/@/a/b",
        "mmkdir ~~",
        "mmkdir",
    ] {
        pair.agree_apart(&line.split(' ').collect::<Vec<_>>())
            .with_context(|| format!("after the lines before {line:?}"))?;
    }
    store.finish()
}

#[test]
fn synchronizing_and_unpacking() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let up = home.path().join("up");
    fs::create_dir_all(up.join("d")).context("make a tree")?;
    for (name, text) in [("a.txt", "hello\n"), ("d/b", "x"), ("d/c.o", "object")] {
        fs::write(up.join(name), text)?;
    }
    run(home
        .command("tar")
        .args(["-cf", "up.tar", "-C", "up", "a.txt", "d/b", "d/c.o"]))?;
    let pair = Pair {
        home: &home,
        any_order: true,
    };
    for line in [
        "muntar -f up.tar ~~/stor/tar/@",
        "muntar -f up.tar",
        "mfind -t o ~~/stor/tar/@",
        "msync -n up ~~/stor/@",
        "msync -x *.o up ~~/stor/@",
        "msync up ~~/stor/@",
        "msync -v up ~~/stor/@",
        "msync -m up ~~/stor/@",
        "msync -q up ~~/stor/@",
        "msync -r ~~/stor/@ down/@",
        "msync -r -v -m ~~/stor/@ down/@",
        "msync -r ~~/stor/none/@ down/@",
        "msync -d -n up ~~/stor/none/@",
        "msync up",
    ] {
        pair.agree_apart(&line.split(' ').collect::<Vec<_>>())
            .with_context(|| format!("after the lines before {line:?}"))?;
    }
    // What changes, and what goes away.
    fs::write(up.join("a.txt"), "longer than before\n")?;
    fs::write(up.join("d/b"), "y")?;
    fs::remove_file(up.join("d/c.o"))?;
    for line in [
        "msync -n -d up ~~/stor/@",
        "msync up ~~/stor/@",
        "msync -m -d up ~~/stor/@",
        "mfind ~~/stor/@",
        "msync -r -j ~~/stor/@ down/@",
        "msync -r -m ~~/stor/@ down/@",
    ] {
        pair.agree_apart(&line.split(' ').collect::<Vec<_>>())
            .with_context(|| format!("after the lines before {line:?}"))?;
    }
    ensure!(
        fs::read_to_string(home.path().join("down/own/d/b"))? == "y"
            && !home.path().join("down/own/d/c.o").exists(),
        "both sides are the same in the end"
    );
    store.finish()
}

#[test]
fn jobs_that_are_not_run() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    fs::write(
        home.path().join("job.json"),
        "{\"phases\":[{\"exec\":\"wc\"}]}",
    )?;
    let pair = Pair {
        home: &home,
        any_order: false,
    };
    let id = "b19e0925-4c85-4fe9-ab47-8cc9dcfec81a";
    for words in [
        &[
            "create",
            "--dry-run",
            "-n",
            "name",
            "-m",
            "grep x",
            "-r",
            "wc -l",
        ][..],
        &[
            "create",
            "--dry-run",
            "--count",
            "2",
            "--memory",
            "512",
            "-r",
            "sort",
            "-m",
            "cat",
        ],
        &[
            "create",
            "--dry-run",
            "-s",
            "~~/stor/a",
            "--init",
            "true",
            "-m",
            "cat",
        ],
        &[
            "create",
            "--dry-run",
            "--disk",
            "16",
            "grep foo",
            "^",
            "cut -c1",
            "^^^",
            "cat",
        ],
        &["create", "--dry-run", "-f", "job.json"],
        &["create", "-m", "x", "y"],
        &["create"],
        &["list"],
        &["list", "-l", "-n", "nothing"],
        &["list", "-s", "bad"],
        &["get", id],
        &["outputs", id],
        &["cancel", id],
        &["close", id],
        &["get"],
        &["addinputs"],
        &["share"],
        &["share", id, id],
    ] {
        let words: Vec<&str> = std::iter::once("mjob")
            .chain(words.iter().copied())
            .collect();
        let mut npm = settled(&said(&mut pair.npm(&words)?)?, false);
        let mut own = settled(&said(&mut pair.own(&words))?, false);
        // This one of the packages has a form of its own for errors, without their names.
        if let Some((_, message)) = npm.stderr.split_once(": error: ") {
            npm.stderr = message.to_owned();
            let message = own.stderr.strip_prefix("mjob: ").context("our form")?;
            own.stderr = match message.split_once("Error: ") {
                Some((name, message)) if !name.contains(' ') => message.to_owned(),
                _ => message.to_owned(),
            };
        }
        ensure!(npm == own, "{words:?}\nnpm: {npm:#?}\nown: {own:#?}");
    }
    store.finish()
}
