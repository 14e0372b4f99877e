//! `manifest.json` of an image: who it is and where it came from.

use std::io;
use std::path::Path;

use libmanta::Version;
use serde::{Deserialize, Serialize};

use super::error::{During as _, LibraryError};
use super::{ImageId, MANIFEST};

/// Changes when an older program would misunderstand what a newer one wrote.
const FORMAT: u32 = 1;

/// Names and values together. A task's environment has to go through one message and one `execve`.
const ENVIRONMENT_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    pub name: String,
    /// Three numbers; what the ranges of jobs are about.
    pub version: String,
    /// Of what was imported: the bytes of the archive, the manifest of an OCI image, the files of a directory.
    pub digest: String,
    /// As the operator wrote it; `-` is standard input.
    pub source: String,
    /// What commands find in their environment besides what every zone has.
    pub environment: Vec<(String, String)>,
    /// Of the unpacked files.
    pub bytes: u64,
    pub entries: u64,
}

impl Manifest {
    pub(super) fn new(id: &ImageId, digest: String, source: String) -> Self {
        Self {
            format: FORMAT,
            name: id.name().to_owned(),
            version: id.version().to_string(),
            digest,
            source,
            environment: Vec::new(),
            bytes: 0,
            entries: 0,
        }
    }

    pub(super) fn read(path: &Path) -> Result<Self, LibraryError> {
        let damaged = |what: String| LibraryError::Manifest {
            path: path.to_owned(),
            what,
        };
        let text = std::fs::read(path).map_err(|error| damaged(error.to_string()))?;
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if manifest.format > FORMAT {
            return Err(damaged(format!("format {} is newer", manifest.format)));
        }
        if Version::parse(&manifest.version).is_none() {
            return Err(damaged("its version is none".to_owned()));
        }
        Ok(manifest)
    }

    pub(super) fn write(&self, directory: &Path) -> Result<(), LibraryError> {
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        let text = text.during("write the manifest")?;
        std::fs::write(directory.join(MANIFEST), text).during("write the manifest")
    }
}

/// Errors: what no command could be given.
pub(super) fn check_environment(variables: &[(String, String)]) -> Result<(), LibraryError> {
    let refuse = |why: String| Err(LibraryError::Environment(why));
    let mut bytes = 0;
    for (name, value) in variables {
        let first = name.chars().next();
        let is_name = first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            return refuse(format!("{name:?} is no name of a variable"));
        }
        if value.contains('\0') {
            return refuse(format!("{name} has a value with a zero byte"));
        }
        bytes += name.len() + value.len();
    }
    if bytes > ENVIRONMENT_BYTES_MAX {
        return refuse(format!("it has more than {ENVIRONMENT_BYTES_MAX} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: what version 1 wrote must always be read.
    #[test]
    fn the_first_format_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let id = ImageId::new("debian", Version::parse("12.5.0").unwrap()).unwrap();
        let mut manifest = Manifest::new(&id, "sha256:00".to_owned(), "debian.tar".to_owned());
        manifest.environment = vec![("A".to_owned(), "b".to_owned())];
        manifest.bytes = 7;
        manifest.entries = 2;
        manifest.write(directory.path()).unwrap();
        let path = directory.path().join(MANIFEST);
        let golden = r#"{"format": 1, "name": "debian", "version": "12.5.0", "digest": "sha256:00",
            "source": "debian.tar", "environment": [["A", "b"]], "bytes": 7, "entries": 2}"#;
        assert_eq!(Manifest::read(&path).unwrap(), manifest);
        std::fs::write(&path, golden).unwrap();
        assert_eq!(Manifest::read(&path).unwrap(), manifest);
        for damage in [
            "",
            "{}",
            &golden.replace("1,", "2,"),
            &golden.replace("12.5", "12"),
        ] {
            std::fs::write(&path, damage).unwrap();
            let error = Manifest::read(&path).unwrap_err();
            assert!(
                matches!(error, LibraryError::Manifest { .. }),
                "{damage}: {error}"
            );
        }
    }

    #[test]
    fn an_environment_is_checked() {
        let of = |name: &str, value: &str| {
            check_environment(&[(name.to_owned(), value.to_owned())]).is_ok()
        };
        assert!(of("PATH", "/go/bin:/bin") && of("_x1", ""));
        assert!(!of("", "x") && !of("1x", "x") && !of("a b", "x") && !of("A", "\0"));
        assert!(!of("A", &"x".repeat(ENVIRONMENT_BYTES_MAX)));
    }
}
