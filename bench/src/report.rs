//! What was measured, the verdict on it, and the file `bench/RESULTS.md`.

use std::fmt::{self, Write as _};

/// What the median of a value must keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Floor {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
    /// Reported for its own sake.
    Nothing,
}

/// One value out of one run of a row.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) floor: Floor,
    pub(crate) value: f64,
}

impl Sample {
    pub(crate) fn new(what: &'static str, unit: &'static str, floor: Floor, value: f64) -> Self {
        Self {
            what,
            unit,
            floor,
            value,
        }
    }

    pub(crate) fn is_judged(&self) -> bool {
        self.floor != Floor::Nothing
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, with_unit(self.value, self.unit))
    }
}

/// A line of the table: the same value out of all runs.
#[derive(Clone, Debug)]
struct Line {
    what: &'static str,
    unit: &'static str,
    floor: Floor,
    values: Vec<f64>,
}

/// A row of the bench: how it is run, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: &'static str,
    /// What exactly is measured, for the reader of the results.
    method: &'static str,
    lines: Vec<Line>,
    /// What of it cannot be measured here, and why.
    limits: Vec<String>,
    /// Why there is nothing more to measure: it cannot run here, or it failed.
    ended: Option<Ended>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    NotRun(String),
    Failed(String),
}

/// Circumstances of a whole report.
#[derive(Clone, Debug)]
pub(crate) struct Circumstances {
    pub(crate) commit: String,
    pub(crate) date: String,
    pub(crate) profile: String,
    pub(crate) machine: String,
    pub(crate) runs: usize,
}

impl Row {
    pub(crate) fn new(name: &'static str, method: &'static str) -> Self {
        Self {
            name,
            method,
            lines: Vec::new(),
            limits: Vec::new(),
            ended: None,
        }
    }

    pub(crate) fn add(&mut self, samples: Vec<Sample>) {
        for sample in samples {
            match self.lines.iter_mut().find(|line| line.what == sample.what) {
                Some(line) => line.values.push(sample.value),
                None => self.lines.push(Line {
                    what: sample.what,
                    unit: sample.unit,
                    floor: sample.floor,
                    values: vec![sample.value],
                }),
            }
        }
    }

    /// The rest of the row goes on.
    pub(crate) fn limit(&mut self, what: String) {
        self.limits.push(what);
    }

    pub(crate) fn not_run(&mut self, reason: String) {
        self.ended = Some(Ended::NotRun(reason));
    }

    pub(crate) fn failed(&mut self, reason: String) {
        self.ended = Some(Ended::Failed(reason));
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Nothing failed and no floor was missed. What cannot run here is no failure.
    pub(crate) fn is_good(&self) -> bool {
        !matches!(self.ended, Some(Ended::Failed(_))) && self.lines.iter().all(Line::is_met)
    }
}

impl Line {
    fn is_met(&self) -> bool {
        let median = median(&self.values);
        match self.floor {
            Floor::AtLeast(floor) => median >= floor,
            Floor::AtMost(floor) => median <= floor,
            Floor::Below(floor) => median < floor,
            Floor::Nothing => true,
        }
    }

    fn floor(&self) -> String {
        let (sign, floor) = match self.floor {
            Floor::AtLeast(floor) => ("≥", floor),
            Floor::AtMost(floor) => ("≤", floor),
            Floor::Below(floor) => ("<", floor),
            Floor::Nothing => return String::new(),
        };
        format!("{sign} {}", with_unit(floor, self.unit))
    }

    fn verdict(&self) -> &'static str {
        match self.floor {
            Floor::Nothing => "",
            _ if self.is_met() => "met",
            _ => "**missed**",
        }
    }
}

/// The middle value; of an even number of values the mean of the two in the middle; NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The whole of `bench/RESULTS.md`.
pub(crate) fn render(rows: &[Row], circumstances: &Circumstances) -> String {
    let Circumstances {
        commit,
        date,
        profile,
        machine,
        runs,
    } = circumstances;
    let mut text = format!(
        "# Results\n\n\
         Written by `cargo xtask bench` ({runs} runs of each row, the rows taking turns), {date}.\n\n\
         * Commit: {commit}\n\
         * Build: profile {profile}\n\
         * Machine: {machine}\n\
         * The load generator and whatever else is measured against share the cores with the store.\n\n\
         | row | what | floor | median (min … max) | runs | verdict |\n\
         | --- | --- | --- | --- | --- | --- |\n"
    );
    for row in rows {
        table_lines(row, &mut text);
    }
    text.push_str("\nWhat each row does, and the command that repeats it:\n\n");
    for row in rows {
        push(
            &mut text,
            format_args!("* `cargo xtask bench {}`: {}\n", row.name, row.method),
        );
    }
    text
}

fn table_lines(row: &Row, text: &mut String) {
    for line in &row.lines {
        let (least, most) = line
            .values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), value| {
                (a.min(*value), b.max(*value))
            });
        push(
            text,
            format_args!(
                "| {} | {} | {} | {} ({} … {}) | {} | {} |\n",
                row.name,
                line.what,
                line.floor(),
                with_unit(median(&line.values), line.unit),
                number(least),
                number(most),
                line.values.len(),
                line.verdict()
            ),
        );
    }
    let mut remark = |verdict: &str, reason: &str| {
        // A cell ends at a bar or at the end of a line.
        let reason = reason.replace('|', "/").replace('\n', " ");
        push(
            text,
            format_args!("| {} | {reason} | | | 0 | {verdict} |\n", row.name),
        );
    };
    for limit in &row.limits {
        remark("not run", limit);
    }
    match &row.ended {
        None => {}
        Some(Ended::NotRun(reason)) => remark("not run", reason),
        Some(Ended::Failed(reason)) => remark("**failed**", reason),
    }
}

fn push(text: &mut String, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("a string takes everything: it grows");
}

fn with_unit(value: f64, unit: &str) -> String {
    let separator = if unit.is_empty() || unit.starts_with('/') {
        ""
    } else {
        " "
    };
    format!("{}{separator}{unit}", number(value))
}

/// Three digits that matter, thousands set apart.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude < 10.0 && value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    if magnitude < 100.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        if index > 0 && left % 3 == 0 && digits.as_bytes()[index - 1].is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circumstances() -> Circumstances {
        Circumstances {
            commit: "0123456789ab".to_owned(),
            date: "Sat, 21 Nov 2026 07:00:00 GMT".to_owned(),
            profile: "release".to_owned(),
            machine: "2 × processor, 24.0 GiB of memory, Linux 6.18, data on ext4".to_owned(),
            runs: 5,
        }
    }

    fn row(floor: Floor, values: &[f64]) -> Row {
        let mut row = Row::new("get", "reads.");
        for value in values {
            row.add(vec![Sample::new("GET 4 KiB", "/s", floor, *value)]);
        }
        row
    }

    #[test]
    fn the_table_holds_median_range_and_verdict() {
        let good = row(
            Floor::AtLeast(10_000.0),
            &[9000.0, 12_345.4, 11_000.0, 10_000.0, 15_000.0],
        );
        let text = render(std::slice::from_ref(&good), &circumstances());
        let line = "| get | GET 4 KiB | ≥ 10,000/s | 11,000/s (9,000 … 15,000) | 5 | met |";
        assert!(text.contains(line), "{text}");
        for part in [
            "0123456789ab",
            "profile release",
            "ext4",
            "Nov 2026",
            "`cargo xtask bench get`: reads.",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(good.is_good());
    }

    #[test]
    fn a_missed_floor_is_said_and_spoils_the_row() {
        let missed = row(Floor::AtLeast(10_000.0), &[9000.0, 9999.0, 20_000.0]);
        assert!(!missed.is_good());
        let text = render(&[missed], &circumstances());
        assert!(
            text.contains("| ≥ 10,000/s | 9,999/s (9,000 … 20,000) | 3 | **missed** |"),
            "{text}"
        );
    }

    #[test]
    fn the_edge_of_a_floor_counts_as_it_is_worded() {
        assert!(row(Floor::AtMost(250.0), &[250.0]).is_good());
        assert!(!row(Floor::Below(100.0), &[100.0]).is_good());
        assert!(row(Floor::Below(100.0), &[99.9]).is_good());
        assert!(row(Floor::AtLeast(800.0), &[800.0]).is_good());
    }

    #[test]
    fn what_cannot_run_is_reported_and_what_fails_is_held_against_the_row() {
        let mut absent = Row::new("job", "runs a job.");
        absent.not_run("needs root | zones".to_owned());
        assert!(absent.is_good() && absent.has_ended());
        let mut broken = row(Floor::Nothing, &[1.0]);
        broken.failed("measure:\nthe store closed the connection".to_owned());
        assert!(!broken.is_good());
        let text = render(&[absent, broken], &circumstances());
        assert!(
            text.contains("| job | needs root / zones | | | 0 | not run |"),
            "{text}"
        );
        assert!(
            text.contains("measure: the store closed the connection | | | 0 | **failed** |"),
            "{text}"
        );
    }

    #[test]
    fn a_part_that_cannot_be_measured_is_told_beside_the_rest() {
        let mut partial = row(Floor::AtLeast(1.0), &[2.0]);
        partial.limit("against Spark: not installed".to_owned());
        assert!(partial.is_good() && !partial.has_ended());
        let text = render(&[partial], &circumstances());
        for line in [
            "| 2/s (2 … 2) | 1 | met |",
            "| get | against Spark: not installed | | | 0 | not run |",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn numbers_keep_three_digits_or_all_thousands() {
        let shown = [0.0, 1.4, 1.0349, 12.34, 100.0, 1234.5, 1_234_567.0, -1234.0].map(number);
        assert_eq!(
            shown,
            [
                "0",
                "1.40",
                "1.03",
                "12.3",
                "100",
                "1,234",
                "1,234,567",
                "-1,234"
            ]
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[5.0, 1.0, 3.0]), 3.0);
        assert!(median(&[]).is_nan());
    }
}
