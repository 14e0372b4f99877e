//! The unmodified `manta` package of PyPI: every public method of its clients and all of its signers, with
//! the errors they raise.

use anyhow::{Result, ensure};
use serde_json::json;
use tests::home::{run, run_with};
use tests::{Launch, Request};

/// The kinds of keys, besides that of the account, that the package can sign with.
const KEYS: [(&str, &str); 3] = [
    ("id_ecdsa256", "256"),
    ("id_ecdsa384", "384"),
    ("id_ecdsa521", "521"),
];

#[test]
fn the_client_of_pypi() -> Result<()> {
    let store = Launch::new()
        .without_key()
        .setting("jobs.zones = 2")
        .start()?;
    let home = store.user()?;
    for (name, bits) in KEYS {
        let key = home.path().join(".ssh").join(name);
        run(home
            .command("ssh-keygen")
            .args(["-q", "-N", "", "-m", "PEM", "-t", "ecdsa", "-b", bits, "-f"])
            .arg(&key))?;
        let public = std::fs::read_to_string(key.with_extension("pub"))?;
        let keys = format!("/accounts/{}/keys", store.account());
        store.administer("POST", &keys, &json!({ "key": public }))?;
    }
    // What bob may read, and nothing else.
    store.add_user("bob")?;
    store.add_role("reader", "CAN getobject and getdirectory")?;
    store.give_role("reader", &json!({ "user": "bob" }), false)?;
    let mut client = store.client()?;
    for (below, kind, body) in [
        ("stor/shared", "application/json; type=directory", ""),
        ("stor/shared/object", "text/plain", "for bob"),
    ] {
        let request = Request::new("PUT", &store.path(below))
            .header("content-type", kind)
            .header("role-tag", "reader");
        client.call(&request.body(body))?.expect(204)?;
    }
    let bob = store.scratch().join(format!("{}-bob", store.account()));
    let mut python = home.python()?;
    python.env("BOB_KEY", bob).arg("-");
    let printed = run_with(&mut python, include_bytes!("pypi.py"))?;
    ensure!(printed.ends_with("all is well\n"), "{printed}");
    store.finish()
}
