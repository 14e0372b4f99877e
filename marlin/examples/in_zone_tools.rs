//! The in-zone tools as a program of their own, for the tests of this crate; users get them in `manta`.
//! Which tool it is follows from the name it is called by.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let name = Path::new(&name)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let args: Vec<OsString> = args.collect();
    marlin::tools::run(&name, &args)
}
