//! `mcat [-p PORT] [-r INDEX] OBJECT...`: emits the names of objects as outputs of the task, without copying.

use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};

use crate::front_door::{BoxError, FrontDoor, FrontDoorError, empty, encode_path};
use crate::tools::arguments::Arguments;
use crate::tools::{block_on, expand, finish, local_manta, parse_reducer, usage};

const HELP: &str = "usage: mcat [-p PORT] [-r INDEX] OBJECT...";

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    /// Where the local Manta is, if not where the zone says.
    port: Option<u16>,
    reducer: Option<u32>,
    objects: Vec<String>,
}

pub(super) fn main(args: Vec<String>) -> u8 {
    match parse(args) {
        Ok(options) => finish("mcat", block_on(run(options))),
        Err(error) => usage("mcat", &error, HELP),
    }
}

fn parse(args: Vec<String>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut arguments = Arguments::new("p:r:", args);
    while let Some((letter, value)) = arguments.option()? {
        match letter {
            'p' => {
                let port = value.parse();
                options.port =
                    Some(port.map_err(|_| format!("port must be a number: \"{value}\""))?);
            }
            _ => options.reducer = Some(parse_reducer(&value)?),
        }
    }
    options.objects = arguments.operands();
    if options.objects.is_empty() {
        return Err("missing object".to_owned());
    }
    Ok(options)
}

async fn run(options: Options) -> Result<(), BoxError> {
    let manta = match options.port {
        Some(port) => FrontDoor::new(&format!("http://localhost:{port}/")),
        None => local_manta(),
    };
    for object in &options.objects {
        let status = emit(&manta, &expand(object), options.reducer).await?;
        if status != StatusCode::NO_CONTENT {
            return Err(format!("server returned {}", status.as_u16()).into());
        }
    }
    Ok(())
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
        .header(CONTENT_LENGTH, 0);
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
        assert_eq!(args(&["-p81", "/a"]).unwrap().port, Some(81));
        assert_eq!(args(&["--", "-x"]).unwrap().objects, ["-x"]);
    }

    #[test]
    fn wrong_usage_is_refused() {
        for bad in [
            &[][..],
            &["-r"],
            &["-r", "x", "/a"],
            &["-q", "/a"],
            &["-p", "x", "/a"],
        ] {
            assert!(args(bad).is_err(), "{bad:?}");
        }
    }
}
