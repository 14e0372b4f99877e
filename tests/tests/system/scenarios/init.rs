//! What runs in a zone before its first task.

#![expect(non_snake_case, reason = "the names in the reference's suite")]

use anyhow::Result;
use serde_json::json;

use super::map;

#[test]
fn jobMinit() -> Result<()> {
    let inputs: Vec<String> = (1..=9).map(|n| format!("/%u/stor/obj{n}")).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    map("wc -l < /var/tmp/began")
        .with("init", json!("echo began >> /var/tmp/began"))
        .inputs(&inputs)
        .an_output_each()
        .contents(&["1\n"; 9])
        .run()
}

#[test]
fn jobMinitEnv() -> Result<()> {
    map("cat /var/tmp/environment")
        .with(
            "init",
            json!("env | grep '^MANTA_' | LC_ALL=C sort > /var/tmp/environment"),
        )
        .prints(
            "MANTA_JOB_ID=%j\n\
             MANTA_NO_AUTH=true\n\
             MANTA_OUTPUT_BASE=/%u/jobs/%j/stor/%u/stor/obj1.0.\n\
             MANTA_URL=http://localhost:80/\n\
             MANTA_USER=%u\n",
        )
}

#[test]
fn jobMinitFail() -> Result<()> {
    map("true")
        .with("init", json!("false"))
        .inputs(&["/%u/stor/obj1"])
        .errors(&[json!({
            "code": "TaskInitError",
            "message": "user command exited with code 1",
            "input": "/%u/stor/obj1",
        })])
        .run()
}

#[test]
fn jobMinitFailMulti() -> Result<()> {
    use super::Stage;

    let stage = Stage::open()?;
    let mut client = stage.store.client()?;
    let name = stage.name("/%u/stor/obj1");
    client.put(&name, "x")?.expect(204)?;
    let phases = json!([{"exec": "true", "init": "exit 2"}]);
    let inputs = vec![name; 150];
    let (_, done) = tests::Job::run(&mut client, &stage.store, &phases, &inputs, super::PATIENCE)?;
    let with = |message: &str| {
        let fits = |e: &&serde_json::Value| e["code"] == "TaskInitError" && e["message"] == message;
        done.errors.iter().filter(fits).count()
    };
    let original = with("user command exited with code 2");
    let cascaded = with(
        "task aborted because a previous task failed to initialize (see other errors for details)",
    );
    anyhow::ensure!(
        original >= 1 && cascaded >= 1 && original + cascaded == 150,
        "{original} and {cascaded}"
    );
    stage.store.finish()
}
