//! Our own commands about the metadata of what is stored: `mchattr`, `mmd5`.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::Store;
use tests::home::{Home, run, run_with};

use crate::said::{fails_with, is_wrong_usage, said};

fn info(home: &Home, path: &str) -> Result<Value> {
    Ok(serde_json::from_str(&run(home
        .own("minfo")
        .args(["-j", path]))?)?)
}

#[test]
fn mchattr_replaces_all_metadata_of_objects_and_directories() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let put = ["-H", "m-first: 1", "-H", "m-both: old", "~~/stor/x.txt"];
    run_with(home.own("mput").args(put), b"content")?;
    run(home.own("mmkdir").args(["-H", "m-first: 1", "~~/stor/d"]))?;
    let before = info(&home, "~~/stor/x.txt")?;
    run(home.own("mchattr").args([
        "-H",
        "m-both: new",
        "-H",
        "m-second:2",
        "~~/stor/x.txt",
        "~~/stor/d",
    ]))?;
    for path in ["~~/stor/x.txt", "~~/stor/d"] {
        let now = info(&home, path)?;
        ensure!(
            now["m-both"] == "new" && now["m-second"] == "2" && now.get("m-first").is_none(),
            "{now}"
        );
    }
    let now = info(&home, "~~/stor/x.txt")?;
    for same in ["etag", "content-md5", "content-length", "content-type"] {
        ensure!(now[same] == before[same], "{same}: {before} and {now}");
    }
    ensure!(
        run(home.own("mget").arg("~~/stor/x.txt"))? == "content",
        "the content"
    );
    run(home
        .own("mchattr")
        .args(["-H", "content-type: text/x-y", "~~/stor/x.txt"]))?;
    ensure!(
        info(&home, "~~/stor/x.txt")?["content-type"] == "text/x-y",
        "the type"
    );

    let keeping = [
        "--keep-metadata",
        "-H",
        "m-second: 3",
        "~~/stor/x.txt",
        "~~/stor/d",
    ];
    run(home.own("mchattr").args(keeping))?;
    for path in ["~~/stor/x.txt", "~~/stor/d"] {
        let now = info(&home, path)?;
        // Of the object the last change has removed the other one.
        let both = (path == "~~/stor/d").then_some("new");
        ensure!(
            now["m-second"] == "3" && now.get("m-both").and_then(Value::as_str) == both,
            "{now}"
        );
    }
    ensure!(
        info(&home, "~~/stor/x.txt")?["content-type"] == "text/x-y",
        "the type is kept"
    );

    fails_with(
        home.own("mchattr").args(["-H", "m-a: b", "~~/stor/none"]),
        &format!(
            "mchattr: ResourceNotFoundError: {} was not found",
            store.path("stor/none")
        ),
    )?;
    fails_with(
        home.own("mchattr")
            .args(["-H", "durability-level: 3", "~~/stor/x.txt"]),
        "mchattr: InvalidUpdateError: overwrite of \"durability-level\" forbidden",
    )?;
    fails_with(
        home.own("mchattr").args(["-H", "m-a: b", "stor/x"]),
        "mchattr: InvalidPathError: stor/x is not a valid Manta path",
    )?;
    is_wrong_usage(home.own("mchattr").arg("~~/stor/x.txt"), "header required")?;
    is_wrong_usage(home.own("mchattr").args(["-H", "m-a: b"]), "path required")?;
    is_wrong_usage(
        home.own("mchattr").args(["-H", "nothing", "~~/stor/x.txt"]),
        "header must be in the form of \"[header]: value\"",
    )?;
    store.finish()
}

#[test]
fn mmd5_prints_what_md5sum_prints() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    for (name, content) in [("a", "one\n"), ("b b", ""), ("c", "three")] {
        run_with(
            home.own("mput").arg(format!("~~/stor/{name}")),
            content.as_bytes(),
        )?;
        std::fs::write(home.path().join(name), content)?;
    }
    let sums = run(home.command("md5sum").args(["a", "b b", "c"]))?;
    let sums = sums.replace("  ", &format!("  {}", store.path("stor/")));
    for parallel in ["1", "2", "100"] {
        let ours =
            run(home
                .own("mmd5")
                .args(["-p", parallel, "~~/stor/a", "~~/stor/b b", "~~/stor/c"]))?;
        ensure!(ours == sums, "{ours}\nmust be\n{sums}");
    }
    // What fails is said, and the others go on.
    let mixed = said(
        home.own("mmd5")
            .args(["~~/stor", "~~/stor/none", "~~/stor/a"]),
    )?;
    let stor = store.path("stor");
    ensure!(
        mixed.stdout
            == sums
                .lines()
                .next()
                .map(|line| format!("{line}\n"))
                .unwrap_or_default(),
        "{mixed:?}"
    );
    ensure!(
        mixed.stderr
            == format!("mmd5: {stor}: {stor} is a directory\nmmd5: {stor}/none: NotFoundError\n"),
        "{mixed:?}"
    );
    ensure!(mixed.code == Some(1), "{mixed:?}");
    is_wrong_usage(&mut home.own("mmd5"), "path required")?;
    store.finish()
}

#[test]
fn mchmod_without_roles_only_clears() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let put = ["-H", "m-a: b", "~~/stor/x"];
    run_with(home.own("mput").args(put), b"content")?;
    run(home
        .own("mchmod")
        .args(["--keep-metadata", "=", "~~/stor/x"]))?;
    ensure!(
        info(&home, "~~/stor/x")?["m-a"] == "b",
        "kept because it was asked for"
    );
    let refused = said(home.own("mchmod").args(["+nosuch", "~~/stor/x"]))?;
    ensure!(
        refused.code == Some(1) && refused.stderr.starts_with("mchmod: InvalidRoleTagError: "),
        "{refused:?}"
    );
    ensure!(
        info(&home, "~~/stor/x")?["m-a"] == "b",
        "a refusal changes nothing"
    );
    run(home.own("mchmod").args(["=", "~~/stor/x"]))?;
    // As the ecosystem's tool does it, and its help says.
    ensure!(
        info(&home, "~~/stor/x")?.get("m-a").is_none(),
        "all metadata is replaced"
    );
    fails_with(
        home.own("mchmod").args(["+x", "~~/stor/none"]),
        "mchmod: NotFoundError",
    )?;
    let mut foreign = home.own("mchmod");
    foreign
        .args(["+x", "~~/stor/x"])
        .env("MANTA_NO_AUTH", "true");
    fails_with(
        &mut foreign,
        "mchmod: getobject access required for mchmod +",
    )?;
    let sign = "operation should be one of \"+\", \"-\" or \"=\"";
    is_wrong_usage(home.own("mchmod").args(["x", "~~/stor/x"]), sign)?;
    is_wrong_usage(home.own("mchmod").arg("+x"), "path required")?;
    store.finish()
}

/// The tags decide who may do what, so the change has to be seen by somebody whom it concerns.
#[test]
fn mchmod_and_role_tags_open_and_close_what_a_subuser_sees() -> Result<()> {
    let store = Store::launch()?;
    let home = store.user()?;
    let mut jo = store.add_user("jo")?;
    for role in ["readers", "writers"] {
        store.add_role(role, "CAN getobject AND getdirectory")?;
        store.give_role(role, &json!({ "user": "jo" }), true)?;
    }
    let path = store.path("stor/x");
    let put = ["-H", "m-a: b", "--role-tag", "readers", "~~/stor/x"];
    run_with(home.own("mput").args(put), b"content")?;
    let tags = || -> Result<String> {
        let info = info(&home, "~~/stor/x")?;
        Ok(info["role-tag"].as_str().unwrap_or_default().to_owned())
    };
    ensure!(
        tags()? == "readers" && jo.get(&path)?.status == 200,
        "{}",
        tags()?
    );
    for (change, expected) in [
        (
            &["--keep-metadata", "+writers,readers"][..],
            "readers, writers",
        ),
        (&["--keep-metadata", "--", "-readers"], "writers"),
        (&["--keep-metadata", "--", "-writers"], ""),
        (&["--keep-metadata", "=readers"], "readers"),
    ] {
        run(home.own("mchmod").args(change).arg("~~/stor/x"))?;
        ensure!(tags()? == expected, "{change:?}: {}", tags()?);
        let may = jo.get(&path)?.status == 200;
        ensure!(may != expected.is_empty(), "{change:?}: jo may read: {may}");
        ensure!(
            info(&home, "~~/stor/x")?["m-a"] == "b",
            "{change:?} keeps the rest"
        );
    }
    // The package of npm reads and writes the same tags.
    run(home.npm("mchmod")?.args(["+writers", "~~/stor/x"]))?;
    ensure!(tags()? == "readers, writers", "{}", tags()?);
    run(home
        .own("mchattr")
        .args(["--keep-metadata", "-H", "m-a: c", "~~/stor/x"]))?;
    ensure!(
        tags()? == "readers, writers",
        "metadata is changed beside them: {}",
        tags()?
    );
    run(home.own("mchattr").args(["-H", "m-a: c", "~~/stor/x"]))?;
    ensure!(
        tags()?.is_empty(),
        "and without them, as the server has it: {}",
        tags()?
    );
    run(home
        .own("mmkdir")
        .args(["--role-tag", "readers,writers", "~~/stor/d"]))?;
    ensure!(
        info(&home, "~~/stor/d")?["role-tag"] == "readers, writers",
        "mmkdir --role-tag"
    );
    store.finish()
}
