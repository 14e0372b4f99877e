//! `mpipe [-f FILE] [-p] [-r INDEX] [-H 'NAME: VALUE']... [OBJECT]`: stores its standard input as an output
//! of the task.
//!
//! Standard input is staged on disk first, because an upload may have to be repeated.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::TryStreamExt;
use http::Method;
use http::header::CONTENT_LENGTH;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio_util::io::ReaderStream;

use crate::front_door::{FrontDoor, FrontDoorError, encode_path};
use crate::tools::{FAILURE, USAGE, block_on, expand, local_manta, parse_reducer, say, value_of};

const HELP: &str = "usage: mpipe [-f FILE] [-p] [-r INDEX] [-H 'NAME: VALUE']... [OBJECT]";
/// Source: marlin.md section 9.2.
const ATTEMPTS: u32 = 3;
const CHUNK_BYTES: usize = 256 * 1024;

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    file: Option<PathBuf>,
    parents: bool,
    reducer: Option<u32>,
    headers: Vec<(String, String)>,
    object: Option<String>,
}

pub(super) fn main(args: Vec<String>) -> u8 {
    let usage = |error: String| {
        say(&format!("mpipe: {error}\n{HELP}"));
        USAGE
    };
    let mut options = match parse(args) {
        Ok(options) => options,
        Err(error) => return usage(error),
    };
    let object = match options.object.take() {
        Some(object) => expand(&object),
        None => match std::env::var("MANTA_OUTPUT_BASE") {
            Ok(base) => {
                options.parents = true;
                format!("{base}{}", uuid::Uuid::new_v4())
            }
            Err(_) => return usage("no object given, and MANTA_OUTPUT_BASE is not set".to_owned()),
        },
    };
    if !object.starts_with('/') {
        return usage(format!("not an absolute name: \"{object}\""));
    }
    if let Some(file) = &options.file
        && !file.metadata().is_ok_and(|metadata| metadata.is_file())
    {
        return usage(format!("not a regular file: {}", file.display()));
    }
    match options.file.take() {
        Some(file) => block_on("mpipe", upload(&options, &object, &file)),
        None => {
            let staging = PathBuf::from(format!("/var/tmp/mpipe.{}", std::process::id()));
            say(&format!("saving stdin to {}", staging.display()));
            let code = match stage(&staging) {
                Ok(()) => block_on("mpipe", upload(&options, &object, &staging)),
                Err(error) => {
                    say(&format!("mpipe: cannot save stdin: {error}"));
                    FAILURE
                }
            };
            let _ = std::fs::remove_file(&staging);
            code
        }
    }
}

fn parse(args: Vec<String>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut objects = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            objects.extend(args);
            break;
        }
        let Some(mut letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            objects.push(arg);
            continue;
        };
        while let Some(letter) = letters.chars().next() {
            letters = letters.get(letter.len_utf8()..).unwrap_or_default();
            match letter {
                'p' => {
                    options.parents = true;
                    continue;
                }
                'f' => options.file = Some(value_of('f', letters, &mut args)?.into()),
                'r' => {
                    options.reducer = Some(parse_reducer(&value_of('r', letters, &mut args)?)?);
                }
                'H' => {
                    let header = value_of('H', letters, &mut args)?;
                    let (name, value) = header
                        .split_once(':')
                        .ok_or_else(|| format!("not a header: \"{header}\""))?;
                    let header = (name.trim().to_owned(), value.trim().to_owned());
                    options.headers.push(header);
                }
                other => return Err(format!("illegal option -- {other}")),
            }
            break;
        }
    }
    if objects.len() > 1 {
        return Err("more than one object".to_owned());
    }
    options.object = objects.pop();
    Ok(options)
}

fn stage(path: &Path) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    io::copy(&mut io::stdin().lock(), &mut file)?;
    Ok(())
}

async fn upload(options: &Options, object: &str, file: &Path) -> u8 {
    let manta = local_manta();
    let mut attempt = 1;
    loop {
        let error = match try_upload(&manta, options, object, file).await {
            Ok(()) => break,
            Err(error) => error,
        };
        if attempt == ATTEMPTS {
            say(&format!("mpipe: {error}"));
            return FAILURE;
        }
        attempt += 1;
        tokio::time::sleep(Duration::from_millis(rand::random_range(1000..3000))).await;
    }
    print(object)
}

#[expect(clippy::print_stdout, reason = "the name is the tool's result")]
fn print(object: &str) -> u8 {
    println!("{object}");
    0
}

async fn try_upload(
    manta: &FrontDoor,
    options: &Options,
    object: &str,
    file: &Path,
) -> Result<(), FrontDoorError> {
    match put(manta, options, object, file).await {
        Err(error) if error.is_missing_directory() && options.parents => {
            make_parents(manta, object).await?;
            put(manta, options, object, file).await
        }
        result => result,
    }
}

async fn put(
    manta: &FrontDoor,
    options: &Options,
    object: &str,
    file: &Path,
) -> Result<(), FrontDoorError> {
    let local = |error: io::Error| FrontDoorError::Transport(error.into());
    let file = tokio::fs::File::open(file).await.map_err(local)?;
    let size = file.metadata().await.map_err(local)?.len();
    let mut request = manta
        .request(Method::PUT, &encode_path(object), None)
        .header("x-manta-stream", "stdout")
        .header(CONTENT_LENGTH, size);
    if let Some(reducer) = options.reducer {
        request = request.header("x-manta-reducer", reducer);
    }
    for (name, value) in &options.headers {
        request = request.header(name, value);
    }
    let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES);
    let frames = chunks.map_ok(Frame::data).map_err(Into::into);
    let body = StreamBody::new(frames).boxed_unsync();
    manta.call(request, body).await.map(drop)
}

/// Makes every directory above the object that can be made; the areas of an account always exist.
async fn make_parents(manta: &FrontDoor, object: &str) -> Result<(), FrontDoorError> {
    let ends = object.match_indices('/').map(|(at, _)| at).skip(3);
    for end in ends {
        let directory = object.get(..end).unwrap_or_default();
        let request = manta
            .request(Method::PUT, &encode_path(directory), None)
            .header(
                http::header::CONTENT_TYPE,
                "application/json; type=directory",
            )
            .header(CONTENT_LENGTH, 0);
        manta.call(request, crate::front_door::empty()).await?;
    }
    Ok(())
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
        assert_eq!(options.headers, [("m-a".to_owned(), "b c".to_owned())]);
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
