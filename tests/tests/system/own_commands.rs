//! A tour with our own commands, as a user would take it after sourcing `DATA_DIR/env`.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::home::{outcome, outcome_with, run, run_with};
use tests::{Launch, Store};

/// A command line in a shell that has sourced `env` and nothing else.
pub(crate) fn shell(store: &Store, script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    let env = store.data_dir().join("env");
    command
        .args(["-ec", &format!(". '{}'; {script}", env.display())])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", store.home())
        .env("LANG", "C.UTF-8")
        .current_dir(store.scratch());
    command
}

#[test]
fn the_tour_of_the_readme() -> Result<()> {
    let store = Launch::new().setting("jobs.zones = 2").start()?;
    let book = "It was the best of times,\nit was the worst of times\n";
    std::fs::write(store.scratch().join("book.txt"), book)?;
    let sh = |script: &str| run(&mut shell(&store, script));
    sh("mput -f book.txt ~~/stor/book.txt")?;
    ensure!(sh("mls ~~/stor")? == "book.txt\n", "{}", sh("mls ~~/stor")?);
    let long = sh("mls -l ~~/stor")?;
    ensure!(
        long.starts_with("-rwxr-xr-x 1 ") && long.contains(&book.len().to_string()),
        "{long}"
    );
    ensure!(sh("mget -q ~~/stor/book.txt")? == book, "mget");
    let info = sh("minfo ~~/stor/book.txt")?;
    ensure!(
        info.starts_with("HTTP/1.1 200 OK\n") && info.contains("durability-level: 2\n"),
        "{info}"
    );
    sh("mmkdir -p ~~/stor/a/b && mput -f book.txt ~~/stor/a/b")?;
    ensure!(
        sh("mfind -t o ~~/stor | sort")?.lines().count() == 2,
        "mfind"
    );
    let words = sh("mfind -t o -n '^book' ~~/stor | mjob create -o -q \
        -m 'tr -cs A-Za-z \"\\n\" | sort | uniq -c' -r 'awk \"{ n[\\$2] += \\$1 } END { for (w in n) print n[w], w }\" | sort -rn | head -1'")?;
    ensure!(words.trim() == "4 was", "{words}");
    sh("mrm -r ~~/stor/a && mrm ~~/stor/book.txt && mmkdir ~~/stor/d && mrmdir ~~/stor/d")?;
    ensure!(sh("mls ~~/stor")?.is_empty(), "nothing is left");
    // The long form of each command is the same.
    ensure!(sh("manta mls ~~")? == sh("mls ~~")?, "manta mls");
    store.finish()
}

#[test]
fn failures_are_one_line_and_a_status() -> Result<()> {
    let store = Store::launch()?;
    for (script, words) in [
        ("mget ~~/stor/none", "ResourceNotFound"),
        ("mrm ~~/stor/none", "NotFound"),
        ("mmkdir ~~/stor/a/b", "DirectoryDoesNotExist"),
        ("mput -f none ~~/stor/x", "none"),
        ("mls relative/../none", "NotFound"),
        ("MANTA_URL= mls", "url"),
    ] {
        let output = outcome(&mut shell(&store, script))?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{script}: {output:?}");
        ensure!(
            stderr.contains(words),
            "{script} must say {words}: {stderr}"
        );
        ensure!(!stderr.contains("panicked"), "{script}: {stderr}");
    }
    store.finish()
}

#[test]
fn what_is_piped_in_comes_back_out() -> Result<()> {
    let store = Store::launch()?;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
    run_with(&mut shell(&store, "mput ~~/stor/x"), &bytes)?;
    let back = outcome(&mut shell(&store, "mget ~~/stor/x"))?;
    ensure!(
        back.stdout == bytes,
        "{} bytes came back: {:?}",
        back.stdout.len(),
        String::from_utf8_lossy(&back.stderr)
    );
    ensure!(
        back.stderr.is_empty(),
        "no progress bar without a terminal: {:?}",
        back.stderr
    );
    let info = run(&mut shell(&store, "minfo ~~/stor/x"))?;
    ensure!(info.contains("content-length: 3000000\n"), "{info}");
    store.finish()
}

/// Every kind of key that `ssh-keygen` makes, in `~/.ssh` and in an agent.
#[test]
fn keys_of_every_kind_sign() -> Result<()> {
    let home = tempfile::tempdir()?;
    let ssh = home.path().join(".ssh");
    std::fs::create_dir(&ssh)?;
    let kinds: [(&str, &[&str]); 6] = [
        ("id_rsa", &["-t", "rsa", "-b", "2048"]),
        ("id_rsa_pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("id_ed25519", &["-t", "ed25519"]),
        ("id_ecdsa256", &["-t", "ecdsa", "-b", "256"]),
        ("id_ecdsa384", &["-t", "ecdsa", "-b", "384", "-m", "PEM"]),
        ("id_ecdsa521", &["-t", "ecdsa", "-b", "521", "-m", "PKCS8"]),
    ];
    for (name, options) in kinds {
        run(Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-f"])
            .arg(ssh.join(name))
            .args(options))?;
    }
    let store = Launch::new().start_with_home(home.path())?;
    for hash in ["md5", "sha256"] {
        for (name, _) in kinds {
            let printed = run(Command::new("ssh-keygen")
                .args(["-l", "-E", hash, "-f"])
                .arg(ssh.join(name)))?;
            let fingerprint = printed.split(' ').nth(1).context("a fingerprint")?;
            let fingerprint = fingerprint.trim_start_matches("MD5:");
            let script = format!("unset MANTA_KEY_FILE; MANTA_KEY_ID='{fingerprint}' mls ~~");
            let listed =
                run(&mut shell(&store, &script)).with_context(|| format!("sign with {name}"))?;
            ensure!(listed.contains("stor/"), "{name}: {listed}");
        }
    }
    // Only the agent has the keys.
    let agent = "eval $(ssh-agent) >/dev/null; trap 'ssh-agent -k >/dev/null' EXIT; \
        for key in $HOME/.ssh/id_*[!b]; do case $key in *.pub) ;; *) ssh-add -q $key ;; esac; done; \
        mkdir hidden; mv $HOME/.ssh/* hidden/; unset MANTA_KEY_FILE; \
        for print in $(ssh-add -l -E md5 | cut -d' ' -f2 | sed s/MD5://); do MANTA_KEY_ID=$print mls ~~ ; done; \
        mv hidden/* $HOME/.ssh/";
    let listed = run(&mut shell(&store, agent))?;
    ensure!(listed.matches("stor/").count() == kinds.len(), "{listed}");
    let unknown = outcome(&mut shell(
        &store,
        "unset MANTA_KEY_FILE; MANTA_KEY_ID=00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff mls ~~",
    ))?;
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    ensure!(
        unknown.status.code() == Some(1) && said.contains(".ssh"),
        "which keys were tried: {said}"
    );
    store.finish()
}

#[test]
fn job_commands() -> Result<()> {
    let store = Launch::new().setting("jobs.zones = 2").start()?;
    let sh = |script: &str| run(&mut shell(&store, script));
    sh("printf one | mput ~~/stor/1; printf two | mput ~~/stor/2")?;
    let id = sh("mjob create --open -n mine -m cat")?;
    let id = id.trim();
    ensure!(sh("mjob list -n mine")?.contains(id), "list");
    let added = outcome_with(
        &mut shell(&store, &format!("mjob addinputs {id}")),
        b"~~/stor/1\n\n~~/stor/2\n",
    )?;
    ensure!(
        String::from_utf8_lossy(&added.stderr).contains("added 2 inputs to"),
        "{added:?}"
    );
    let watched = sh(&format!("mjob watch {id}"))?;
    ensure!(watched.contains("\"state\": \"done\""), "{watched}");
    ensure!(
        sh(&format!("mjob outputs {id}"))?.lines().count() == 2,
        "outputs"
    );
    ensure!(
        sh(&format!("mjob inputs {id}"))?
            == format!("{}\n{}\n", store.path("stor/1"), store.path("stor/2")),
        "inputs"
    );
    ensure!(
        sh(&format!("mjob errors {id}; mjob failures {id}"))?.is_empty(),
        "errors"
    );
    let refused = outcome(&mut shell(&store, &format!("mjob cancel {id}")))?;
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(
        String::from_utf8_lossy(&refused.stderr).contains("InvalidJobState"),
        "{refused:?}"
    );
    let dry = sh("mjob create --dry-run -n x -m 'wc -l' --count 2 --memory 2048 -r sort")?;
    let dry: serde_json::Value = serde_json::from_str(&dry)?;
    ensure!(
        dry["phases"][1]["count"] == 2 && dry["phases"][1]["memory"] == 2048,
        "{dry}"
    );
    store.finish()
}
