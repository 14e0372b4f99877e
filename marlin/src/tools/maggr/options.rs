//! What `maggr` is asked for: operations and formats, by column.

use std::collections::HashMap;

use crate::tools::arguments::Arguments;
use crate::tools::maggr::column::Operation;
use crate::tools::printf::Format;

/// Formats of the results of a column, in order; `None` where the one for all others holds.
type Formats = Vec<Option<Format>>;

#[derive(Debug)]
pub(super) struct Options {
    /// By index of the column, which is one less than its number.
    operations: HashMap<usize, Vec<Operation>>,
    other_operations: Vec<Operation>,
    formats: HashMap<usize, Formats>,
    other_formats: Formats,
    pub(super) input: String,
    pub(super) output: String,
    pub(super) inner: String,
    pub(super) file: Option<String>,
}

/// `None` if the operations are to be listed.
pub(super) fn parse(args: Vec<String>) -> Result<Option<Options>, String> {
    let mut operations = HashMap::new();
    let mut formats = HashMap::new();
    let mut other_formats = Formats::new();
    let (mut input, mut output, mut inner) = (String::new(), String::new(), String::new());
    let mut file = None;
    let mut arguments = Arguments::new("c:d:f:i:lo:t:T:", args);
    while let Some((letter, value)) = arguments.option()? {
        match letter {
            'c' => {
                let (column, list) = by_column(&value)?;
                operations.insert(column, parse_operations(list)?);
            }
            't' => {
                let (column, list) = by_column(&value)?;
                formats.insert(column, parse_formats(list)?);
            }
            'T' => other_formats = parse_formats(&value)?,
            'd' => input = value,
            'o' => output = value,
            'i' => inner = value,
            'f' => file = Some(value),
            _ => return Ok(None),
        }
    }
    let other_operations = match arguments.operand("list of operations")? {
        Some(list) => parse_operations(&list)?,
        None if operations.is_empty() => return Err("no operations specified".to_owned()),
        None => vec![Operation::Nop],
    };
    let or = |text: String, default: &str| {
        if text.is_empty() {
            default.to_owned()
        } else {
            text
        }
    };
    let input = or(input, " ");
    Ok(Some(Options {
        operations,
        other_operations,
        formats,
        other_formats,
        output: or(output, &input),
        inner: or(inner, ","),
        input,
        file,
    }))
}

impl Options {
    pub(super) fn operations(&self, column: usize) -> &[Operation] {
        self.operations
            .get(&column)
            .unwrap_or(&self.other_operations)
    }

    /// The format of a result of a column. Where there is none in the list for all others either, its last
    /// one holds.
    pub(super) fn format(&self, column: usize, result: usize) -> Option<&Format> {
        let own = self
            .formats
            .get(&column)
            .and_then(|formats| formats.get(result));
        let other = || self.other_formats.get(result).or(self.other_formats.last());
        own.and_then(Option::as_ref)
            .or_else(|| other().and_then(Option::as_ref))
    }
}

/// `N=LIST`: the index of the column, and the list.
fn by_column(text: &str) -> Result<(usize, &str), String> {
    let (number, list) = text
        .split_once('=')
        .ok_or_else(|| format!("not a column and a list: \"{text}\""))?;
    let number: Option<usize> = number.parse().ok();
    let column = number
        .and_then(|number| number.checked_sub(1))
        .ok_or_else(|| format!("columns are counted from 1: \"{text}\""))?;
    Ok((column, list))
}

fn parse_operations(list: &str) -> Result<Vec<Operation>, String> {
    let operations: Vec<Operation> = list
        .split(',')
        .map(parse_operation)
        .collect::<Result<_, _>>()?;
    for alone in [Operation::Key, Operation::Nop] {
        if operations.len() > 1 && operations.contains(&alone) {
            let name = alone.name();
            return Err(format!(
                "nothing else can be done with a column that is {name}: \"{list}\""
            ));
        }
    }
    Ok(operations)
}

fn parse_operation(name: &str) -> Result<Operation, String> {
    Operation::ALL
        .into_iter()
        .find(|operation| operation.name() == name)
        .ok_or_else(|| format!("unsupported operation: \"{name}\""))
}

fn parse_formats(list: &str) -> Result<Formats, String> {
    list.split(',')
        .map(|format| {
            let format = Some(format).filter(|format| !format.is_empty());
            format.map(Format::parse).transpose()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Result<Option<Options>, String> {
        parse(args.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn columns_fall_back_to_what_holds_for_all_others() {
        let options = options(&["-c2=sum,max", "-t2=,%x", "-T", "%.1f,%.2f", "-d,", "min"]);
        let options = options.unwrap().unwrap();
        assert_eq!(options.operations(1), [Operation::Sum, Operation::Max]);
        assert_eq!(options.operations(0), [Operation::Min]);
        let print = |column, result| options.format(column, result).unwrap().print(10.0);
        assert_eq!(print(1, 0), "10.0");
        assert_eq!(print(1, 1), "a");
        assert_eq!(print(0, 1), "10.00");
        assert_eq!(print(0, 5), "10.00");
        assert_eq!(
            (&*options.input, &*options.output, &*options.inner),
            (",", ",", ",")
        );
    }

    #[test]
    fn wrong_usage_is_refused() {
        for bad in [
            &[][..],
            &["-x", "sum"],
            &["-c1", "key"],
            &["-c0=sum"],
            &["-c-1=sum"],
            &["-cx=sum"],
            &["-c1=key,sum"],
            &["-c1=sum,nop"],
            &["-c1=total"],
            &["-c1=sum", "-t1=%d%d"],
            &["-c1=sum", "-t1"],
            &["sum", "max"],
        ] {
            assert!(options(bad).is_err(), "{bad:?}");
        }
        assert!(options(&["-l"]).unwrap().is_none());
    }
}
