//! `msplit -n N [-d DELIM] [-f FIELDS] [-e JS] [-i] [-j] [-z]`: gives every line of its standard input to one
//! of N reducers, all lines of one key to the same.
//!
//! Nothing is emitted before the last line is read, and every reducer gets an object, even an empty one.

mod parts;

use std::io;

use futures_util::{StreamExt, TryStreamExt, stream};
use md5::{Digest, Md5};

use crate::front_door::BoxError;
use crate::tools::arguments::Arguments;
use crate::tools::msplit::parts::Parts;
use crate::tools::script::{Script, Source};
use crate::tools::upload::Upload;
use crate::tools::{block_on, finish, lines, local_manta, number, output_name, usage};

const HELP: &str = "usage: msplit -n N [-d DELIM] [-f FIELDS] [-e JS] [-i] [-j] [-z]";
/// Source: marlin.md section 9.3.
const UPLOADS: usize = 25;
/// As many as a phase can have, and some; each part is a file.
const REDUCERS_MAX: u32 = 4096;

#[derive(Debug)]
struct Options {
    reducers: u32,
    delimiter: String,
    fields: Vec<String>,
    script: Option<String>,
    index: bool,
    json: bool,
    gzip: bool,
}

pub(super) fn main(args: Vec<String>) -> u8 {
    let prepared = parse(args).and_then(|options| {
        let positions = options.positions()?;
        Ok((output_name()?, options, positions))
    });
    match prepared {
        Ok((base, options, positions)) => finish("msplit", run(&base, &options, positions)),
        Err(error) => usage("msplit", &error, HELP),
    }
}

fn parse(args: Vec<String>) -> Result<Options, String> {
    let mut options = Options {
        reducers: 0,
        delimiter: "\t".to_owned(),
        fields: Vec::new(),
        script: None,
        index: false,
        json: false,
        gzip: false,
    };
    let mut arguments = Arguments::new("d:e:f:ijn:z", args);
    while let Some((letter, value)) = arguments.option()? {
        match letter {
            'n' => {
                let number = value.parse().ok();
                options.reducers = number
                    .filter(|number| (1..=REDUCERS_MAX).contains(number))
                    .ok_or_else(|| format!("invalid number of reducers: \"{value}\""))?;
            }
            'd' if value.is_empty() || value.contains('\n') => {
                return Err("a delimiter is neither empty nor the end of a line".to_owned());
            }
            'd' => options.delimiter = value,
            'f' => options.fields.extend(value.split(',').map(str::to_owned)),
            'e' => options.script = Some(value),
            'i' => options.index = true,
            'j' => options.json = true,
            _ => options.gzip = true,
        }
    }
    if options.reducers == 0 {
        return Err("number of reducers must be specified".to_owned());
    }
    if let Some(operand) = arguments.operands().first() {
        return Err(format!("unexpected \"{operand}\""));
    }
    if options.json && options.script.is_none() && options.fields.is_empty() {
        return Err("no fields specified".to_owned());
    }
    Ok(options)
}

impl Options {
    /// The fields of text that make the key; `None` if a script makes it.
    fn positions(&self) -> Result<Option<Vec<Positions>>, String> {
        if self.json || self.script.is_some() {
            return Ok(None);
        }
        let positions = self.fields.iter().map(|field| Positions::parse(field));
        let mut positions: Vec<Positions> = positions.collect::<Result<_, _>>()?;
        if positions.is_empty() {
            positions.push(Positions { first: 1, last: 1 });
        }
        Ok(Some(positions))
    }

    fn script(&self) -> Source<'_> {
        let paths = self.fields.iter().map(|path| path.split('.').collect());
        Source {
            body: self.script.as_deref(),
            paths: paths.collect(),
            delimiter: &self.delimiter,
            json: self.json,
            numbers: self.index,
        }
    }

    /// The reducer for a key.
    fn reducer(&self, key: &[u8], line: &[u8]) -> Result<u32, BoxError> {
        if !self.index {
            return Ok(hash(key) % self.reducers);
        }
        let index = number::parse(key).map(f64::trunc);
        let index = index.filter(|index| (0.0..f64::from(self.reducers)).contains(index));
        index.map(|index| index as u32).ok_or_else(|| {
            let (key, line) = (String::from_utf8_lossy(key), String::from_utf8_lossy(line));
            format!("no index of a reducer: \"{key}\", of line: {line}").into()
        })
    }
}

/// Neighbouring fields, counted from 1, both ends included.
#[derive(Debug, PartialEq, Eq)]
struct Positions {
    first: usize,
    last: usize,
}

impl Positions {
    /// `N`, `N-`, `N-M` or `-M`. Source: cut(1).
    fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("invalid field: \"{text}\"");
        let number = |text: &str, default| match text {
            "" => Ok(default),
            text => text.parse().map_err(|_| bad()),
        };
        let (first, last) = match text.split_once('-') {
            Some(("", "")) => return Err(bad()),
            Some((first, last)) => (number(first, 1)?, number(last, usize::MAX)?),
            None => {
                let position = text.parse().map_err(|_| bad())?;
                (position, position)
            }
        };
        if first == 0 || last < first {
            return Err(bad());
        }
        Ok(Self { first, last })
    }
}

/// The chosen fields with the delimiter between them; those that are missing or empty are left out.
fn text_key(line: &[u8], delimiter: &[u8], positions: &[Positions]) -> Vec<u8> {
    let mut key = Vec::new();
    for Positions { first, last } in positions {
        let fields = lines::fields(line, delimiter).skip(first - 1);
        let chosen = fields.take(last - first + 1);
        for field in chosen.filter(|field| !field.is_empty()) {
            if !key.is_empty() {
                key.extend(delimiter);
            }
            key.extend(field);
        }
    }
    key
}

/// What a key is divided by the number of reducers as: the beginning of its MD5. Source: marlin.md section 9.3.
fn hash(key: &[u8]) -> u32 {
    let digest: [u8; 16] = Md5::digest(key).into();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

fn run(base: &str, options: &Options, positions: Option<Vec<Positions>>) -> Result<(), BoxError> {
    let mut parts = Parts::create(options.reducers)
        .map_err(|error| format!("cannot make room for the parts: {error}"))?;
    split(options, positions, &mut parts)?;
    let files = parts
        .finish(options.gzip)
        .map_err(|error| format!("cannot save the parts: {error}"))?;

    let manta = local_manta();
    let uploads = files.iter().zip(0..).map(|(file, reducer)| {
        let mut upload = Upload {
            object: format!("{base}.{reducer}"),
            parents: true,
            headers: Vec::new(),
        };
        upload.emit(Some(reducer));
        let manta = &manta;
        async move { upload.store(manta, file.path()).await }
    });
    let uploads = stream::iter(uploads).buffer_unordered(UPLOADS);
    block_on(uploads.try_collect::<()>())
}

/// Gives every line of standard input to its part.
fn split(
    options: &Options,
    positions: Option<Vec<Positions>>,
    parts: &mut Parts,
) -> Result<(), BoxError> {
    let mut give = |key: &[u8], line: &[u8]| -> Result<(), BoxError> {
        let reducer = options.reducer(key, line)?;
        Ok(parts.write(reducer, line)?)
    };
    let stdin = io::stdin().lock();
    match positions {
        Some(positions) => lines::for_each(stdin, |line| {
            let key = text_key(line, options.delimiter.as_bytes(), &positions);
            give(&key, line)
        }),
        None => {
            let script = Script::new(options.script())?;
            lines::for_each(stdin, |line| {
                let key = script.key_of(&String::from_utf8_lossy(line))?;
                give(key.as_bytes(), line)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Result<Options, String> {
        parse(args.iter().map(ToString::to_string).collect())
    }

    fn key(line: &str, delimiter: &str, fields: &[&str]) -> String {
        let options = options(&["-n1", "-d", delimiter, "-f", &fields.join(",")]).unwrap();
        let positions = options.positions().unwrap().unwrap();
        String::from_utf8(text_key(line.as_bytes(), delimiter.as_bytes(), &positions)).unwrap()
    }

    #[test]
    fn keys_are_the_chosen_fields_in_the_order_they_were_chosen_in() {
        assert_eq!(key("a,b,,d", ",", &["4", "1"]), "d,a");
        assert_eq!(key("a,b,,d", ",", &["2-"]), "b,d");
        assert_eq!(key("a,b,,d", ",", &["-2", "3-4"]), "a,b,d");
        assert_eq!(key("a,b,,d", ",", &["3", "7"]), "");
    }

    /// The same key goes to the same reducer for ever: what one phase split, others join.
    #[test]
    fn keys_are_hashed_as_they_have_always_been() {
        let options = options(&["-n", "2"]).unwrap();
        let reducer = |key: &str| options.reducer(key.as_bytes(), b"").unwrap();
        assert_eq!(["1", "2", "3", "4"].map(reducer), [0, 1, 0, 1]);
        assert_eq!(hash(b""), 0xd41d_8cd9);
    }

    #[test]
    fn an_index_is_a_number_below_that_of_reducers() {
        let options = options(&["-n3", "-i"]).unwrap();
        for (key, reducer) in [("0", 0), ("2", 2), (" 1 x", 1), ("+2", 2)] {
            assert_eq!(
                options.reducer(key.as_bytes(), b"").unwrap(),
                reducer,
                "{key}"
            );
        }
        for key in ["", "x", "3", "-1", "1e9", "NaN"] {
            assert!(options.reducer(key.as_bytes(), b"").is_err(), "{key}");
        }
    }

    #[test]
    fn wrong_usage_is_refused() {
        for bad in [
            &[][..],
            &["-n"],
            &["-n0"],
            &["-n-1"],
            &["-n5000"],
            &["-nx"],
            &["-n2", "-d", ""],
            &["-n2", "-d", "\n"],
            &["-n2", "-j"],
            &["-n2", "file"],
            &["-n2", "-x"],
        ] {
            assert!(options(bad).is_err(), "{bad:?}");
        }
        for bad in ["0", "x", "", "-", "3-2", "1-x"] {
            let options = options(&["-n2", "-f", bad]).unwrap();
            assert!(options.positions().is_err(), "{bad}");
        }
    }
}
