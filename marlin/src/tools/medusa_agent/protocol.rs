//! What the two ends of a session say to each other besides bytes: text messages, a prefix before JSON.
//! Source: marlin.md section 12.3.

use serde::{Deserialize, Serialize};

const PREFIX: &str = "mlogin:";
const SHELL: &str = "/bin/bash";

/// A terminal's size until its user says another.
const COLUMNS: u16 = 80;
const LINES: u16 = 25;

/// What the terminal says.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Order {
    Start(Start),
    Resize(Size),
    /// Newer than this program.
    #[serde(other)]
    Other,
}

/// Every field has a default, also where it is `null`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Start {
    cwd: Option<String>,
    term: Option<String>,
    command: Option<String>,
    arguments: Option<Vec<String>>,
    /// Ours: no word of our own.
    pub(super) quiet: bool,
    #[serde(flatten)]
    pub(super) size: Size,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Size {
    columns: Option<u32>,
    lines: Option<u32>,
}

/// What the zone says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Report {
    Started { pid: u32 },
    Error { error: String },
    Exit(Exit),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Exit {
    Code { code: i32 },
    Signal { signal: String },
}

impl Order {
    /// `None` for a text that is none of ours: a `ping`, or the reflector's.
    pub(super) fn parse(text: &str) -> Option<Result<Self, String>> {
        let document = text.strip_prefix(PREFIX)?;
        Some(serde_json::from_str(document).map_err(|error| error.to_string()))
    }
}

impl Report {
    pub(super) fn text(&self) -> String {
        // A document of strings and numbers is always one.
        let document = serde_json::to_string(self).unwrap_or_default();
        format!("{PREFIX}{document}")
    }
}

impl Size {
    /// Columns and lines; what cannot be a size is the default.
    pub(super) fn get(self) -> (u16, u16) {
        let or = |given: Option<u32>, default| {
            let given = given.and_then(|given| u16::try_from(given).ok());
            given.filter(|given| *given > 0).unwrap_or(default)
        };
        (or(self.columns, COLUMNS), or(self.lines, LINES))
    }
}

impl Start {
    pub(super) fn cwd(&self) -> &str {
        self.cwd.as_deref().unwrap_or("/")
    }

    pub(super) fn term(&self) -> &str {
        self.term.as_deref().unwrap_or("xterm")
    }

    /// The command line. `ctrun`, with which clients of Manta contained what may dump core, is what a zone
    /// does anyway, and left out where there is no such program.
    pub(super) fn command(&self, exists: impl Fn(&str) -> bool) -> Vec<String> {
        let shell = || vec![SHELL.to_owned(), "--norc".to_owned()];
        let Some(command) = &self.command else {
            return shell();
        };
        let arguments = self.arguments.as_deref().unwrap_or_default();
        let is_ctrun = command.rsplit('/').next() == Some("ctrun");
        if !is_ctrun || exists(command) {
            return std::iter::once(command).chain(arguments).cloned().collect();
        }
        let mut rest = arguments;
        while let [option, others @ ..] = rest
            && option.starts_with('-')
        {
            // All others have a value.
            let alone = ["-t", "-v"].contains(&option.as_str());
            rest = match others {
                [_, others @ ..] if !alone => others,
                others => others,
            };
        }
        if rest.is_empty() {
            shell()
        } else {
            rest.to_vec()
        }
    }

    /// Whether a person is going to type.
    pub(super) fn is_shell(&self) -> bool {
        let arguments = self.arguments.as_deref().unwrap_or_default();
        !arguments.iter().any(|argument| argument == "-c")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(document: &str) -> Start {
        let text = format!("mlogin:{document}");
        match Order::parse(&text).unwrap().unwrap() {
            Order::Start(start) => start,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_clients_of_manta_send_starts_a_shell_or_a_command() {
        let shell = start(
            r#"{"type":"start","cwd":"/","term":"vt100","columns":132,"lines":43,"command":"/usr/bin/ctrun",
                "arguments":["-i","core","-l","child","/bin/bash","--norc"]}"#,
        );
        assert_eq!((shell.cwd(), shell.term()), ("/", "vt100"));
        assert_eq!(shell.size.get(), (132, 43));
        assert_eq!(shell.command(|_| false), ["/bin/bash", "--norc"]);
        assert_eq!(shell.command(|_| true)[0], "/usr/bin/ctrun");
        assert!(shell.is_shell());
        let command = start(
            r#"{"type":"start","command":"/usr/bin/ctrun",
                "arguments":["-i","core","-t","-l","child","/bin/bash","-c","wc -l"]}"#,
        );
        assert_eq!(command.command(|_| false), ["/bin/bash", "-c", "wc -l"]);
        assert!(!command.is_shell());
    }

    #[test]
    fn everything_has_a_default() {
        for document in [
            r#"{"type":"start"}"#,
            r#"{"type":"start","columns":null,"lines":0,"command":null,"arguments":null,"cwd":null}"#,
            r#"{"type":"start","columns":70000,"command":"ctrun","arguments":["-i"]}"#,
        ] {
            let start = start(document);
            assert_eq!(start.size.get(), (80, 25), "{document}");
            assert_eq!((start.cwd(), start.term()), ("/", "xterm"));
            assert_eq!(start.command(|_| false), ["/bin/bash", "--norc"]);
        }
        let other = Order::parse(r#"mlogin:{"type":"dance","how":1}"#);
        assert_eq!(other, Some(Ok(Order::Other)));
        assert!(Order::parse("mlogin:{").unwrap().is_err());
        assert_eq!(Order::parse("ping"), None);
        assert_eq!(Order::parse(r#"medusa:{"type":"linkup"}"#), None);
    }

    #[test]
    fn reports_look_as_documented() {
        let text = |report: Report| report.text();
        let started = text(Report::Started { pid: 7 });
        assert_eq!(started, r#"mlogin:{"type":"started","pid":7}"#);
        let code = text(Report::Exit(Exit::Code { code: 3 }));
        assert_eq!(code, r#"mlogin:{"type":"exit","code":3}"#);
        let signal = "SIGTERM".to_owned();
        let signal = text(Report::Exit(Exit::Signal { signal }));
        assert_eq!(signal, r#"mlogin:{"type":"exit","signal":"SIGTERM"}"#);
    }
}
