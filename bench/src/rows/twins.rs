//! The same bytes as objects and as files of the host: what a job and a program on the bare host both read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::connection::Request;
use crate::store::Store;

const UPLOADS_AT_ONCE: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct Twins {
    /// Full paths.
    pub(crate) objects: Vec<String>,
    /// Directory of the objects.
    pub(crate) root: String,
    /// Holds the files in the directory `in`, each with the last name of its object.
    pub(crate) host: PathBuf,
}

impl Twins {
    /// Makes `count` of each, named by their numbers below `name`.
    pub(super) async fn make(
        store: &Store,
        name: &str,
        count: usize,
        content: fn(u64) -> Vec<u8>,
    ) -> Result<Self> {
        let root = store.path(&format!("stor/{name}"));
        store.make_directory(&root).await?;
        let host = store.scratch().join(name);
        let files = host.join("in");
        fs::create_dir_all(&files).context("make a directory for inputs")?;
        let objects: Vec<String> = (0..count)
            .map(|number| format!("{root}/{number}"))
            .collect();
        let mut uploads = JoinSet::new();
        for first in 0..UPLOADS_AT_ONCE {
            let mine: Vec<(usize, String)> = objects
                .iter()
                .cloned()
                .enumerate()
                .skip(first)
                .step_by(UPLOADS_AT_ONCE)
                .collect();
            let (signer, files) = (Arc::clone(store.signer()), files.clone());
            let mut connection = store.connect().await?;
            uploads.spawn(async move {
                for (number, path) in mine {
                    let bytes = content(number as u64);
                    fs::write(files.join(number.to_string()), &bytes).context("write an input")?;
                    let put = Request::new("PUT", &path).body(Some("text/plain"), &bytes);
                    connection.call(&signer, &put).await?.expect(204)?;
                }
                Ok(())
            });
        }
        while let Some(upload) = uploads.join_next().await {
            let done: Result<()> = upload.context("an upload panicked")?;
            done?;
        }
        Ok(Self {
            objects,
            root,
            host,
        })
    }

    /// Last names, which are those of the files, one on each line.
    pub(super) fn names(&self) -> String {
        let names = (0..self.objects.len()).map(|number| format!("{number}\n"));
        names.collect()
    }

    pub(super) fn files(&self) -> PathBuf {
        self.host.join("in")
    }
}

/// Makes an empty directory, in the place of one that may be there.
pub(super) fn renew(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("remove old outputs")
        }
        _ => fs::create_dir(directory).context("make a directory for outputs"),
    }
}

/// Lets nobody pay for what was written before.
pub(super) fn settle() {
    rustix::fs::sync();
}
