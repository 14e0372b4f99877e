//! The table of routes: which paths there are, which methods each has, what answers them.
//! Source: rest-api.md sections 1.1, 6.1.
//!
//! The first line that fits decides, so what is particular stands above what is general. The OpenAPI
//! document of the API has the same paths and methods; a test compares them.

use std::sync::LazyLock;

use crate::config::{Config, Surface};
use crate::operation::Area;
use crate::router::Live;

/// A path and what may be done with it.
#[derive(Debug)]
pub(crate) struct Line {
    /// `{login}` stands for a login, `{path}` at the end for one segment or more, another name in braces
    /// for one segment. Everything else stands for itself.
    pub(crate) pattern: &'static str,
    pub(crate) methods: &'static [(&'static str, Goes)],
    pub(crate) offered: Offered,
    /// What to do with other methods.
    others: Others,
}

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goes {
    Redirect,
    Ping,
    Metrics,
    CrossDomain,
    Account,
    Storage(Area),
    /// The directory of jobs, or with certain parameters a list of those that live.
    JobsDirectory,
    CreateJob,
    CreateToken,
    Live(Live),
    /// An end of an interactive session.
    Attach,
    /// `multipart/routes.rs` looks at the path once more.
    Uploads,
}

/// Which stores have a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    Always,
    /// Those with the surface of the first version.
    Jobs,
    /// Those with uploads in parts.
    Uploads,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// 405.
    Refused,
    /// Further lines may have them: `POST /ping` is about an account called ping.
    Below,
}

impl Offered {
    pub(crate) fn by(self, config: &Config) -> bool {
        match self {
            Self::Always => true,
            Self::Jobs => config.surface == Surface::Manta,
            Self::Uploads => config.multipart.enabled,
        }
    }
}

const fn storage(area: Area) -> [(&'static str, Goes); 5] {
    [
        ("DELETE", Goes::Storage(area)),
        ("GET", Goes::Storage(area)),
        ("HEAD", Goes::Storage(area)),
        ("OPTIONS", Goes::Storage(area)),
        ("PUT", Goes::Storage(area)),
    ]
}

const fn line(pattern: &'static str, methods: &'static [(&'static str, Goes)]) -> Line {
    Line {
        pattern,
        methods,
        offered: Offered::Always,
        others: Others::Refused,
    }
}

/// Its other methods are those of an account of that name.
const fn beside_account(pattern: &'static str, methods: &'static [(&'static str, Goes)]) -> Line {
    Line {
        others: Others::Below,
        ..line(pattern, methods)
    }
}

const fn of_jobs(pattern: &'static str, methods: &'static [(&'static str, Goes)]) -> Line {
    Line {
        offered: Offered::Jobs,
        ..line(pattern, methods)
    }
}

const fn of_uploads(pattern: &'static str, methods: &'static [(&'static str, Goes)]) -> Line {
    Line {
        offered: Offered::Uploads,
        ..line(pattern, methods)
    }
}

static LINES: &[Line] = &[
    line("/", &[("GET", Goes::Redirect)]),
    line("/docs", &[("GET", Goes::Redirect)]),
    line("/docs/{path}", &[("GET", Goes::Redirect)]),
    beside_account("/ping", &[("GET", Goes::Ping)]),
    beside_account("/metrics", &[("GET", Goes::Metrics)]),
    beside_account("/crossdomain.xml", &[("GET", Goes::CrossDomain)]),
    line(
        "/{login}",
        &[
            ("DELETE", Goes::Account),
            ("GET", Goes::Account),
            ("HEAD", Goes::Account),
            ("POST", Goes::Account),
            ("PUT", Goes::Account),
        ],
    ),
    line("/{login}/tokens", &[("POST", Goes::CreateToken)]),
    line("/{login}/stor", &storage(Area::Stor)),
    line("/{login}/stor/{path}", &storage(Area::Stor)),
    line("/{login}/public", &storage(Area::Public)),
    line("/{login}/public/{path}", &storage(Area::Public)),
    line("/{login}/reports", &storage(Area::Reports)),
    line("/{login}/reports/{path}", &storage(Area::Reports)),
    of_jobs(
        "/{login}/jobs",
        &[
            ("DELETE", Goes::Storage(Area::Jobs)),
            ("GET", Goes::JobsDirectory),
            ("HEAD", Goes::Storage(Area::Jobs)),
            ("OPTIONS", Goes::Storage(Area::Jobs)),
            ("POST", Goes::CreateJob),
            ("PUT", Goes::Storage(Area::Jobs)),
        ],
    ),
    of_jobs(
        "/{login}/jobs/{id}/live/status",
        &[("GET", Goes::Live(Live::Status))],
    ),
    of_jobs(
        "/{login}/jobs/{id}/live/in",
        &[
            ("GET", Goes::Live(Live::Inputs)),
            ("POST", Goes::Live(Live::AddInputs)),
        ],
    ),
    of_jobs(
        "/{login}/jobs/{id}/live/in/end",
        &[("POST", Goes::Live(Live::EndInput))],
    ),
    of_jobs(
        "/{login}/jobs/{id}/live/cancel",
        &[("POST", Goes::Live(Live::Cancel))],
    ),
    of_jobs(
        "/{login}/jobs/{id}/live/out",
        &[("GET", Goes::Live(Live::Outputs))],
    ),
    of_jobs(
        "/{login}/jobs/{id}/live/fail",
        &[("GET", Goes::Live(Live::Failures))],
    ),
    of_jobs(
        "/{login}/jobs/{id}/live/err",
        &[("GET", Goes::Live(Live::Errors))],
    ),
    of_jobs(
        "/{login}/jobs/{id}/live/tasks",
        &[("GET", Goes::Live(Live::Tasks))],
    ),
    of_jobs(
        "/{login}/medusa/attach/{id}/{type}",
        &[("GET", Goes::Attach)],
    ),
    of_jobs("/{login}/jobs/{path}", &storage(Area::Jobs)),
    of_uploads(
        "/{login}/uploads",
        &[
            ("DELETE", Goes::Uploads),
            ("GET", Goes::Uploads),
            ("HEAD", Goes::Uploads),
            ("OPTIONS", Goes::Uploads),
            ("POST", Goes::Uploads),
            ("PUT", Goes::Uploads),
        ],
    ),
    of_uploads(
        "/{login}/uploads/{id}",
        &[
            ("GET", Goes::Uploads),
            ("HEAD", Goes::Uploads),
            ("POST", Goes::Uploads),
            ("PUT", Goes::Uploads),
        ],
    ),
    of_uploads(
        "/{login}/uploads/{prefix}/{id}",
        &[
            ("DELETE", Goes::Uploads),
            ("GET", Goes::Uploads),
            ("HEAD", Goes::Uploads),
            ("POST", Goes::Uploads),
            ("PUT", Goes::Uploads),
        ],
    ),
    of_uploads(
        "/{login}/uploads/{prefix}/{id}/state",
        &[("GET", Goes::Uploads)],
    ),
    of_uploads(
        "/{login}/uploads/{prefix}/{id}/commit",
        &[("POST", Goes::Uploads), ("PUT", Goes::Uploads)],
    ),
    of_uploads(
        "/{login}/uploads/{prefix}/{id}/abort",
        &[("POST", Goes::Uploads), ("PUT", Goes::Uploads)],
    ),
    of_uploads(
        "/{login}/uploads/{prefix}/{id}/{part}",
        &[
            ("DELETE", Goes::Uploads),
            ("GET", Goes::Uploads),
            ("HEAD", Goes::Uploads),
            ("PUT", Goes::Uploads),
        ],
    ),
];

/// A line taken apart, once.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) line: &'static Line,
    segments: Vec<Segment>,
    /// For `Allow`: the methods in alphabetical order.
    pub(crate) allow: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segment {
    Itself(&'static str),
    Login,
    One,
    Rest,
}

/// All lines, in the order in which they are tried.
pub(crate) static TABLE: LazyLock<Vec<Compiled>> = LazyLock::new(|| {
    let compile = |line: &'static Line| {
        let mut methods: Vec<_> = line.methods.iter().map(|(method, _)| *method).collect();
        methods.sort_unstable();
        let segments = line.pattern.split('/').filter(|part| !part.is_empty());
        Compiled {
            line,
            segments: segments
                .map(|part| match part {
                    "{login}" => Segment::Login,
                    "{path}" => Segment::Rest,
                    _ if part.starts_with('{') => Segment::One,
                    _ => Segment::Itself(part),
                })
                .collect(),
            allow: methods.join(", "),
        }
    };
    LINES.iter().map(compile).collect()
});

impl Compiled {
    pub(crate) fn fits(&self, path: &[&str]) -> bool {
        let open = self.segments.last() == Some(&Segment::Rest);
        let enough = match open {
            true => path.len() >= self.segments.len(),
            false => path.len() == self.segments.len(),
        };
        enough
            && self
                .segments
                .iter()
                .zip(path)
                .all(|(segment, part)| match segment {
                    Segment::Itself(name) => name == part,
                    Segment::Login => is_login(part),
                    Segment::One | Segment::Rest => true,
                })
    }

    pub(crate) fn has(&self, method: &str) -> Option<Goes> {
        let mut methods = self.line.methods.iter();
        methods
            .find(|(name, _)| *name == method)
            .map(|(_, goes)| *goes)
    }

    pub(crate) fn refuses_others(&self) -> bool {
        self.line.others == Others::Refused
    }
}

/// `[a-zA-Z][a-zA-Z0-9_\-.@%]+`
fn is_login(segment: &str) -> bool {
    let mut bytes = segment.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && segment.len() > 1
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_-.@%".contains(&b))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_line_hides_behind_another() {
        for (at, compiled) in TABLE.iter().enumerate() {
            let sample: Vec<&str> = compiled
                .segments
                .iter()
                .map(|segment| match segment {
                    Segment::Itself(name) => name,
                    Segment::Login => "alice",
                    Segment::One | Segment::Rest => "x",
                })
                .collect();
            for (method, _) in compiled.line.methods {
                let first = TABLE
                    .iter()
                    .position(|other| other.fits(&sample) && other.has(method).is_some());
                assert_eq!(first, Some(at), "{method} {}", compiled.line.pattern);
            }
        }
    }

    #[test]
    fn a_pattern_stands_in_the_table_once_and_names_the_rest_last() {
        let patterns: BTreeSet<_> = LINES.iter().map(|line| line.pattern).collect();
        assert_eq!(patterns.len(), LINES.len());
        for compiled in TABLE.iter() {
            let rest = compiled.segments.iter().position(|s| *s == Segment::Rest);
            assert!(rest.is_none_or(|at| at + 1 == compiled.segments.len()));
        }
    }
}
