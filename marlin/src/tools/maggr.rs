//! `maggr [-cN=OPS]... [-tN=FORMATS]... [-T FORMATS] [-d IN] [-o OUT] [-i SEP] [-f FILE] [OPS]`: sums, means and
//! the like of the columns of its input, for each group of lines with the same key.
//!
//! Only `variance` and `stddev` keep the values they are about; of everything else a group needs the same
//! memory however many lines it has.

mod column;
mod options;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};

use crate::front_door::BoxError;
use crate::tools::maggr::column::{Column, Operation};
use crate::tools::maggr::options::Options;
use crate::tools::{FAILURE, finish, lines, number, say, usage};

const HELP: &str = "usage: maggr [-cN=OPS]... [-tN=FORMATS]... [-T FORMATS] [-d IN] [-o OUT] [-i SEP] [-f FILE] [OPS]\n       maggr -l";

pub(super) fn main(args: Vec<String>) -> u8 {
    match options::parse(args) {
        Ok(Some(options)) => match run(&options) {
            // Each was told as it was met.
            Ok(skipped) if skipped > 0 => FAILURE,
            result => finish("maggr", result.map(drop)),
        },
        Ok(None) => {
            let names = Operation::ALL.map(Operation::name);
            say(&names.join(" "));
            0
        }
        Err(error) => usage("maggr", &error, HELP),
    }
}

/// How many lines were skipped.
fn run(options: &Options) -> Result<u64, BoxError> {
    let mut groups = Groups::default();
    let mut skipped = 0_u64;
    lines::for_each(open(options)?, |line| {
        if let Err(column) = groups.add(options, line) {
            let line = String::from_utf8_lossy(line);
            say(&format!(
                "Non-number in non-key column {column}. line: {line}"
            ));
            skipped += 1;
        }
        Ok::<_, io::Error>(())
    })
    .map_err(|error| format!("cannot read: {error}"))?;
    groups
        .print(options)
        .map_err(|error| format!("cannot write: {error}"))?;
    Ok(skipped)
}

fn open(options: &Options) -> Result<Box<dyn BufRead>, BoxError> {
    Ok(match &options.file {
        None => Box::new(BufReader::new(io::stdin())),
        Some(file) => Box::new(BufReader::new(
            File::open(file).map_err(|error| format!("cannot open {file}: {error}"))?,
        )),
    })
}

/// The groups by key, in the order they were first seen.
#[derive(Default)]
struct Groups {
    by_key: HashMap<Vec<u8>, usize>,
    columns: Vec<Vec<Column>>,
}

/// What a line has in a column.
enum Field<'a> {
    Text(&'a [u8]),
    Number(f64),
}

impl Groups {
    /// Adds a line to its group. Errors: the number of a column that should be one and is not; nothing of
    /// the line is added then.
    fn add(&mut self, options: &Options, line: &[u8]) -> Result<(), usize> {
        let mut key = Vec::new();
        let mut fields = Vec::new();
        for (index, text) in lines::fields(line, options.input.as_bytes()).enumerate() {
            fields.push(match options.operations(index) {
                [Operation::Key] => {
                    key.extend(text);
                    Field::Text(text)
                }
                [Operation::Nop] => Field::Text(text),
                _ => Field::Number(number::parse(text).ok_or(index + 1)?),
            });
        }
        let next = self.columns.len();
        let group = *self.by_key.entry(key).or_insert(next);
        if group == next {
            self.columns.push(Vec::new());
        }
        let Some(columns) = self.columns.get_mut(group) else {
            return Ok(());
        };
        let seen = fields.len().max(columns.len());
        columns.resize_with(seen, Column::default);
        for (index, (column, field)) in columns.iter_mut().zip(fields).enumerate() {
            match field {
                Field::Text(text) => column.set(text),
                Field::Number(value) => column.add(value, options.operations(index)),
            }
        }
        Ok(())
    }

    fn print(&self, options: &Options) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        for columns in &self.columns {
            let mut first = true;
            for (index, column) in columns.iter().enumerate() {
                let operations = options.operations(index);
                if operations == [Operation::Nop] {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    out.write_all(options.output.as_bytes())?;
                }
                if operations == [Operation::Key] {
                    out.write_all(column.text())?;
                    continue;
                }
                for (position, operation) in operations.iter().enumerate() {
                    if position > 0 {
                        out.write_all(options.inner.as_bytes())?;
                    }
                    let result = column.result(*operation);
                    let printed = match options.format(index, position) {
                        Some(format) => format.print(result),
                        None => number::to_text(result),
                    };
                    out.write_all(printed.as_bytes())?;
                }
            }
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}
