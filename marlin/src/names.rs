//! Names: how inputs are normalised, what outputs are called, where an input appears in a zone.
//! Source: marlin.md sections 3.1, 4 and 6.8.

use std::fmt::Write as _;

use libmanta::{JobId, Login, TaskId};

/// Longest component of a path in a zone, in bytes.
const COMPONENT_BYTES_MAX: usize = 255;
/// Longest path of an input below `/manta`, in bytes.
const INPUT_PATH_BYTES_MAX: usize = 1024;
/// As many as the kernel keeps of a name.
const PROGRAM_CHARS_MAX: usize = 16;
const ELLIPSIS: &str = "_...";

/// Resolves duplicate slashes, `.` and `..`; a trailing slash stays.
pub(crate) fn normalize(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut out = String::with_capacity(name.len());
    if name.starts_with('/') {
        out.push('/');
    }
    out.push_str(&parts.join("/"));
    if name.ends_with('/') && !parts.is_empty() {
        out.push('/');
    }
    out
}

/// Everything a job stores lies below this.
pub(crate) fn output_area(login: &Login, job: JobId) -> String {
    format!("/{login}/jobs/{job}/stor")
}

/// Whether `name` lies in the output area of `job`, whatever login stands before it.
pub(crate) fn is_in_output_area(name: &str, job: JobId) -> bool {
    let mut parts = name.splitn(6, '/');
    parts.next() == Some("")
        && parts.next().is_some_and(|login| !login.is_empty())
        && parts.next() == Some("jobs")
        && parts.next() == Some(job.to_string().as_str())
        && parts.next() == Some("stor")
        && parts.next().is_some()
}

/// What one task calls its outputs.
#[derive(Clone, Debug)]
pub(crate) struct TaskNames {
    /// `OUTBASE/BASE.P`
    stem: String,
    task: TaskId,
}

impl TaskNames {
    /// `input` is `None` for a reducer; `origin` is the phase-0 ancestor when there is one.
    pub(crate) fn new(
        area: &str,
        phase: usize,
        task: TaskId,
        input: Option<&str>,
        origin: Option<&str>,
    ) -> Self {
        let mut stem = String::from(area);
        match (input, origin) {
            (None, _) => stem.push_str("/reduce"),
            (Some(_), Some(origin)) => stem.push_str(origin),
            (Some(input), None) => stem.push_str(input.strip_prefix(area).unwrap_or(input)),
        }
        let _ = write!(stem, ".{phase}");
        Self { stem, task }
    }

    pub(crate) fn stdout(&self) -> String {
        format!("{}.{}", self.stem, self.task)
    }

    pub(crate) fn stderr(&self) -> String {
        format!("{}.err.{}", self.stem, self.task)
    }

    /// `$MANTA_OUTPUT_BASE`.
    pub(crate) fn output_base(&self) -> String {
        format!("{}.", self.stem)
    }
}

/// What a core file of a task is called. `program` is what the process called itself, which may be anything.
pub(crate) fn core(area: &str, phase: usize, program: &str, task: TaskId) -> String {
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() || "._-+".contains(c) => c,
        _ => '_',
    };
    let program: String = program.chars().take(PROGRAM_CHARS_MAX).map(plain).collect();
    let program = if program.is_empty() {
        "unknown"
    } else {
        &program
    };
    format!("{area}/cores/{phase}/core.{program}.{task}")
}

/// Where an input named `name` appears in the zone, and whether the name had to be shortened.
pub(crate) fn input_path(name: &str) -> (String, bool) {
    let mut shortened = false;
    let parts: Vec<String> = name
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| {
            if part.len() <= COMPONENT_BYTES_MAX {
                return part.to_owned();
            }
            shortened = true;
            let mut end = COMPONENT_BYTES_MAX - ELLIPSIS.len();
            while !part.is_char_boundary(end) {
                end -= 1;
            }
            format!("{}{ELLIPSIS}", part.get(..end).unwrap_or_default())
        })
        .collect();
    let length = |parts: &[&str]| parts.iter().map(|part| part.len() + 1).sum::<usize>();
    let all: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut chosen = all.clone();
    if length(&chosen) > INPUT_PATH_BYTES_MAX {
        shortened = true;
        if let [a, b, c, .., y, z] = all.as_slice()
            && all.len() > 5
        {
            chosen = vec![a, b, c, ELLIPSIS, y, z];
        }
        if length(&chosen) > INPUT_PATH_BYTES_MAX
            && let [a, b, .., z] = all.as_slice()
        {
            chosen = vec![a, b, ELLIPSIS, z];
        }
    }
    (format!("/manta/{}", chosen.join("/")), shortened)
}

/// `SIGKILL` for 9.
pub(crate) fn signal(number: i32) -> String {
    let name = match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        5 => "TRAP",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        16 => "STKFLT",
        17 => "CHLD",
        18 => "CONT",
        19 => "STOP",
        20 => "TSTP",
        21 => "TTIN",
        22 => "TTOU",
        23 => "URG",
        24 => "XCPU",
        25 => "XFSZ",
        26 => "VTALRM",
        27 => "PROF",
        28 => "WINCH",
        29 => "IO",
        30 => "PWR",
        31 => "SYS",
        other => return format!("SIG{other}"),
    };
    format!("SIG{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "8bfb8a1e-2d7c-4ea9-a1a4-8a0b4a2f1d5e";

    #[test]
    fn normalising_keeps_a_trailing_slash_and_nothing_else_superfluous() {
        for (from, to) in [
            ("/u/stor///obj1", "/u/stor/obj1"),
            ("/u/stor/./a/../b", "/u/stor/b"),
            ("/u/stor/a/", "/u/stor/a/"),
            ("/", "/"),
            ("//", "/"),
            ("/../../u", "/u"),
            ("u/stor", "u/stor"),
            ("", ""),
        ] {
            assert_eq!(normalize(from), to, "{from}");
        }
    }

    #[test]
    fn outputs_are_called_as_documented() {
        let job: JobId = JOB.parse().unwrap();
        let task = TaskId::random();
        let area = output_area(&Login::parse("uu").unwrap(), job);
        assert_eq!(area, format!("/uu/jobs/{JOB}/stor"));
        let input = "/uu/stor/a/b.txt";
        let map = TaskNames::new(&area, 0, task, Some(input), Some(input));
        assert_eq!(map.stdout(), format!("{area}/uu/stor/a/b.txt.0.{task}"));
        assert_eq!(map.stderr(), format!("{area}/uu/stor/a/b.txt.0.err.{task}"));
        assert_eq!(map.output_base(), format!("{area}/uu/stor/a/b.txt.0."));
        let second = TaskNames::new(&area, 1, task, Some(&map.stdout()), Some(input));
        assert_eq!(second.stdout(), format!("{area}/uu/stor/a/b.txt.1.{task}"));
        let reduce = TaskNames::new(&area, 2, task, None, None);
        assert_eq!(reduce.stdout(), format!("{area}/reduce.2.{task}"));
        let after = TaskNames::new(&area, 3, task, Some(&reduce.stdout()), None);
        assert_eq!(after.stdout(), format!("{area}/reduce.2.{task}.3.{task}"));
    }

    #[test]
    fn core_files_are_called_after_their_program_whatever_it_calls_itself() {
        let task = TaskId::random();
        for (program, name) in [
            ("node", "node"),
            ("", "unknown"),
            ("../../x y\n", ".._.._x_y_"),
            ("sixteen-letters!and more", "sixteen-letters_"),
            ("\u{fc}ber", "_ber"),
        ] {
            let expected = format!("/u/jobs/j/stor/cores/2/core.{name}.{task}");
            assert_eq!(core("/u/jobs/j/stor", 2, program, task), expected);
        }
    }

    #[test]
    fn only_names_below_the_output_area_are_in_it() {
        let job: JobId = JOB.parse().unwrap();
        assert!(is_in_output_area(&format!("/u/jobs/{JOB}/stor/x/y"), job));
        assert!(!is_in_output_area(&format!("/u/jobs/{JOB}/stor"), job));
        assert!(!is_in_output_area(&format!("/u/stor/{JOB}/stor/x"), job));
        assert!(!is_in_output_area(&format!("u/jobs/{JOB}/stor/x"), job));
        assert!(!is_in_output_area("/u/jobs/other/stor/x", job));
    }

    #[test]
    fn long_inputs_are_abbreviated_in_the_middle() {
        assert_eq!(
            input_path("/u/stor/obj1"),
            ("/manta/u/stor/obj1".to_owned(), false)
        );
        let long = "x".repeat(256);
        assert_eq!(
            input_path(&format!("/u/stor/{long}")),
            (format!("/manta/u/stor/{}_...", "x".repeat(251)), true)
        );
        let wide = "y".repeat(255);
        let dirs = [wide.as_str(); 5].join("/");
        assert_eq!(
            input_path(&format!("/u/stor/foodir/bardir/{dirs}/bazdir/bop")),
            ("/manta/u/stor/foodir/_.../bazdir/bop".to_owned(), true)
        );
        assert_eq!(
            input_path(&format!("/u/stor/{dirs}/end")).0,
            format!("/manta/u/stor/{wide}/_.../{wide}/end")
        );
    }

    /// Below `/manta`, and whether it was shortened.
    fn shown(name: &str) -> (String, bool) {
        let (path, shortened) = input_path(name);
        (path.strip_prefix("/manta").unwrap().to_owned(), shortened)
    }

    /// The reference's `tst.pathabbr`.
    #[test]
    fn paths_are_shortened_beyond_1024_bytes_and_components_beyond_255() {
        for component in ["x".repeat(200), "x".to_owned()] {
            for length in [1023, 1024, 1025, 1026, 1500, 4096] {
                let mut name = format!("/{component}").repeat(length / (component.len() + 1));
                let rest = length - name.len();
                if rest > 0 {
                    // Of a single byte more there is no component; the last one grows.
                    name.push_str(&if rest == 1 {
                        "x".into()
                    } else {
                        format!("/{}", "x".repeat(rest - 1))
                    });
                }
                assert_eq!(name.len(), length);
                let (path, shortened) = shown(&name);
                assert_eq!(shortened, length > 1024, "{length} of {}", component.len());
                assert_eq!(path == name, !shortened);
                assert!(path.len() <= 1024, "{}", path.len());
                assert_eq!(shown(&path), (path, false));
            }
        }
        for length in [255, 256, 257] {
            let long = "y".repeat(length);
            for name in [
                format!("/u/stor/{long}"),
                format!("/u/{long}/obj"),
                format!("/{long}"),
            ] {
                let (path, shortened) = shown(&name);
                assert_eq!((shortened, path == name), (length > 255, length <= 255));
                assert!(path.split('/').all(|part| part.len() <= 255), "{path}");
                assert_eq!(shown(&path), (path, false));
            }
        }
    }
}
