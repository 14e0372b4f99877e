//! How far jobs are, drawn on stderr while a person waits; one line for each job.
//!
//! The number of tasks is that of those known so far: tasks of later phases come to be as earlier ones end.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::wait::Status;

/// A job that is over at once draws nothing.
const SHOW_AFTER: Duration = Duration::from_millis(300);
const TEMPLATE: &str = "{prefix} [{bar:24}] {pos}/{len} tasks{msg} {elapsed}";

/// The bars of all jobs that are waited for. Nobody is shown any unless stderr is a terminal.
#[derive(Debug)]
pub(super) struct Bars {
    lines: Option<MultiProgress>,
}

impl Bars {
    pub(super) fn new(quiet: bool) -> Bars {
        let wanted = !quiet && io::stderr().is_terminal();
        let target = ProgressDrawTarget::stderr;
        Bars {
            lines: wanted.then(|| MultiProgress::with_draw_target(target())),
        }
    }

    pub(super) fn job<'a>(&'a self, id: &'a str) -> Bar<'a> {
        Bar {
            bars: self,
            id,
            since: Instant::now(),
            line: None,
        }
    }
}

/// The bar of one job, gone when dropped.
#[derive(Debug)]
pub(super) struct Bar<'a> {
    bars: &'a Bars,
    id: &'a str,
    since: Instant,
    line: Option<ProgressBar>,
}

impl Bar<'_> {
    /// Whether somebody looks, and wants to see the job move.
    pub(super) fn is_seen(&self) -> bool {
        self.bars.lines.is_some()
    }

    pub(super) fn show(&mut self, status: &Status) {
        if self.since.elapsed() < SHOW_AFTER {
            return;
        }
        let Some(lines) = &self.bars.lines else {
            return;
        };
        let line = self.line.get_or_insert_with(|| {
            let line = ProgressBar::new(0).with_elapsed(self.since.elapsed());
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                line.set_style(style);
            }
            line.set_prefix(self.id.get(..8).unwrap_or(self.id).to_owned());
            lines.add(line)
        });
        line.set_length(status.stats.tasks);
        line.set_position(status.stats.tasks_done);
        line.set_message(remarks(status));
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

/// What is not to be seen from the tasks.
fn remarks(status: &Status) -> String {
    let mut text = String::new();
    for (count, one) in [
        (status.stats.errors, "error"),
        (status.stats.retries, "retry"),
    ] {
        match (count, one) {
            (0, _) => {}
            (1, one) => text.push_str(&format!(", 1 {one}")),
            (count, "retry") => text.push_str(&format!(", {count} retries")),
            (count, one) => text.push_str(&format!(", {count} {one}s")),
        }
    }
    if !status.input_done {
        text.push_str(", input open");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_about_what_is_unusual() {
        let of = |text: &str| remarks(&serde_json::from_str(text).unwrap());
        let quiet = r#"{"state":"running","inputDone":true,"stats":{"tasks":5}}"#;
        assert_eq!(of(quiet), "");
        let loud = r#"{"state":"running","inputDone":false,"stats":{"errors":1,"retries":2}}"#;
        assert_eq!(of(loud), ", 1 error, 2 retries, input open");
        let more = r#"{"state":"done","inputDone":true,"stats":{"errors":2,"retries":1}}"#;
        assert_eq!(of(more), ", 2 errors, 1 retry");
    }

    #[test]
    fn without_a_terminal_nothing_is_drawn() {
        let bars = Bars::new(true);
        let mut bar = bars.job("x");
        bar.since -= SHOW_AFTER;
        bar.show(&serde_json::from_str(r#"{"state":"running"}"#).unwrap());
        assert!(!bar.is_seen() && bar.line.is_none());
    }
}
