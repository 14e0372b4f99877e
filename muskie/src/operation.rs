//! The names of what the front door does, for the audit and the metrics. A closed set, so that metrics are
//! an array and their labels bounded.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Unrouted,
    Ping,
    Metrics,
    Redirect,
    CrossDomain,
    CreateToken,
    GetAccount,
    HeadAccount,
    ChangeAccount,
    Storage(Verb, Area),
    CreateJob,
    ListJobs,
    GetJob,
    WaitForJob,
    AddJobInputs,
    EndJobInput,
    CancelJob,
    GetJobInput,
    GetJobOutput,
    GetJobFailures,
    GetJobErrors,
    GetJobTasks,
    /// An end of an interactive session.
    Attach,
    Upload(UploadOperation),
}

/// What is done with uploads in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UploadOperation {
    Create,
    List,
    Change,
    Redirect,
    PutPart,
    HeadPart,
    State,
    Commit,
    Abort,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Head,
    Delete,
    PutObject,
    PutDirectory,
    PutMetadata,
    PutLink,
    /// A browser asks what it may do.
    Options,
    /// Ours: `PUT` with `type=rename`.
    Rename,
}

/// The top-level directory that a path lies below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    Stor,
    Public,
    Reports,
    Jobs,
}

const STORAGE: [[&str; 4]; 9] = [
    [
        "getstorage",
        "getpublicstorage",
        "getreports",
        "getjobstorage",
    ],
    [
        "headstorage",
        "headpublicstorage",
        "headreports",
        "headjobstorage",
    ],
    [
        "deletestorage",
        "deletepublicstorage",
        "deletereports",
        "deletejobstorage",
    ],
    [
        "putobject",
        "putpublicobject",
        "putreportsobject",
        "putjobobject",
    ],
    [
        "putdirectory",
        "putpublicdirectory",
        "putreportsdirectory",
        "putjobdirectory",
    ],
    [
        "putmetadata",
        "putpublicmetadata",
        "putreportsmetadata",
        "putjobmetadata",
    ],
    ["putlink", "putpubliclink", "putreportslink", "putjoblink"],
    [
        "optionsstorage",
        "optionspublicstorage",
        "optionsreportsstorage",
        "optionsjobstorage",
    ],
    [
        "renameobject",
        "renamepublicobject",
        "renamereportsobject",
        "renamejobobject",
    ],
];

const OTHERS: [&str; 22] = [
    "unrouted",
    "ping",
    "metrics",
    "redirect",
    "getaccount",
    "headaccount",
    "changeaccount",
    "createjob",
    "listjobs",
    "getjob",
    "addjobinputs",
    "endjobinput",
    "canceljob",
    "getjobinput",
    "getjoboutput",
    "getjobfailures",
    "getjoberrors",
    "crossdomain",
    "createtoken",
    "mlogin",
    "waitforjob",
    "getjobtasks",
];

const UPLOAD: [&str; 10] = [
    "createupload",
    "getuploads",
    "changeuploads",
    "redirectupload",
    "putpart",
    "headpart",
    "getupload",
    "commitupload",
    "abortupload",
    "deleteupload",
];

impl Operation {
    /// Indices are below this.
    pub(crate) const COUNT: usize = OTHERS.len() + STORAGE.len() * 4 + UPLOAD.len();

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Unrouted => 0,
            Self::Ping => 1,
            Self::Metrics => 2,
            Self::Redirect => 3,
            Self::GetAccount => 4,
            Self::HeadAccount => 5,
            Self::ChangeAccount => 6,
            Self::CreateJob => 7,
            Self::ListJobs => 8,
            Self::GetJob => 9,
            Self::AddJobInputs => 10,
            Self::EndJobInput => 11,
            Self::CancelJob => 12,
            Self::GetJobInput => 13,
            Self::GetJobOutput => 14,
            Self::GetJobFailures => 15,
            Self::GetJobErrors => 16,
            Self::CrossDomain => 17,
            Self::CreateToken => 18,
            Self::Attach => 19,
            Self::WaitForJob => 20,
            Self::GetJobTasks => 21,
            Self::Upload(operation) => OTHERS.len() + STORAGE.len() * 4 + operation as usize,
            Self::Storage(verb, area) => OTHERS.len() + verb as usize * 4 + area as usize,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        Self::name_of(self.index())
    }

    /// The name that belongs to an index.
    pub(crate) fn name_of(index: usize) -> &'static str {
        OTHERS
            .get(index)
            .or_else(|| STORAGE.as_flattened().get(index - OTHERS.len()))
            .or_else(|| UPLOAD.get(index - OTHERS.len() - STORAGE.len() * 4))
            .copied()
            .unwrap_or("unrouted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_its_own_name() {
        let mut names: Vec<_> = (0..Operation::COUNT).map(Operation::name_of).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Operation::COUNT);
        assert_eq!(
            Operation::Storage(Verb::Head, Area::Public).name(),
            "headpublicstorage"
        );
        assert_eq!(Operation::GetJobErrors.name(), "getjoberrors");
    }
}
