//! The unmodified `mantash` of PyPI: its commands one by one with their exit codes, and as a shell.
//!
//! Surprise: it was written for Python 2, and some of it fails on Python 3 whatever the store answers. That is
//! asserted as it is, because what it has asked of the store before must have happened all the same.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::home::{Home, run, run_with};
use tests::{Launch, Request, Store};

use crate::said::{Said, said, said_with};

/// What `mantash help` lists. `login` needs a store with interactive sessions.
const COMMANDS: &str = "cat cd cp du exit find get head help (?) job jobinfo jobs json lcd lls ln login \
                        lpwd ls mkdir mv open put pwd rm sign tail vi (vim) zcat";

struct Shell<'a> {
    store: &'a Store,
    home: Home,
}

impl<'a> Shell<'a> {
    fn new(store: &'a Store) -> Result<Self> {
        let home = store.user()?;
        Ok(Self { store, home })
    }

    fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = self.home.mantash()?;
        command.args(words);
        Ok(command)
    }

    fn said(&self, words: &[&str]) -> Result<Said> {
        said(&mut self.command(words)?)
    }

    /// Succeeds, says nothing on stderr, and exactly this on stdout.
    fn prints(&self, words: &[&str], stdout: &str) -> Result<()> {
        let said = self.said(words)?;
        let expected = Said {
            stdout: stdout.to_owned(),
            stderr: String::new(),
            code: Some(0),
        };
        ensure!(said == expected, "{words:?}: {said:#?}\nnot {expected:#?}");
        Ok(())
    }

    /// Fails with a line that begins like this.
    fn fails(&self, words: &[&str], line: &str) -> Result<()> {
        let said = self.said(words)?;
        ensure!(
            said.code == Some(1) && said.stderr.lines().any(|other| other.starts_with(line)),
            "{words:?}: {said:#?}"
        );
        Ok(())
    }

    /// What the store has below the account.
    fn stored(&self, below: &str) -> Result<Vec<u8>> {
        let path = self.store.path(below);
        Ok(self.store.client()?.get(&path)?.expect(200)?.body)
    }

    fn is_missing(&self, below: &str) -> Result<bool> {
        let path = self.store.path(below);
        Ok(self.store.client()?.head(&path)?.status == 404)
    }

    /// A header of what the store has.
    fn header(&self, below: &str, name: &str) -> Result<String> {
        let path = self.store.path(below);
        let answer = self.store.client()?.head(&path)?.expect(200)?;
        Ok(answer.header(name).context("a header")?.to_owned())
    }

    /// Everything below a directory of `stor`, from our own `mfind`.
    fn everything(&self, below: &str) -> Result<Vec<String>> {
        let root = self.store.path(&format!("stor/{below}"));
        let root = root.trim_end_matches('/');
        let mut found: Vec<String> = run(self.home.own("mfind").arg(root))?
            .lines()
            .map(|path| path[root.len() + 1..].to_owned())
            .collect();
        found.sort();
        Ok(found)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let file = self.home.path().join(name);
        fs::create_dir_all(file.parent().context("a file is in a directory")?)?;
        Ok(fs::write(file, content)?)
    }

    fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.home.path().join(name)).with_context(|| format!("read {name}"))
    }

    /// A program that a command starts by its name.
    fn program(&self, name: &str, script: &str) -> Result<()> {
        self.write(&format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"))?;
        let file = self.home.path().join("bin").join(name);
        Ok(fs::set_permissions(file, Permissions::from_mode(0o755))?)
    }

    /// A command for which those programs come first, then those of `directory`.
    fn with_programs(&self, words: &[&str], directory: &std::path::Path) -> Result<Command> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut all = vec![self.home.path().join("bin"), directory.to_owned()];
        all.extend(std::env::split_paths(&path));
        let mut command = self.command(words)?;
        command.env("PATH", std::env::join_paths(all)?);
        Ok(command)
    }
}

/// A local directory `t` with a few files.
fn make_tree(sh: &Shell<'_>) -> Result<()> {
    sh.write("t/one.txt", "one\ntwo\n")?;
    sh.write("t/open", "no newline")?;
    sh.write("t/sub/j.json", "{\"a\":[1]}")?;
    let numbers: String = (1..=30).map(|n| format!("{n}\n")).collect();
    sh.write("t/seq.txt", numbers)?;
    fs::create_dir(sh.home.path().join("t/sub/empty"))?;
    run(sh.home.command("gzip").args(["-k", "t/one.txt"]))?;
    Ok(())
}

const TREE: [&str; 7] = [
    "one.txt",
    "one.txt.gz",
    "open",
    "seq.txt",
    "sub",
    "sub/empty",
    "sub/j.json",
];

#[test]
fn mantash_puts_files_and_trees_and_gets_them_back() -> Result<()> {
    let store = Store::launch()?;
    let sh = Shell::new(&store)?;
    make_tree(&sh)?;
    sh.prints(&["mkdir", "a"], "")?;
    sh.prints(&["put", "t/one.txt", "a/first"], "")?;
    sh.prints(&["put", "t/one.txt", "t/seq.txt", "a"], "")?;
    sh.prints(&["put", "-t", "text/x", "-d", "1", "t/open", "a/typed"], "")?;
    sh.prints(&["put", "-b", "t/one.txt", "a/binary"], "")?;
    sh.prints(&["put", "--dry-run", "t/one.txt", "a/dry"], "")?;
    ensure!(
        sh.everything("a")? == ["binary", "first", "one.txt", "seq.txt", "typed"],
        "{:?}",
        sh.everything("a")?
    );
    for (name, local) in [
        ("first", "t/one.txt"),
        ("seq.txt", "t/seq.txt"),
        ("typed", "t/open"),
    ] {
        let stored = sh.stored(&format!("stor/a/{name}"))?;
        ensure!(stored == sh.read(local)?.into_bytes(), "{name}");
    }
    for (name, kind, copies) in [
        ("one.txt", "text/plain", "2"),
        ("typed", "text/x", "1"),
        ("binary", "application/octet-stream", "2"),
    ] {
        let name = format!("stor/a/{name}");
        ensure!(sh.header(&name, "content-type")? == kind, "{name}");
        ensure!(sh.header(&name, "durability-level")? == copies, "{name}");
    }
    // A directory becomes what does not exist yet, or goes into what does.
    sh.prints(&["put", "-r", "t", "new"], "")?;
    ensure!(sh.everything("new")? == TREE, "{:?}", sh.everything("new")?);
    sh.prints(&["put", "-R", "t", "a"], "")?;
    ensure!(sh.everything("a/t")? == TREE, "{:?}", sh.everything("a/t")?);
    sh.prints(&["mkdir", "b"], "")?;
    sh.prints(&["put", "-r", "t/", "b"], "")?;
    ensure!(sh.everything("b")? == TREE, "{:?}", sh.everything("b")?);

    sh.prints(&["get", "a/first"], "")?;
    sh.prints(&["get", "a/first", "named"], "")?;
    fs::create_dir(sh.home.path().join("down"))?;
    sh.prints(&["get", "a/one.txt", "a/seq.txt", "down"], "")?;
    sh.prints(&["get", "--dry-run", "a/typed", "dry"], "")?;
    sh.prints(&["get", "-r", "new", "fresh"], "")?;
    sh.prints(&["get", "-r", "new", "down"], "")?;
    for name in ["first", "named", "down/one.txt", "down/new/one.txt"] {
        ensure!(sh.read(name)? == "one\ntwo\n", "{name}");
    }
    run(sh.home.command("diff").args(["-r", "t", "fresh"]))?;
    run(sh.home.command("diff").args(["-r", "t", "down/new"]))?;
    ensure!(
        !sh.home.path().join("dry").exists(),
        "a dry run gets nothing"
    );

    for (words, line) in [
        (vec!["put", "one"], "incorrect number of arguments"),
        (vec!["put", "t", "x"], "t is not a regular file"),
        (
            vec!["put", "-r", "gone", "x"],
            "gone is not a regular file or",
        ),
        (vec!["put", "t/open", "no/x"], "/"),
        (
            vec!["put", "t/open", "t/one.txt", "x"],
            "x (remote) is not an",
        ),
        (
            vec!["put", "t/open", "x/"],
            "x/ (remote) is not an existing",
        ),
        (vec!["get"], "incorrect number of arguments"),
        (
            vec!["get", "a", "x"],
            "a is not a Manta object (not copied)",
        ),
        (
            vec!["get", "gone"],
            "gone is not a Manta object (not copied)",
        ),
        (
            vec!["get", "-r", "gone", "x"],
            "gone (manta path) does not exist",
        ),
        (
            vec!["get", "a/first", "a/typed", "x"],
            "x (local) is not an",
        ),
        // Its own mistake.
        (
            vec!["get", "-r", "a/first", "down"],
            "name 'basename' is not",
        ),
    ] {
        sh.fails(&words, &format!("mantash: ERROR: {line}"))?;
    }
    ensure!(sh.is_missing("stor/x")?, "nothing was put");
    store.finish()
}

#[test]
fn mantash_shows_what_is_in_objects() -> Result<()> {
    let store = Store::launch()?;
    let sh = Shell::new(&store)?;
    make_tree(&sh)?;
    sh.prints(&["put", "-r", "t", "a"], "")?;
    sh.write("bytes", [0xff, 0xfe])?;
    sh.prints(&["put", "bytes", "a"], "")?;
    sh.prints(&["cat", "a/one.txt", "a/open"], "one\ntwo\nno newline\n")?;
    let lines = |range: std::ops::RangeInclusive<u32>| -> String {
        range.map(|number| format!("{number}\n")).collect()
    };
    sh.prints(&["head", "a/seq.txt"], &lines(1..=10))?;
    sh.prints(&["tail", "a/seq.txt"], &lines(21..=30))?;
    let stor = store.path("stor");
    let both = format!("==> {stor}/a/open <==\nno newline\n");
    sh.prints(
        &["head", "a/open", "a/seq.txt"],
        &format!("{both}\n==> {stor}/a/seq.txt <==\n{}", lines(1..=10)),
    )?;
    sh.prints(
        &["tail", "a/open", "a/seq.txt"],
        &format!("{both}==> {stor}/a/seq.txt <==\n{}", lines(21..=30)),
    )?;
    sh.prints(&["json", "a/sub/j.json"], "{\n  \"a\": [\n    1\n  ]\n}\n")?;
    // What is no document is printed as it is.
    let text = sh.said(&["json", "a/one.txt"])?;
    ensure!(
        text.code == Some(1) && text.stdout == "one\ntwo\n",
        "{text:?}"
    );
    // The compressed bytes do not end with the newline that it looks for.
    sh.prints(&["zcat", "a/one.txt.gz"], "one\ntwo\n\n")?;
    for command in ["cat", "head", "tail", "json", "zcat"] {
        sh.fails(&[command, "a"], "mantash: ERROR: a: is a directory")?;
        sh.fails(
            &[command, "a/gone"],
            "mantash: ERROR: a/gone: no such object or directory",
        )?;
    }
    sh.fails(&["zcat", "a/open"], "TypeError: a bytes-like object")?;
    sh.fails(&["cat", "a/bytes"], "TypeError: write() argument must be")?;

    let public = store.path("public/page");
    sh.prints(&["put", "t/one.txt", &public], "")?;
    let mut open = sh.command(&["open", "~/../public/page"])?;
    sh.program("browser", "printf %s \"$1\" > opened")?;
    let browser = sh.home.path().join("bin/browser");
    run(open.env("BROWSER", format!("{} %s", browser.display())))?;
    ensure!(
        sh.read("opened")? == format!("{}{}", store.url(), public),
        "{}",
        sh.read("opened")?
    );
    store.finish()
}

#[test]
fn mantash_lists_and_finds() -> Result<()> {
    let store = Store::launch()?;
    let sh = Shell::new(&store)?;
    make_tree(&sh)?;
    sh.prints(&["ls"], "")?;
    sh.prints(&["mkdir", "a"], "")?;
    sh.prints(&["mkdir", "-p", "a/x/y", "b"], "")?;
    sh.prints(&["put", "t/one.txt", "t/seq.txt", "a"], "")?;
    ensure!(
        sh.everything("")? == ["a", "a/one.txt", "a/seq.txt", "a/x", "a/x/y", "b"],
        "{:?}",
        sh.everything("")?
    );
    let account = store.account();
    sh.prints(&["ls"], "a\nb\n")?;
    sh.prints(&["ls", "a"], "one.txt\nseq.txt\nx\n")?;
    sh.prints(&["ls", "-F", "a"], "one.txt\nseq.txt\nx/\n")?;
    sh.prints(&["ls", "-d", "a"], "a\n")?;
    sh.prints(&["ls", "a/one.txt"], "a/one.txt\n")?;
    sh.prints(&["ls", "a/*.txt"], "a/one.txt\na/seq.txt\n")?;
    sh.prints(&["ls", "-d", "?"], "a\nb\n")?;
    sh.prints(
        &["ls", "a/x", "a/one.txt", "b"],
        "a/one.txt\n\na/x:\ny\n\nb:\n",
    )?;
    sh.prints(&["ls", "/"], &format!("{account}\n"))?;
    sh.prints(
        &["ls", &format!("/{account}")],
        "jobs\npublic\nreports\nstor\n",
    )?;
    sh.prints(&["-C", "a/x", "ls"], "y\n")?;
    sh.prints(&["-C", "a", "pwd"], &format!("{}\n", store.path("stor/a")))?;
    let rows: Value = serde_json::from_str(&run(&mut sh.command(&["ls", "-j", "a"])?)?)?;
    let row = &rows["a"]["seq.txt"];
    ensure!(
        row["size"] == 81
            && row["type"] == "object"
            && row["etag"].as_str() == Some(&sh.header("stor/a/seq.txt", "etag")?),
        "{rows}"
    );
    let mtime = row["mtime"].as_str().context("a time")?;
    sh.prints(
        &["ls", "-l", "a/seq.txt"],
        &format!(
            "{:>9}  {account}  {:>10}  {mtime:>24}  a/seq.txt\n",
            "object", 81
        ),
    )?;
    sh.prints(
        &["ls", "-lh", "a/seq.txt"],
        &format!("{:>9}  {account}    81  {mtime:>24}  a/seq.txt\n", "object"),
    )?;
    for path in ["gone", "a/gone", "g*", "gone/x"] {
        let line = format!("mantash: ERROR: {path}: no such object or directory");
        sh.fails(&["ls", path], &line)?;
    }
    sh.fails(&["ls", "~~/nowhere"], "mantash: ERROR: ~~/nowhere: no such")?;
    sh.fails(
        &["ls", "/nobody/public"],
        "mantash: ERROR: (AccountDoesNotExist)",
    )?;

    sh.prints(&["find", "a"], "a\na/one.txt\na/seq.txt\na/x\na/x/y\n")?;
    sh.prints(&["find", "a", "-type", "d"], "a\na/x\na/x/y\n")?;
    sh.prints(&["find", "-type", "f", "-name", "s*"], "./a/seq.txt\n")?;
    sh.prints(&["find", "a/one.txt", "b", "-type", "o"], "a/one.txt\n")?;
    sh.prints(
        &["find", "a", "-name", "seq.txt", "-ls"],
        &format!(
            "{:>9}  {account}  {:>10}  {mtime:>24}  a/seq.txt\n",
            "object", 81
        ),
    )?;
    let gone = sh.said(&["find", "gone"])?;
    ensure!(
        gone.code == Some(0) && gone.stderr.ends_with("gone: no such remote directory\n"),
        "{gone:?}"
    );
    sh.fails(
        &["find", "-name"],
        "mantash: ERROR: no argument for '-name'",
    )?;
    sh.fails(
        &["find", "-bogus"],
        "mantash: ERROR: unknown option: '-bogus'",
    )?;

    let a = store.path("stor/a");
    let sizes = format!("8          {a}/one.txt\n81         {a}/seq.txt\n");
    sh.prints(&["du", "a"], &sizes)?;
    sh.prints(&["du", "a/*.txt"], &sizes)?;
    sh.prints(&["du", "-s", "a"], &format!("89         {a}\n"))?;
    sh.prints(&["du", "-sh", "a"], &format!("89         {a}\n"))?;
    sh.prints(&["du", "a/one.txt"], &format!("8          {a}/one.txt\n"))?;

    sh.fails(&["mkdir"], "mantash: ERROR: mkdir: no PATH arguments given")?;
    sh.fails(
        &["mkdir", "no/x"],
        "mantash: ERROR: (DirectoryDoesNotExist)",
    )?;
    sh.fails(
        &["mkdir", "a/one.txt/x"],
        "mantash: ERROR: (ParentNotDirectory)",
    )?;
    store.finish()
}

#[test]
fn mantash_links_copies_moves_and_removes() -> Result<()> {
    let store = Store::launch()?;
    let sh = Shell::new(&store)?;
    make_tree(&sh)?;
    let stor = store.path("stor");
    sh.prints(&["put", "-r", "t", "a"], "")?;
    let etag = sh.header("stor/a/one.txt", "etag")?;
    sh.prints(&["ln", "a/one.txt", "a/link"], "")?;
    sh.prints(&["ln", "a/one.txt"], "")?;
    for link in ["stor/a/link", "stor/one.txt"] {
        ensure!(
            sh.header(link, "etag")? == etag,
            "{link} is the same object"
        );
    }
    sh.fails(
        &["ln", "a/gone", "x"],
        "mantash: ERROR: (SourceObjectNotFound)",
    )?;
    sh.fails(&["ln", "a/sub", "x"], "mantash: ERROR: (LinkNotObject)")?;
    sh.fails(&["ln", "a", "b", "c"], "mantash ln: too many arguments")?;

    let arrow = |from: &str, to: &str| format!("{stor}/{from} -> {stor}/{to}\n");
    sh.prints(&["cp", "a/one.txt", "copy"], &arrow("a/one.txt", "copy"))?;
    sh.prints(&["cp", "-q", "a/one.txt", "a/open", "a/sub"], "")?;
    ensure!(
        sh.stored("stor/a/sub/open")? == b"no newline",
        "into a directory"
    );
    sh.prints(&["cp", "--dry-run", "copy", "dry"], &arrow("copy", "dry"))?;
    sh.prints(
        &["cp", "-R", "a/sub", "new"],
        &(arrow("a/sub", "new")
            + &arrow("a/sub/j.json", "new/j.json")
            + &arrow("a/sub/one.txt", "new/one.txt")
            + &arrow("a/sub/open", "new/open")
            + &arrow("a/sub/empty", "new/empty")),
    )?;
    sh.prints(&["cp", "-qR", "a/sub", "new"], "")?;
    ensure!(
        sh.everything("new/sub")? == ["empty", "j.json", "one.txt", "open"],
        "into one that exists"
    );
    sh.prints(&["cp", "-qR", "a/sub/", "new"], "")?;
    ensure!(sh.is_missing("stor/dry")?, "a dry run copies nothing");
    for (words, line) in [
        (vec!["cp"], "mantash: ERROR: not enough args"),
        (
            vec!["cp", "gone", "x"],
            "cp: gone: No such Manta file or dir",
        ),
        (
            vec!["cp", "a", "x"],
            "cp: a is a directory (not copied, use",
        ),
        (
            vec!["cp", "-R", "a", "copy"],
            "cp: copy: Not a Manta directory",
        ),
        (
            vec!["cp", "a", "new", "x"],
            "mantash: ERROR: incorrect usage: ",
        ),
    ] {
        sh.fails(&words, line)?;
    }

    sh.prints(&["mv", "copy", "moved"], "")?;
    ensure!(
        sh.is_missing("stor/copy")? && sh.header("stor/moved", "etag")? == etag,
        "the object has moved"
    );
    sh.prints(&["mv", "-q", "new/sub", "away"], "")?;
    ensure!(
        sh.is_missing("stor/new/sub")?
            && sh.everything("away")? == ["empty", "j.json", "one.txt", "open"],
        "the tree has moved"
    );
    sh.prints(&["mv", "--dry-run", "moved", "dry"], "")?;
    sh.fails(&["mv", "moved"], "mantash: ERROR: not enough args")?;
    sh.fails(&["mv", "moved", "a"], "mantash: ERROR: target a exists")?;
    sh.fails(
        &["mv", "gone", "x"],
        "manta.errors.MantaResourceNotFoundError",
    )?;
    ensure!(!sh.is_missing("stor/moved")?, "it stays");

    sh.prints(&["rm", "moved"], "")?;
    sh.prints(&["rm", "a/*.txt"], "")?;
    ensure!(
        sh.is_missing("stor/moved")? && sh.is_missing("stor/a/seq.txt")?,
        "removed"
    );
    sh.prints(&["rm", "--dry-run", "a/open"], "")?;
    sh.prints(&["rm", "-r", "away"], "")?;
    ensure!(
        sh.is_missing("stor/away")? && !sh.is_missing("stor/a/open")?,
        "what was meant, and nothing else"
    );
    // It says what went wrong, but its exit code does not.
    let refused = sh.said(&["rm", "a"])?;
    let line = format!("mantash: ERROR: rm {stor}/a: (DirectoryNotEmpty) {stor}/a is not empty\n");
    ensure!(
        refused.stderr == line && refused.code == Some(0),
        "{refused:?}"
    );
    sh.prints(&["rm", "gone"], "")?;
    sh.prints(&["rm", "-f", "gone"], "")?;
    store.finish()
}

#[test]
fn mantash_edits_and_signs_with_other_programs() -> Result<()> {
    let store = Store::launch()?;
    let sh = Shell::new(&store)?;
    let own = store.data_dir().join("bin");
    sh.write("note", "a note\n")?;
    sh.prints(&["put", "-t", "text/x", "note", "note"], "")?;
    let before = sh.header("stor/note", "etag")?;
    // It is called as `vi -f FILE`.
    sh.program("vi", "exit 0")?;
    run(&mut sh.with_programs(&["vi", "note"], &own)?)?;
    ensure!(
        sh.header("stor/note", "etag")? == before,
        "nothing has changed"
    );
    sh.program("vi", "echo more >> \"$2\"")?;
    run(&mut sh.with_programs(&["vim", "note"], &own)?)?;
    ensure!(
        sh.stored("stor/note")? == b"a note\nmore\n"
            && sh.header("stor/note", "content-type")? == "text/x",
        "saved"
    );
    // It cannot make a new one, and does not try.
    let new = said(&mut sh.with_programs(&["vi", "new"], &own)?)?;
    ensure!(
        new.code == Some(1)
            && new
                .stderr
                .contains("Strings must be encoded before hashing"),
        "{new:?}"
    );
    ensure!(sh.is_missing("stor/new")?, "nothing was stored");

    // `sign` calls whatever `msign` is: ours, and that of npm.
    let npm = tests::clients()?.join("npm/node_modules/manta/bin");
    for programs in [own, npm] {
        let url = run(&mut sh.with_programs(&["sign", "-e", "4102444800", "note"], &programs)?)?;
        let target = url.trim_end().strip_prefix(store.url()).context("a URL")?;
        // The URL was signed for this host.
        let request = Request::new("GET", target).header("host", &store.address().to_string());
        let answer = store.anonymous().call(&request)?.expect(200)?;
        ensure!(answer.text() == "a note\nmore\n", "{url}");
    }
    store.finish()
}

#[test]
fn mantash_runs_jobs() -> Result<()> {
    let store = Launch::new().setting("jobs.zones = 2").start()?;
    let sh = Shell::new(&store)?;
    make_tree(&sh)?;
    sh.prints(&["put", "t/one.txt", "t/seq.txt", "~"], "")?;
    sh.prints(&["jobs"], "")?;
    // The job does what it is told; then the names of its outputs are bytes, and it takes them for text.
    let counted = [
        "job", "-v", "-n", "count", "one.txt", "seq.txt", "^", "cat", "^^", "wc", "-l",
    ];
    let done = sh.said(&counted)?;
    let id = done
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("Created job "))
        .with_context(|| format!("{done:?}"))?;
    ensure!(
        done.code == Some(1) && done.stderr.contains("TypeError: startswith first arg"),
        "{done:?}"
    );
    let outputs = run(sh.home.own("mjob").args(["outputs", id]))?;
    ensure!(
        run(sh.home.own("mget").args(["-q", outputs.trim_end()]))?.trim() == "32",
        "{outputs}"
    );
    let status: Value = serde_json::from_str(&run(sh.home.own("mjob").args(["get", id]))?)?;
    ensure!(status["name"] == "count", "{status}");
    // Without an output all is well; that the command has failed is not its business.
    let failed = sh.said(&["job", "~/one.txt", "^", "exit", "3"])?;
    ensure!(
        failed.code == Some(0) && failed.stdout.is_empty(),
        "{failed:?}"
    );

    let listed = run(&mut sh.command(&["jobs"])?)?;
    ensure!(
        listed.lines().count() == 2 && listed.lines().any(|line| line == id),
        "{listed}"
    );
    let rows: Value = serde_json::from_str(&run(&mut sh.command(&["jobs", "-j"])?)?)?;
    ensure!(
        rows.as_array().is_some_and(|rows| rows.len() == 2),
        "{rows}"
    );
    sh.prints(&["jobs", "-s", "running"], "")?;
    sh.fails(
        &["jobs", "-s", "done"],
        "mantash: ERROR: (InvalidParameter)",
    )?;
    // What lists names as bytes cannot be printed, so this needs a job without any.
    let empty = run_with(sh.home.own("mjob").args(["create", "-w", "-m", "cat"]), b"")?;
    let info: Value =
        serde_json::from_str(&run(&mut sh.command(&["jobinfo", empty.trim_end()])?)?)?;
    ensure!(
        info["job"]["id"].as_str() == Some(empty.trim_end())
            && info["job"]["state"] == "done"
            && ["in", "out", "err", "fail"]
                .iter()
                .all(|list| info[list] == serde_json::json!([])),
        "{info}"
    );
    sh.fails(
        &["jobinfo", id],
        "TypeError: Object of type bytes is not JSON",
    )?;
    let nobodys = "11111111-1111-4111-8111-111111111113";
    for (words, line) in [
        (
            vec!["jobinfo", nobodys],
            "mantash: ERROR: (ResourceNotFound)",
        ),
        (
            vec!["job", "one.txt"],
            "MantashError: no '^', '|' or '^^' pipe",
        ),
        (
            vec!["job", "gone", "^", "wc"],
            "manta.errors.MantaError: 'gone' does",
        ),
        (vec!["job", "~", "^", "wc"], "MantashError: '/"),
    ] {
        sh.fails(&words, line)?;
    }
    store.finish()
}

#[test]
fn mantash_is_a_shell() -> Result<()> {
    let store = Store::launch()?;
    let sh = Shell::new(&store)?;
    make_tree(&sh)?;
    let stor = store.path("stor");
    let session = |script: &str| -> Result<Said> {
        let mut shell = sh.command(&[])?;
        said_with(shell.env("MANTASH_PS1", r"\u \w> "), script.as_bytes())
    };
    // Each prompt is there before its line, without the echo of a terminal.
    let user = store.account();
    let home = sh.home.path().canonicalize()?;
    let told = session(
        "pwd\nmkdir -p a/b\ncd a/b\npwd\ncd -\ncd ~\nlcd t\nlpwd\nput one.txt 'two words'\n\
         ls\ncat \"two words\"\nlls -d sub\ncd ..\nls\nexit\n",
    )?;
    let at = |below: &str| format!("{user} {stor}{below}> ");
    let expected = [
        at(""),
        format!("{stor}\n"),
        at("") + &at("") + &at("/a/b"),
        format!("{stor}/a/b\n"),
        at("/a/b"),
        format!("{stor}\n"),
        at("") + &at("") + &at(""),
        format!("{}\n", home.join("t").display()),
        at("") + &at(""),
        "a\ntwo words\n".to_owned(),
        at(""),
        "one\ntwo\n".to_owned(),
        at(""),
        "sub\n".to_owned(),
        at(""),
        format!("{user} /{user}> "),
        "jobs\npublic\nreports\nstor\n".to_owned(),
        format!("{user} /{user}> "),
        "exit\n".to_owned(),
    ];
    ensure!(
        told.stdout == expected.concat() && told.code == Some(0),
        "{told:#?}\nnot {:#?}",
        expected.concat()
    );
    ensure!(sh.stored("stor/two%20words")? == b"one\ntwo\n", "put");

    // A refusal is told and the shell goes on to its end; an error that it does not expect is its end.
    let errors = session("cd gone\nls gone\ncd a/b/c\nnonsense\ncd two\\ words\n")?;
    ensure!(
        errors.code == Some(0)
            && errors.stderr
                == "mantash: ERROR: gone: no such directory\n\
                    mantash: ERROR: gone: no such object or directory\n\
                    mantash: ERROR: a/b/c: no such directory\n\
                    unknown command: 'nonsense'\n\
                    mantash: ERROR: two words: not a directory\n",
        "{errors:#?}"
    );
    let ended = session("mkdir c\nln gone x\nmkdir d\n")?;
    ensure!(
        ended.code == Some(1) && ended.stderr.contains("(SourceObjectNotFound)"),
        "{ended:#?}"
    );
    ensure!(
        !sh.is_missing("stor/c")? && sh.is_missing("stor/d")?,
        "ended"
    );
    store.finish()
}

#[test]
fn mantash_helps_and_says_what_it_misses() -> Result<()> {
    let store = Store::launch()?;
    let sh = Shell::new(&store)?;
    let help = run(&mut sh.command(&["help"])?)?;
    let (_, commands) = help.split_once("Commands:\n").context("a list")?;
    let listed: Vec<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.trim_start().split("  ").next())
        .collect();
    ensure!(listed.join(" ") == COMMANDS, "{listed:?}");
    for command in ["help", "man", "?"] {
        let about = run(&mut sh.command(&[command, "cp"])?)?;
        ensure!(about.contains("cp SOURCE-MFILE TARGET-MFILE"), "{about}");
    }
    let version = run(&mut sh.command(&["--version"])?)?;
    ensure!(version == "mantash 3.0.0\n", "{version}");
    sh.prints(&["exit"], "exit\n")?;
    sh.fails(&["nonsense"], "mantash: unknown command: 'nonsense'")?;
    sh.fails(&["ls", "--bogus"], "mantash ls: no such option: --bogus")?;
    sh.fails(
        &["-C", "gone", "ls"],
        "mantash: ERROR: gone: no such directory",
    )?;
    for (variable, words) in [
        ("MANTA_URL", "no Manta URL: use '--url'"),
        ("MANTA_USER", "no Manta account: use '--account'"),
        ("MANTA_KEY_ID", "no Manta key ID: use '-i'"),
    ] {
        let missing = said(sh.command(&["ls"])?.env_remove(variable))?;
        ensure!(
            missing.code == Some(1) && missing.stderr.contains(words),
            "{missing:?}"
        );
    }

    // Without a key it sees what everybody may see; options go before variables.
    store
        .client()?
        .put(&store.path("public/x"), "x")?
        .expect(204)?;
    let public = store.path("public");
    let anonymous = |words: &[&str]| -> Result<Said> {
        said(
            sh.command(words)?
                .env("MANTA_NO_AUTH", "true")
                .env_remove("MANTA_KEY_ID"),
        )
    };
    ensure!(anonymous(&["ls", &public])?.stdout == "x\n", "public");
    let refused = anonymous(&["ls"])?;
    ensure!(
        refused.code == Some(1)
            && refused
                .stderr
                .contains("(AuthorizationFailed) anonymous is"),
        "{refused:?}"
    );
    let id_rsa = sh.home.path().join(".ssh/id_rsa");
    let id_rsa = id_rsa.to_str().context("a path")?;
    let mut options = sh.command(&["--drop-cache", "-u", store.url(), "-a", store.account()])?;
    options.args(["-k", id_rsa, "ls", &public]);
    for variable in ["MANTA_URL", "MANTA_USER", "MANTA_KEY_ID"] {
        options.env(variable, "nonsense");
    }
    ensure!(run(&mut options)? == "x\n", "by its options");
    sh.fails(
        &["--role", "nonsense", "ls", &public],
        "mantash: ERROR: (InvalidRole)",
    )?;
    sh.fails(
        &["--user", "nobody", "ls", &public],
        "mantash: ERROR: (UserDoesNotExist)",
    )?;
    store.finish()
}
