//! `mtee [-c COPIES] [-H 'NAME: VALUE']... OBJECT`: copies its standard input to its standard output and into
//! an object, which is no output of the task.

use std::io::{self, Read, Write};

use http::{HeaderName, HeaderValue};

use crate::front_door::BoxError;
use crate::tools::arguments::Arguments;
use crate::tools::upload::{Staging, Upload, parse_header};
use crate::tools::{block_on, finish, local_manta, usage, whole_name};

const HELP: &str = "usage: mtee [-c COPIES] [-H 'NAME: VALUE']... OBJECT";
/// Source: marlin.md section 9.4.
const COPIES: u32 = 2;
/// Small enough that whoever reads our output does not wait for it.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) fn main(args: Vec<String>) -> u8 {
    match parse(args) {
        Ok(upload) => finish("mtee", run(&upload)),
        Err(error) => usage("mtee", &error, HELP),
    }
}

fn parse(args: Vec<String>) -> Result<Upload, String> {
    let mut copies = COPIES;
    let mut upload = Upload::default();
    let mut arguments = Arguments::new("c:H:", args);
    while let Some((letter, value)) = arguments.option()? {
        match letter {
            'c' => {
                copies = value
                    .parse()
                    .map_err(|_| format!("copies must be a number: \"{value}\""))?;
            }
            _ => upload.headers.push(parse_header(&value)?),
        }
    }
    let object = arguments.operand("object")?.ok_or("missing object")?;
    upload.object = whole_name(&object)?;
    let name = HeaderName::from_static("x-durability-level");
    upload.headers.push((name, HeaderValue::from(copies)));
    Ok(upload)
}

fn run(upload: &Upload) -> Result<(), BoxError> {
    let staging = copy().map_err(|error| format!("cannot copy stdin: {error}"))?;
    block_on(upload.store(&local_manta(), staging.path()))
}

fn copy() -> io::Result<Staging> {
    let (staging, mut file) = Staging::create("mtee", "")?;
    let mut stdin = io::stdin().lock();
    let mut stdout = io::stdout().lock();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut somebody_reads = true;
    loop {
        let bytes = match stdin.read(&mut chunk) {
            Ok(0) => return Ok(staging),
            Ok(count) => chunk.get(..count).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        file.write_all(bytes)?;
        if somebody_reads {
            match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
                // As for `mtee OBJECT | head`: the object is to be whole all the same.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => somebody_reads = false,
                result => result?,
            }
        }
    }
}
