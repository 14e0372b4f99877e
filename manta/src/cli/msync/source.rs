//! The files of the source, and those that only the destination has.

use std::collections::HashSet;
use std::ops::ControlFlow;

use manta_client::{EntryKind, Error, Found, WalkOptions};

use super::super::failure::Failure;
use super::super::local_tree::{self, Links, Local, LocalFile};
use super::log::Log;
use super::{Direction, Sync};

/// A file of the source.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Below the source's directory.
    pub(super) relative: String,
    /// Bytes.
    pub(super) size: u64,
    /// Base64, if the source is the store.
    pub(super) md5: Option<String>,
}

#[derive(Debug)]
pub(super) struct Sources {
    pub(super) files: Vec<Source>,
    /// Whether everything could be read. If not, what is missing here may exist all the same.
    pub(super) complete: bool,
}

impl Sync {
    /// Lists the source. Errors: its directory itself cannot be read.
    pub(super) async fn sources(&self, log: &mut Log) -> Result<Sources, Failure> {
        let mut sources = Sources {
            files: Vec::new(),
            complete: true,
        };
        let outcome = match self.direction {
            Direction::Up => self.local_sources(&mut sources, log).await?,
            Direction::Down => self.remote_sources(&mut sources, log).await?,
        };
        if let Err(error) = outcome {
            let root = match self.direction {
                Direction::Up => self.local.display().to_string(),
                Direction::Down => self.remote.clone(),
            };
            let text = format!("failed to walk files in {root} - {error}");
            return Err(Failure::Bare(text));
        }
        Ok(sources)
    }

    async fn local_sources(
        &self,
        sources: &mut Sources,
        log: &mut Log,
    ) -> Result<Result<(), String>, Failure> {
        let (found, problems) = match self.local_files(self.links).await {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        for problem in problems {
            sources.complete = false;
            log.error(&problem)?;
        }
        for file in found {
            self.add(file.relative, file.size, None, sources, log)?;
        }
        Ok(Ok(()))
    }

    async fn remote_sources(
        &self,
        sources: &mut Sources,
        log: &mut Log,
    ) -> Result<Result<(), String>, Failure> {
        if let Err(error) = self.check_remote_root().await {
            return Ok(Err(error));
        }
        let mut walk = self.walk_remote();
        loop {
            match walk.next().await {
                Ok(Some(found)) if found.entry.kind == EntryKind::Object => {
                    let relative = self.relative(&found);
                    if !is_local_name(&relative) {
                        sources.complete = false;
                        let path = found.path();
                        log.error(&format!("{path}... error: no file can have this name"))?;
                        continue;
                    }
                    let Found { entry, .. } = found;
                    self.add(relative, entry.size, entry.content_md5, sources, log)?;
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Ok(())),
                Err(unread) => {
                    sources.complete = false;
                    let (path, error) = (unread.path, unread.error.line());
                    log.error(&format!("{path}... error: {error}"))?;
                }
            }
        }
    }

    fn add(
        &self,
        relative: String,
        size: u64,
        md5: Option<String>,
        sources: &mut Sources,
        log: &mut Log,
    ) -> Result<(), Failure> {
        if let Some(glob) = self.is_excluded(&relative) {
            let by = glob.as_given();
            let text = format!("skipping {relative} because it was excluded by \"{by}\"");
            return log.say(2, &text);
        }
        sources.files.push(Source {
            relative,
            size,
            md5,
        });
        Ok(())
    }

    /// What only the destination has. Errors: it cannot be listed to the end, in words.
    pub(super) async fn extra(&self, wanted: &HashSet<&str>) -> Result<Vec<String>, String> {
        let is_extra =
            |relative: &str| !wanted.contains(relative) && self.is_excluded(relative).is_none();
        let mut extra = Vec::new();
        match self.direction {
            Direction::Up => {
                self.check_remote_root().await?;
                let mut walk = self.walk_remote();
                loop {
                    let found = walk
                        .next()
                        .await
                        .map_err(|unread| format!("{}: {}", unread.path, unread.error.line()))?;
                    let Some(found) = found else { break };
                    let relative = self.relative(&found);
                    if found.entry.kind == EntryKind::Object && is_extra(&relative) {
                        extra.push(relative);
                    }
                }
            }
            Direction::Down => {
                // Links stay: they are nobody's copy, and what they lead to may lie elsewhere.
                let (files, problems) = self.local_files(Links::Ignore).await?;
                if let Some(problem) = problems.into_iter().next() {
                    return Err(problem);
                }
                let files = files.into_iter().map(|file| file.relative);
                extra.extend(files.filter(|relative| is_extra(relative)));
            }
        }
        Ok(extra)
    }

    /// Every file below the local directory, and what could not be read.
    async fn local_files(&self, links: Links) -> Result<(Vec<LocalFile>, Vec<String>), String> {
        let root = self.local.clone();
        let walk = tokio::task::spawn_blocking(move || {
            let (mut files, mut problems) = (Vec::new(), Vec::new());
            local_tree::walk(&root, links, |local| {
                match local {
                    Local::File(file) => files.push(file),
                    Local::Directory { .. } => {}
                    Local::Problem(text) => problems.push(text),
                }
                ControlFlow::Continue(())
            })
            .map(|()| (files, problems))
        });
        match walk.await {
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn check_remote_root(&self) -> Result<(), String> {
        let info = self.client.head(&self.remote).await;
        let info = info.map_err(|error: Error| error.line())?;
        if info.is_directory() {
            Ok(())
        } else {
            Err("it is not a directory".to_owned())
        }
    }

    fn walk_remote(&self) -> manta_client::Walk {
        let options = WalkOptions {
            parallel: self.parallel,
            depth_max: usize::MAX,
            // What may not be listed has to be an error: it would be taken for gone.
            by_server: None,
        };
        self.client.walk(vec![self.remote.clone()], options)
    }

    fn relative(&self, found: &Found) -> String {
        let path = found.path();
        let below = path.strip_prefix(&self.remote).unwrap_or(&path);
        below.trim_start_matches('/').to_owned()
    }
}

/// The store knows names that mean something else to a file system, and would lead out of the directory.
fn is_local_name(relative: &str) -> bool {
    relative
        .split('/')
        .all(|name| !matches!(name, "" | "." | "..") && !name.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_no_names_of_files() {
        for name in ["a", "a/b", "..a", "a/...", ". ./x"] {
            assert!(is_local_name(name), "{name}");
        }
        for name in ["..", "a/../b", "./a", "a//b", "", "a\0b"] {
            assert!(!is_local_name(name), "{name}");
        }
    }
}
