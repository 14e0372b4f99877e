//! The page of a job, as HTML.
//!
//! Names, commands and contents are anybody's: everything goes through [`escape`], and besides, the page
//! forbids itself to run or to load anything.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use serde::Deserialize;

use super::markdown;
use crate::cli::mjob::errors::JobError;
use crate::cli::mjob::explain::{Task, public_heads};
use crate::cli::mjob::wait::Stats;

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}\
    pre{background:#f4f4f4;padding:.6em;overflow-x:auto;white-space:pre-wrap;word-break:break-word}\
    table{border-collapse:collapse}td,th{padding:.2em 1em .2em 0;text-align:left;vertical-align:top}\
    summary{cursor:pointer;font-family:monospace;word-break:break-all}.note{color:#777}";

/// A job as its status says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    pub(super) cancelled: bool,
    #[serde(default)]
    stats: Stats,
    #[serde(default)]
    time_created: String,
    #[serde(default)]
    time_done: String,
    #[serde(default)]
    phases: Vec<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug)]
pub(super) struct Page {
    pub(super) job: Job,
    pub(super) tasks: Vec<Task>,
    pub(super) more_tasks: bool,
    pub(super) inputs: Objects,
    pub(super) outputs: Objects,
    /// Each with what the task wrote to its stderr.
    pub(super) errors: Vec<(JobError, Option<Content>)>,
    pub(super) more_errors: bool,
}

#[derive(Debug)]
pub(super) struct Objects {
    pub(super) shown: Vec<Object>,
    pub(super) more: bool,
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) name: String,
    pub(super) content: Content,
}

/// The beginning of an object.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Content {
    Text {
        text: String,
        cut: bool,
    },
    Binary,
    /// With the code of the refusal.
    Unreadable(String),
}

impl Content {
    /// `cut` says that the object goes on, perhaps in the middle of a character.
    pub(super) fn of(bytes: &[u8], cut: bool) -> Content {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) if cut && error.error_len().is_none() => {
                let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
                std::str::from_utf8(valid).unwrap_or_default()
            }
            Err(_) => return Content::Binary,
        };
        if text.contains('\0') {
            return Content::Binary;
        }
        let text = text.to_owned();
        Content::Text { text, cut }
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        match self {
            Content::Text { text, .. } if text.is_empty() => {
                write!(out, "<p class=\"note\">empty</p>")
            }
            Content::Text { text, cut } => {
                // A line break right behind the tag would be dropped.
                write!(out, "<pre>\n{}</pre>", escape(text))?;
                match cut {
                    true => write!(out, "<p class=\"note\">and so on</p>"),
                    false => Ok(()),
                }
            }
            Content::Binary => write!(out, "<p class=\"note\">not text</p>"),
            Content::Unreadable(code) => {
                write!(out, "<p class=\"note\">not readable: {}</p>", escape(code))
            }
        }
    }
}

impl Page {
    /// `url` is where the store is; `readme` is Markdown.
    pub(super) fn to_html(&self, url: &str, readme: Option<&str>) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out, url, readme);
        out
    }

    fn write(&self, out: &mut String, url: &str, readme: Option<&str>) -> fmt::Result {
        let job = &self.job;
        let title = match job.name.as_str() {
            "" => format!("Job {}", job.id),
            name => format!("Job {name}"),
        };
        let title = escape(&title);
        write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\
             <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n",
            escape(POLICY)
        )?;
        if let Some(readme) = readme {
            writeln!(out, "<section>{}</section>", markdown::to_html(readme))?;
        }
        self.write_summary(out, url)?;
        for (number, phase) in job.phases.iter().enumerate() {
            write_phase(out, number, phase)?;
        }
        self.write_tasks(out)?;
        write_objects(out, "Inputs", &self.inputs)?;
        write_objects(out, "Outputs", &self.outputs)?;
        self.write_errors(out)?;
        out.write_str("</body></html>")
    }

    fn write_summary(&self, out: &mut String, url: &str) -> fmt::Result {
        let Job {
            id,
            stats,
            time_created,
            time_done,
            ..
        } = &self.job;
        let took = took(time_created, time_done).unwrap_or_default();
        out.write_str("<table>\n")?;
        for (name, value) in [
            ("job", id.clone()),
            ("store", url.to_owned()),
            ("created", time_created.clone()),
            ("done", time_done.clone()),
            ("took", took),
            ("tasks", stats.tasks.to_string()),
            ("retries", stats.retries.to_string()),
            ("outputs", stats.outputs.to_string()),
            ("errors", stats.errors.to_string()),
        ] {
            if !value.is_empty() {
                writeln!(out, "<tr><th>{name}</th><td>{}</td></tr>", escape(&value))?;
            }
        }
        out.write_str("</table>\n")
    }

    fn write_tasks(&self, out: &mut String) -> fmt::Result {
        if self.tasks.is_empty() {
            return Ok(());
        }
        out.write_str("<h2>Tasks</h2>\n<table>\n<tr>")?;
        for head in public_heads() {
            write!(out, "<th>{}</th>", escape(&head.to_lowercase()))?;
        }
        out.write_str("</tr>\n")?;
        for task in &self.tasks {
            out.write_str("<tr>")?;
            for cell in task.public_cells() {
                write!(out, "<td>{}</td>", escape(&cell))?;
            }
            out.write_str("</tr>\n")?;
        }
        out.write_str("</table>\n")?;
        write_more(out, self.more_tasks)
    }

    fn write_errors(&self, out: &mut String) -> fmt::Result {
        if self.errors.is_empty() {
            return Ok(());
        }
        out.write_str("<h2>Errors</h2>\n")?;
        for (error, stderr) in &self.errors {
            write!(
                out,
                "<details open><summary>{}</summary><p>{}: {}</p>",
                escape(&error.what),
                escape(&error.code),
                escape(&error.message)
            )?;
            if let Some(stderr) = stderr {
                stderr.write(out)?;
            }
            out.write_str("</details>\n")?;
        }
        write_more(out, self.more_errors)
    }
}

fn write_phase(
    out: &mut String,
    number: usize,
    phase: &serde_json::Map<String, serde_json::Value>,
) -> fmt::Result {
    let text = |name: &str| phase.get(name).and_then(|value| value.as_str());
    let kind = escape(text("type").unwrap_or("map"));
    writeln!(out, "<h2>Phase {number}: {kind}</h2>")?;
    for name in ["init", "exec"] {
        if let Some(script) = text(name) {
            writeln!(out, "<pre title=\"{name}\">\n{}</pre>", escape(script))?;
        }
    }
    let others = phase
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "type" | "exec" | "init"));
    for (name, value) in others {
        let value = value.to_string();
        writeln!(out, "<p>{}: {}</p>", escape(name), escape(&value))?;
    }
    Ok(())
}

fn write_objects(out: &mut String, title: &str, objects: &Objects) -> fmt::Result {
    writeln!(out, "<h2>{title}</h2>")?;
    if objects.shown.is_empty() {
        out.write_str("<p class=\"note\">none</p>\n")?;
    }
    for object in &objects.shown {
        write!(out, "<details><summary>{}</summary>", escape(&object.name))?;
        object.content.write(out)?;
        out.write_str("</details>\n")?;
    }
    write_more(out, objects.more)
}

fn write_more(out: &mut String, more: bool) -> fmt::Result {
    match more {
        true => out.write_str("<p class=\"note\">and more</p>\n"),
        false => Ok(()),
    }
}

/// The time between two times, in seconds.
fn took(from: &str, to: &str) -> Option<String> {
    let (from, to): (Timestamp, Timestamp) = (from.parse().ok()?, to.parse().ok()?);
    let millis = to.as_millisecond() - from.as_millisecond();
    Some(format!(
        "{}.{:03} s",
        millis / 1000,
        millis.rem_euclid(1000)
    ))
}

/// Text that means nothing but itself, between tags and in quoted attributes alike.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\r' | '\t' => out.push(char),
            // No HTML may hold these; most are dropped or changed by whoever reads them.
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "</pre></title><script>alert('1')</script>\"onload=\"x\u{1b}";

    fn page(value: &str) -> Page {
        let job = serde_json::json!({
            "id": value, "name": value, "timeCreated": value, "timeDone": value,
            "phases": [{"type": value, "exec": value, "init": value, value: [value]}],
            "stats": {"errors": 1, "tasks": 2},
        });
        let object = || Object {
            name: value.to_owned(),
            content: Content::of(value.as_bytes(), true),
        };
        let objects = |more| Objects {
            shown: vec![object(), object()],
            more,
        };
        let error = serde_json::json!({"what": value, "code": value, "message": value});
        let error = serde_json::from_value(error).unwrap();
        let task =
            serde_json::json!({"taskId": value, "state": value, "input": value, "signal": value});
        Page {
            job: serde_json::from_value(job).unwrap(),
            tasks: vec![serde_json::from_value(task).unwrap()],
            more_tasks: true,
            inputs: objects(true),
            outputs: objects(false),
            errors: vec![(error, Some(Content::Unreadable(value.to_owned())))],
            more_errors: true,
        }
    }

    /// Everything that stands between `<` and `>`.
    fn tags(html: &str) -> Vec<&str> {
        let tags = html.split('<').skip(1);
        tags.map(|tag| tag.split('>').next().unwrap()).collect()
    }

    #[test]
    fn nothing_that_anybody_wrote_becomes_a_tag() {
        let evil = page(EVIL).to_html(EVIL, Some(EVIL));
        let good = page("plain").to_html("plain", Some("plain"));
        assert_eq!(tags(&evil), tags(&good));
        assert!(!evil.contains("<script") && !evil.contains('\u{1b}'));
        assert!(evil.contains("&lt;script&gt;alert(&#39;1&#39;)"));
        assert!(evil.contains("Content-Security-Policy"));
    }

    #[test]
    fn contents_are_text_as_far_as_they_are() {
        let text = |text: &str, cut| Content::Text {
            text: text.to_owned(),
            cut,
        };
        assert_eq!(Content::of(b"", false), text("", false));
        assert_eq!(Content::of("aä".as_bytes(), false), text("aä", false));
        assert_eq!(Content::of(&"aä".as_bytes()[..2], true), text("a", true));
        assert_eq!(Content::of(&"aä".as_bytes()[..2], false), Content::Binary);
        assert_eq!(Content::of(b"a\xff b", true), Content::Binary);
        assert_eq!(Content::of(b"a\0b", false), Content::Binary);
    }

    #[test]
    fn times_are_seconds() {
        let took = |from, to| took(from, to);
        assert_eq!(
            took("2026-01-02T03:04:05.100Z", "2026-01-02T03:05:06.099Z").as_deref(),
            Some("60.999 s")
        );
        assert_eq!(took("", "2026-01-02T03:05:06.099Z"), None);
    }
}
