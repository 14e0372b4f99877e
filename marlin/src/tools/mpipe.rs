//! `mpipe [-f FILE] [-p] [-r INDEX] [-H 'NAME: VALUE']... [OBJECT]`: stores its standard input as an output
//! of the task.

use std::io;
use std::path::PathBuf;

use crate::front_door::BoxError;
use crate::tools::arguments::Arguments;
use crate::tools::upload::{Header, Staging, Upload, parse_header};
use crate::tools::{
    block_on, finish, local_manta, output_name, parse_reducer, say, usage, whole_name,
};

const HELP: &str = "usage: mpipe [-f FILE] [-p] [-r INDEX] [-H 'NAME: VALUE']... [OBJECT]";

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    file: Option<PathBuf>,
    parents: bool,
    reducer: Option<u32>,
    headers: Vec<Header>,
    object: Option<String>,
}

pub(super) fn main(args: Vec<String>) -> u8 {
    match parse(args).and_then(prepare) {
        Ok((upload, file)) => finish("mpipe", run(&upload, file)),
        Err(error) => usage("mpipe", &error, HELP),
    }
}

fn parse(args: Vec<String>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut arguments = Arguments::new("f:pr:H:", args);
    while let Some((letter, value)) = arguments.option()? {
        match letter {
            'f' => options.file = Some(value.into()),
            'p' => options.parents = true,
            'r' => options.reducer = Some(parse_reducer(&value)?),
            _ => options.headers.push(parse_header(&value)?),
        }
    }
    options.object = arguments.operand("object")?;
    Ok(options)
}

fn prepare(options: Options) -> Result<(Upload, Option<PathBuf>), String> {
    let parents = options.parents || options.object.is_none();
    let object = match options.object {
        Some(object) => whole_name(&object)?,
        None => output_name()?,
    };
    if let Some(file) = &options.file
        && !file.metadata().is_ok_and(|metadata| metadata.is_file())
    {
        return Err(format!("not a regular file: {}", file.display()));
    }
    let mut upload = Upload {
        object,
        parents,
        headers: options.headers,
    };
    upload.emit(options.reducer);
    Ok((upload, options.file))
}

fn run(upload: &Upload, file: Option<PathBuf>) -> Result<(), BoxError> {
    let staging;
    let file = match &file {
        Some(file) => file,
        None => {
            staging = stage().map_err(|error| format!("cannot save stdin: {error}"))?;
            staging.path()
        }
    };
    block_on(upload.store(&local_manta(), file))?;
    print(&upload.object);
    Ok(())
}

fn stage() -> io::Result<Staging> {
    let (staging, mut file) = Staging::create("mpipe", "")?;
    say(&format!("saving stdin to {}", staging.path().display()));
    io::copy(&mut io::stdin().lock(), &mut file)?;
    Ok(staging)
}

#[expect(clippy::print_stdout, reason = "the name is the tool's result")]
fn print(object: &str) {
    println!("{object}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(args: &[&str]) -> Result<Options, String> {
        parse(args.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn options_are_read_like_getopt_does() {
        let options = args(&["-pr3", "-f", "/x", "-H", "m-a: b c", "/u/stor/y"]).unwrap();
        assert!(options.parents);
        assert_eq!(options.reducer, Some(3));
        assert_eq!(options.file, Some("/x".into()));
        assert_eq!(options.headers, [parse_header("m-a:b c").unwrap()]);
        assert_eq!(options.object.as_deref(), Some("/u/stor/y"));
        assert_eq!(args(&[]).unwrap(), Options::default());
    }

    #[test]
    fn wrong_usage_is_refused() {
        for bad in [
            &["-x"][..],
            &["-f"],
            &["-r", "a"],
            &["-H", "nocolon"],
            &["/a", "/b"],
        ] {
            assert!(args(bad).is_err(), "{bad:?}");
        }
    }
}
