//! `manta adm user|policy|role|account`: what an operator sets up is there, after a restart too, and what makes no
//! sense is said.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::Store;
use tests::home::{outcome, run};

struct Adm<'a> {
    data_dir: &'a Path,
}

impl Adm<'_> {
    fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(tests::manta()?);
        command.args(["adm", "--data-dir"]).arg(self.data_dir);
        command.args(words);
        Ok(command)
    }

    fn says(&self, words: &[&str]) -> Result<String> {
        run(&mut self.command(words)?)
    }

    /// What a command that fails says.
    fn refused(&self, words: &[&str]) -> Result<String> {
        let output = outcome(&mut self.command(words)?)?;
        ensure!(!output.status.success(), "{words:?} worked");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The columns of a line, but not the ids, which are random.
fn lines(text: &str) -> Vec<String> {
    let is_id = |column: &&str| column.len() == 36 && column.matches('-').count() == 4;
    let without_id = |line: &str| {
        let columns = line.split('\t').filter(|column| !is_id(column));
        columns.collect::<Vec<_>>().join(" | ")
    };
    text.lines().map(without_id).collect()
}

#[test]
fn roles_are_set_up_shown_and_taken_away() -> Result<()> {
    let mut store = Store::launch()?;
    let data_dir = store.data_dir().to_owned();
    let adm = Adm {
        data_dir: &data_dir,
    };
    for account in ["jack", "jill"] {
        adm.says(&["account", "create", account])?;
    }
    let key = store.scratch().join("bob");
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key))?;
    let public = key.with_extension("pub");
    let public = public.to_str().context("a path")?;
    let file = store.scratch().join("rules");
    std::fs::write(
        &file,
        "# what writers may\n\nCAN putobject\n  CAN putdirectory /jack/*\n",
    )?;
    let file = file.to_str().context("a path")?;

    adm.says(&["user", "create", "jack", "bob"])?;
    let print = adm.says(&["user", "key", "add", "jack", "bob", public])?;
    let print = print.trim();
    adm.says(&[
        "policy",
        "create",
        "jack",
        "read",
        "CAN getobject",
        "CAN getdirectory",
    ])?;
    adm.says(&["policy", "create", "jack", "write", "--file", file])?;
    adm.says(&["role", "create", "jack", "guest", "--policy", "read"])?;
    adm.says(&["role", "create", "jack", "author"])?;
    adm.says(&["role", "attach", "jack", "author", "write"])?;
    adm.says(&["role", "add", "jack", "guest", "--user", "bob", "--default"])?;
    adm.says(&["role", "add", "jack", "author", "--user", "bob"])?;
    adm.says(&["role", "add", "jack", "guest", "--account", "jill"])?;
    adm.says(&["account", "group", "jill", "--add", "readers"])?;
    adm.says(&["account", "snaplinks", "jill", "forbid"])?;
    adm.says(&["account", "block", "jill"])?;
    store.stop()?;
    store.start()?;

    let shown = |words: &[&str]| Ok::<_, anyhow::Error>(lines(&adm.says(words)?));
    let equal = |words: &[&str], expected: &[&str]| {
        let found = shown(words)?;
        ensure!(found == expected, "{words:?}: {found:?}");
        Ok(())
    };
    equal(
        &["user", "list", "jack"],
        &["bob | 1 key | guest, (author)"],
    )?;
    let key_line = format!("key | {print}");
    let bob = [
        "login | bob",
        "id",
        &key_line,
        "role | guest | default",
        "role | author",
    ];
    equal(&["user", "show", "jack", "bob"], &bob)?;
    equal(
        &["policy", "list", "jack"],
        &["read | 2 rules", "write | 2 rules"],
    )?;
    let rules = ["CAN putobject", "CAN putdirectory /jack/*"];
    equal(&["policy", "show", "jack", "write"], &rules)?;
    equal(
        &["role", "list", "jack"],
        &["author | write | 1 member", "guest | read | 2 members"],
    )?;
    let guest = [
        "name | guest",
        "id",
        "policy | read",
        "user | bob | default",
        "account | jill",
    ];
    equal(&["role", "show", "jack", "guest"], &guest)?;
    let jill = [
        "login | jill",
        "id",
        "state | blocked",
        "groups | readers",
        "snaplinks | forbidden",
    ];
    equal(&["account", "show", "jill"], &jill)?;

    adm.says(&["account", "unblock", "jill"])?;
    adm.says(&[
        "account",
        "group",
        "jill",
        "--rm",
        "readers",
        "--add",
        "role-operators",
    ])?;
    adm.says(&["account", "snaplinks", "jill", "allow"])?;
    let jill = [
        "login | jill",
        "id",
        "state | active",
        "groups | role-operators",
        "snaplinks | allowed",
    ];
    equal(&["account", "show", "jill"], &jill)?;
    adm.says(&["policy", "set", "jack", "write", "CAN NOT putobject"])?;
    equal(&["policy", "show", "jack", "write"], &["CAN NOT putobject"])?;
    adm.says(&["role", "remove", "jack", "guest", "--account", "jill"])?;
    adm.says(&["role", "detach", "jack", "author", "write"])?;
    adm.says(&["user", "key", "rm", "jack", "bob", print])?;
    adm.says(&["user", "rm", "jack", "bob"])?;
    adm.says(&["policy", "rm", "jack", "read"])?;
    equal(
        &["role", "list", "jack"],
        &["author |  | 0 members", "guest |  | 0 members"],
    )?;
    adm.says(&["role", "rm", "jack", "guest"])?;
    adm.says(&["role", "rm", "jack", "author"])?;
    equal(&["role", "list", "jack"], &[])?;
    equal(&["user", "list", "jack"], &[])?;
    store.finish()
}

#[test]
fn what_cannot_be_set_up_is_said() -> Result<()> {
    let store = Store::launch()?;
    let data_dir = store.data_dir().to_owned();
    let adm = Adm {
        data_dir: &data_dir,
    };
    adm.says(&["account", "create", "jack"])?;
    adm.says(&["user", "create", "jack", "bob"])?;
    adm.says(&["role", "create", "jack", "guest"])?;
    for (words, expected) in [
        (
            &["policy", "create", "jack", "p", "CAN getobject", "CAN a, b"][..],
            "rule 2 does not parse: line 1, column 9: expected AND or a comma, but the rule ends here",
        ),
        (
            &[
                "policy",
                "create",
                "jack",
                "p",
                "CAN getobject WHEN color = red",
            ],
            "line 1, column 20: \"color\" has no type of its own; write color::string, or another type",
        ),
        (
            &["policy", "create", "jack", "a,b", "CAN a"],
            "\"a,b\" is not a name",
        ),
        (&["policy", "create", "jack", "p"], "required"),
        (
            &["policy", "show", "jack", "p"],
            "account jack has no policy p",
        ),
        (
            &["user", "create", "jack", "bob"],
            "account jack has a subuser bob already",
        ),
        (
            &["user", "create", "nobody", "bob"],
            "account nobody does not exist",
        ),
        (
            &["user", "show", "jack", "eve"],
            "account jack has no subuser eve",
        ),
        (
            &["role", "add", "jack", "guest", "--user", "eve"],
            "account jack has no subuser eve",
        ),
        (
            &["role", "add", "jack", "guest", "--account", "jack"],
            "needs no role",
        ),
        (&["role", "add", "jack", "guest"], "--user"),
        (
            &["role", "add", "jack", "x", "--user", "bob"],
            "account jack has no role x",
        ),
        (
            &["role", "attach", "jack", "guest", "p"],
            "account jack has no policy p",
        ),
        (
            &["role", "remove", "jack", "guest", "--user", "bob"],
            "bob is not a member of role guest",
        ),
        (&["account", "group", "jack"], "nothing to change"),
        (
            &["account", "group", "jack", "--add", "friends"],
            "invalid value",
        ),
        (
            &["account", "show", "nobody"],
            "account nobody does not exist",
        ),
    ] {
        let said = adm.refused(words)?;
        ensure!(said.contains(expected), "{words:?}: {said}");
    }
    let help = adm.says(&["role", "--help"])?;
    ensure!(
        help.contains("manta adm role add jill guest --user bob --default"),
        "{help}"
    );
    store.finish()
}
