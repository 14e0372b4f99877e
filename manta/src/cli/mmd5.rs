//! `mmd5`: the MD5 of objects as the store knows it, in the form of `md5sum`.

use std::num::NonZeroUsize;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use futures_util::StreamExt as _;
use manta_client::{Client, resolve_path};

use super::command::Command;
use super::connection::{Connection, at_least_one};
use super::failure::Failure;
use super::output::Output;

/// Print the MD5 checksums of objects, without reading the objects
#[derive(Debug, Parser)]
#[command(
    name = "mmd5",
    version,
    disable_version_flag = true,
    after_help = "Examples:
  mmd5 ~~/stor/book.txt
  mfind -t o ~~/stor/books | xargs -d '\\n' mmd5"
)]
pub(super) struct Arguments {
    /// Limit concurrent operations
    #[arg(short = 'p', long, value_name = "NUM", default_value = "10")]
    parallel: NonZeroUsize,
    path: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        at_least_one(&self.path)?;
        let client = self.connection.client().await?;
        let paths: Vec<String> = self
            .path
            .iter()
            .map(|path| resolve_path(path, client.account()))
            .collect::<Result<_, _>>()?;
        let mut output = Output::new();
        let mut failed = false;
        let mut sums = futures_util::stream::iter(&paths)
            .map(async |path| (path, checksum(&client, path).await))
            .buffered(self.parallel.get());
        while let Some((path, sum)) = sums.next().await {
            match sum {
                Ok(hex) => output.line(&format!("{hex}  {path}"))?,
                Err(reason) => {
                    failed = true;
                    eprintln!("mmd5: {path}: {reason}");
                }
            }
        }
        output.finish()?;
        if failed {
            return Err(Failure::Reported);
        }
        Ok(())
    }
}

async fn checksum(client: &Client, path: &str) -> Result<String, String> {
    let info = client.head(path).await.map_err(|error| error.line())?;
    if info.is_directory() {
        return Err(format!("{path} is a directory"));
    }
    info.header("content-md5")
        .and_then(hex)
        .ok_or_else(|| "missing MD5".to_owned())
}

/// The header is base64, the output of every checksum tool is hexadecimal.
pub(super) fn hex(base64: &str) -> Option<String> {
    let bytes = STANDARD.decode(base64).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_as_md5sum_does() {
        assert_eq!(
            hex("1B2M2Y8AsgTpgAmY7PhCfg==").as_deref(),
            Some("d41d8cd98f00b204e9800998ecf8427e")
        );
        assert_eq!(hex("not base64"), None);
    }
}
