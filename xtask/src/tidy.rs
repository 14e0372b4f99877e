//! `cargo xtask tidy`: our own rules, dependency arrows first.
//!
//! Each rule returns what is wrong as text, one line for each finding, so that one run shows everything.

mod arrows;
mod files;

use anyhow::{Result, bail};

use crate::tree;

pub(crate) fn run() -> Result<()> {
    let mut findings = arrows::check(&tree::metadata()?)?;
    findings.extend(files::check(&tree::root())?);
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("tidy found {count} things to put right"),
    }
}
