//! `mcat [-r INDEX] OBJECT...`: emits the names of objects as outputs of the task, without copying.

use http::{Method, StatusCode};

use crate::front_door::{FrontDoor, FrontDoorError, empty, encode_path};
use crate::tools::{FAILURE, USAGE, block_on, expand, local_manta, parse_reducer, say, value_of};

const HELP: &str = "usage: mcat [-r INDEX] OBJECT...";

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    reducer: Option<u32>,
    objects: Vec<String>,
}

pub(super) fn main(args: Vec<String>) -> u8 {
    match parse(args) {
        Ok(options) => block_on("mcat", run(options)),
        Err(error) => {
            say(&format!("mcat: {error}\n{HELP}"));
            USAGE
        }
    }
}

fn parse(args: Vec<String>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            options.objects.extend(args);
            break;
        }
        if let Some(attached) = arg.strip_prefix("-r") {
            options.reducer = Some(parse_reducer(&value_of('r', attached, &mut args)?)?);
        } else if arg.starts_with('-') && arg.len() > 1 {
            return Err(format!("illegal option -- {}", arg.trim_start_matches('-')));
        } else {
            options.objects.push(arg);
        }
    }
    if options.objects.is_empty() {
        return Err("missing object".to_owned());
    }
    Ok(options)
}

async fn run(options: Options) -> u8 {
    let manta = local_manta();
    for object in &options.objects {
        match emit(&manta, &expand(object), options.reducer).await {
            Ok(StatusCode::NO_CONTENT) => {}
            Ok(status) => {
                say(&format!("mcat: server returned {}", status.as_u16()));
                return FAILURE;
            }
            Err(error) => {
                say(&format!("mcat: {error}"));
                return FAILURE;
            }
        }
    }
    0
}

async fn emit(
    manta: &FrontDoor,
    object: &str,
    reducer: Option<u32>,
) -> Result<StatusCode, FrontDoorError> {
    // A name without a leading slash is as wrong as any other; the next phase says so.
    let path = encode_path(object);
    let path = if path.starts_with('/') {
        path
    } else {
        format!("/{path}")
    };
    let mut request = manta
        .request(Method::PUT, &path, None)
        .header("x-manta-reference", "true")
        .header("x-manta-stream", "stdout")
        .header(http::header::CONTENT_LENGTH, 0);
    if let Some(reducer) = reducer {
        request = request.header("x-manta-reducer", reducer);
    }
    match manta.call(request, empty()).await {
        Ok(response) => Ok(response.status()),
        Err(error) => error.status().ok_or(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(args: &[&str]) -> Result<Options, String> {
        parse(args.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn options_and_objects_are_told_apart() {
        let options = args(&["-r1", "/a", "/b"]).unwrap();
        assert_eq!(options.reducer, Some(1));
        assert_eq!(options.objects, ["/a", "/b"]);
        assert_eq!(args(&["-r", "2", "/a"]).unwrap().reducer, Some(2));
        assert_eq!(args(&["--", "-x"]).unwrap().objects, ["-x"]);
    }

    #[test]
    fn wrong_usage_is_refused() {
        for bad in [&[][..], &["-r"], &["-r", "x", "/a"], &["-q", "/a"]] {
            assert!(args(bad).is_err(), "{bad:?}");
        }
    }
}
