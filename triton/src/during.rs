//! Names the step of a zone's life that an error happened in.

use std::io;

use libmanta::triton::ZoneError;

pub(crate) fn during(step: &'static str) -> impl Fn(io::Error) -> ZoneError {
    move |source| ZoneError::Io {
        during: step,
        source,
    }
}
