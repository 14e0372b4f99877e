//! `manta demo`: a scratch store, real text in, a map/reduce job over it, the result, URLs to look at.
//! Every step is a command the reader could type; they are run as such.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::config::{Config, IsolationSetting, Overrides};
use crate::store::{Store, UserKeys};
use crate::telemetry;

const BOOKS: [(&str, &[u8]); 3] = [
    (
        "alice-in-wonderland.txt",
        include_bytes!("../../examples/books/alice-in-wonderland.txt"),
    ),
    (
        "as-you-like-it.txt",
        include_bytes!("../../examples/books/as-you-like-it.txt"),
    ),
    (
        "paradise-lost.txt",
        include_bytes!("../../examples/books/paradise-lost.txt"),
    ),
];

const MAP: &str = r#"tr -cs A-Za-z '\n' | tr A-Z a-z | sort | uniq -c"#;
const REDUCE: &str =
    r#"awk '{ n[$2] += $1 } END { for (w in n) print n[w], w }' | sort -rn | head -n 15"#;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  manta demo
  manta demo --isolation off")]
pub(crate) struct Arguments {
    /// How jobs are held in: "process" does not hold them in at all, "off" runs none [default: auto]
    #[arg(long, value_name = "auto|process|off", value_enum)]
    isolation: Option<IsolationSetting>,
}

/// Runs the tour. Nothing of it is left afterwards.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    telemetry::start("error");
    let scratch = Scratch::new()?;
    let config = Config::load(
        None,
        Overrides {
            data_dir: Some(scratch.0.join("store")),
            listen: Some(([127, 0, 0, 1], 0).into()),
            account: Some("demo".to_owned()),
            isolation: arguments.isolation,
            ..Overrides::default()
        },
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let store = runtime.block_on(Store::start(config, UserKeys::Own))?;
    let outcome = tour(&store, &scratch.0);
    runtime.block_on(store.shutdown());
    outcome
}

fn tour(store: &Store, scratch: &Path) -> Result<()> {
    let ready = store.ready();
    say(&format!("A scratch store is ready at {}\n", ready.url));
    for (name, text) in BOOKS {
        std::fs::write(scratch.join(name), text)?;
        shell(store, scratch, &format!("mput -f {name} ~~/stor/{name}"))?;
    }
    shell(store, scratch, "mls -l ~~/stor")?;
    if let Err(reason) = store.jobs_available() {
        say(&format!("\nJobs cannot run on this machine: {reason}\n"));
    } else {
        say("\nThe most frequent words of all three, counted where the books are stored:\n");
        shell(
            store,
            scratch,
            &format!(
                "mfind -t o ~~/stor | mjob create -o -m {} -r {}",
                quoted(MAP),
                quoted(REDUCE)
            ),
        )?;
    }
    say("\nWhat lies below public can be read by anyone:\n");
    shell(
        store,
        scratch,
        "mput -f as-you-like-it.txt ~~/public/as-you-like-it.txt",
    )?;
    say(&format!(
        "\n  {url}/demo/public                      a listing\
         \n  {url}/demo/public/as-you-like-it.txt   the play\
         \n  {url}/metrics                          what the store did\n",
        url = ready.url
    ));
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        say("\nThe store stays until you press Enter. ");
        std::io::stdin().read_line(&mut String::new())?;
    }
    Ok(())
}

/// Shows a command line and runs it with the store's commands and environment.
fn shell(store: &Store, scratch: &Path, line: &str) -> Result<()> {
    say(&format!("$ {line}\n"));
    let status = Command::new("/bin/sh")
        .arg("-c")
        .arg(line)
        .current_dir(scratch)
        .envs(store.client_environment())
        .stdin(Stdio::null())
        .status()
        .context("run /bin/sh")?;
    ensure!(status.success(), "\"{line}\" failed: {status}");
    Ok(())
}

fn quoted(text: &str) -> String {
    if text.contains('\'') {
        let escaped = text
            .replace('\\', r"\\")
            .replace('"', "\\\"")
            .replace('$', r"\$")
            .replace('`', r"\`");
        format!("\"{escaped}\"")
    } else {
        format!("'{text}'")
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // A closed stdout ends the tour at its next command, not here.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A directory that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("manta-demo-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            say(&format!("could not remove {}: {error}\n", self.0.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_reaches_the_command_unchanged() {
        for text in [MAP, REDUCE, "plain", r#"it's "$HOME" \n"#] {
            let output = Command::new("/bin/sh")
                .arg("-c")
                .arg(format!("printf %s {}", quoted(text)))
                .output();
            assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), text);
        }
    }
}
