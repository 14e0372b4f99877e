//! Failpoints: tests make any step of the disk fail, or kill the process there.
//!
//! They are a value of the store, not a global, so tests run side by side. Without tests there is no plan
//! and a step costs one comparison.

use std::fmt;
use std::io;
use std::sync::Arc;

/// Where a plan may interfere: always just *before* the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    CreateTemporary,
    Write,
    SetAttribute,
    WriteSidecar,
    SyncSidecar,
    SyncFile,
    RenameSidecar,
    MakeDirectories,
    Rename,
    SyncDirectory,
    SyncParents,
    /// After the last step, before the answer.
    Done,
    MakeSegments,
    LinkSegment,
    LinkSidecar,
    WriteManifest,
    SyncManifest,
    SyncSegments,
    RenameSegments,
    EnterSegments,
    Read,
    DeleteSegments,
    DeleteFile,
}

#[cfg(test)]
impl Step {
    /// The steps of a copy, in order: with checksums as an attribute, and with a file for them, both into
    /// a directory that has to be made.
    pub(crate) const WITH_ATTRIBUTE: [Self; 9] = [
        Self::CreateTemporary,
        Self::Write,
        Self::SetAttribute,
        Self::SyncFile,
        Self::Rename,
        Self::MakeDirectories,
        Self::SyncDirectory,
        Self::SyncParents,
        Self::Done,
    ];
    pub(crate) const WITH_SIDECAR: [Self; 11] = [
        Self::CreateTemporary,
        Self::Write,
        Self::WriteSidecar,
        Self::SyncSidecar,
        Self::SyncFile,
        Self::RenameSidecar,
        Self::MakeDirectories,
        Self::Rename,
        Self::SyncDirectory,
        Self::SyncParents,
        Self::Done,
    ];
    /// The steps of a copy that is put together by links, into a directory that has to be made.
    pub(crate) const OF_SEGMENTS: [Self; 11] = [
        Self::MakeSegments,
        Self::LinkSegment,
        Self::LinkSidecar,
        Self::WriteManifest,
        Self::SyncManifest,
        Self::SyncSegments,
        Self::RenameSegments,
        Self::MakeDirectories,
        Self::SyncDirectory,
        Self::SyncParents,
        Self::Done,
    ];
    /// The steps of a deletion, whatever form the copy has.
    pub(crate) const OF_DELETION: [Self; 2] = [Self::DeleteSegments, Self::DeleteFile];
}

type Plan = dyn Fn(Step) -> io::Result<()> + Send + Sync;

#[derive(Clone, Default)]
pub(crate) struct Faults(Option<Arc<Plan>>);

impl Faults {
    #[cfg(test)]
    pub(crate) fn plan(plan: impl Fn(Step) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(plan)))
    }

    pub(crate) fn at(&self, step: Step) -> io::Result<()> {
        match &self.0 {
            Some(plan) => plan(step),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "planned" } else { "none" })
    }
}
