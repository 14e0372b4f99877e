//! The keys of whoever starts the store: those in `~/.ssh`, or one made inside the data directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use httpsig::{KeyError, PrivateKey, PublicKey};

use crate::data_dir::{DataDir, publish};

/// The public keys to register, and the one that the environment file names.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) public: Vec<PublicKey>,
    /// MD5 fingerprint of the key to use.
    pub(crate) key_id: String,
    /// Its private key, readable without a passphrase.
    pub(crate) key_file: PathBuf,
}

/// Every usable public key of `ssh` (usually `~/.ssh`). The first one whose private key lies beside it and
/// needs no passphrase is the one to use; when there is none, a key is made in the data directory.
pub(crate) fn find(data_dir: &DataDir, ssh: Option<&Path>) -> Result<Keys> {
    let found = ssh.map(public_keys_in).unwrap_or_default();
    let usable = found.iter().find_map(|(file, public)| {
        let text = fs::read_to_string(file).ok()?;
        let private = PrivateKey::parse(&text).ok()?;
        (private.public().md5_fingerprint() == public.md5_fingerprint()).then(|| file.clone())
    });
    let mut public: Vec<PublicKey> = found.iter().map(|(_, key)| key.clone()).collect();
    if let Some(key_file) = usable {
        let key = found
            .iter()
            .find(|(file, _)| *file == key_file)
            .map(|(_, key)| key);
        let key_id = key
            .map(PublicKey::md5_fingerprint)
            .context("the key was just found")?;
        return Ok(Keys {
            public,
            key_id,
            key_file,
        });
    }
    let (own, key_file) = own_key(data_dir)?;
    let key_id = own.md5_fingerprint();
    public.push(own);
    Ok(Keys {
        public,
        key_id,
        key_file,
    })
}

/// Private key file → public key, by file name; anything that is not a supported public key is passed over.
fn public_keys_in(directory: &Path) -> Vec<(PathBuf, PublicKey)> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .collect();
    files.sort();
    let mut keys: Vec<(PathBuf, PublicKey)> = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        match PublicKey::parse_openssh(text.trim()) {
            Ok(key) => keys.push((file.with_extension(""), key)),
            Err(error) => log_passed_over(&file, &error),
        }
    }
    keys
}

fn log_passed_over(file: &Path, error: &KeyError) {
    tracing::info!(file = %file.display(), error = %error, "public key passed over");
}

/// The store's own key pair, made at the first call. PKCS#8, which the npm and the PyPI client both read.
fn own_key(data_dir: &DataDir) -> Result<(PublicKey, PathBuf)> {
    let path = data_dir.join("keys").join("id_rsa");
    let beside = path.with_extension("pub");
    if !path.exists() {
        fs::create_dir_all(data_dir.join("keys")).context("create the key directory")?;
        let made = httpsig::generate("manta").context("make a key")?;
        // The private key last: its presence says that both are there.
        publish(
            &beside,
            format!("{}\n", made.public_openssh.trim()).as_bytes(),
            0o644,
        )?;
        publish(&path, made.private_pem.as_bytes(), 0o600)?;
    }
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let private =
        PrivateKey::parse(&text).with_context(|| format!("understand {}", path.display()))?;
    Ok((private.public().clone(), path))
}
