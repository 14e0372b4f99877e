//! What a client needs to know: the file `env` and the directory `bin` of a data directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::data_dir::publish;

/// What the ready line says.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ready {
    pub(crate) url: String,
    /// Without TLS, for what anybody may overhear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) insecure_url: Option<String>,
    pub(crate) account: String,
    pub(crate) key_id: String,
    pub(crate) key_file: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) pid: u32,
}

impl Ready {
    /// The variables that clients read.
    pub(crate) fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("MANTA_URL", self.url.clone()),
            ("MANTA_USER", self.account.clone()),
            ("MANTA_KEY_ID", self.key_id.clone()),
            ("MANTA_KEY_FILE", self.key_file.display().to_string()),
        ]
    }

    /// Writes the file that a shell can source.
    pub(crate) fn write_env(&self) -> Result<()> {
        let mut text = String::from("# For the shell: . this-file\n");
        for (name, value) in self.variables() {
            text.push_str(&format!("export {name}={}\n", shell_word(&value)));
        }
        let bin = shell_word(&self.data_dir.join("bin").display().to_string());
        text.push_str(&format!(
            "case \":$PATH:\" in *:{bin}:*) ;; *) export PATH={bin}:\"$PATH\" ;; esac\n"
        ));
        publish(&self.data_dir.join("env"), text.as_bytes(), 0o600)
    }
}

fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Makes `directory` hold this binary and a link to it for each command. Zones see the same directory, so the
/// links are relative and the binary is here itself: linked where the file system allows, copied otherwise.
pub(crate) fn write_bin(directory: &Path, commands: &[&str]) -> Result<()> {
    let own = std::env::current_exe().context("find this program's file")?;
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let temporary = directory.join(".manta.new");
    let _ = fs::remove_file(&temporary);
    if fs::hard_link(&own, &temporary).is_err() {
        fs::copy(&own, &temporary).with_context(|| format!("copy {}", own.display()))?;
    }
    fs::rename(&temporary, directory.join("manta")).context("publish the program")?;
    for command in commands {
        let link = directory.join(command);
        if fs::read_link(&link).is_ok_and(|target| target == Path::new("manta")) {
            continue;
        }
        let _ = fs::remove_file(&link);
        symlink("manta", &link).with_context(|| format!("link {}", link.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_survives_a_shell() {
        let dir = std::env::temp_dir().join(format!("manta env's {}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let ready = Ready {
            url: "http://127.0.0.1:1".into(),
            insecure_url: None,
            account: "jill".into(),
            key_id: "aa:bb".into(),
            key_file: dir.join("key"),
            data_dir: dir.clone(),
            pid: 1,
        };
        ready.write_env().unwrap();
        let script = format!(
            ". {env}; . {env}; printf '%s|%s|%s' \"$MANTA_KEY_FILE\" \"$MANTA_USER\" \"$PATH\"",
            env = shell_word(&dir.join("env").display().to_string())
        );
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", &script])
            .env("PATH", "/bin")
            .output()
            .unwrap();
        let expected = format!("{d}/key|jill|{d}/bin:/bin", d = dir.display());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        fs::remove_dir_all(&dir).unwrap();
    }
}
