//! `mchmod`: the role tags of objects and directories.
//!
//! Surprise: as the ecosystem's tool does, it sends nothing but the role tags, and the server replaces all
//! metadata by what it is sent. `--keep-metadata`, which is our own, sends the rest along.

use clap::Parser;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use manta_client::{Client, Info, resolve_path};

use super::command::Command;
use super::connection::Connection;
use super::failure::Failure;
use super::kept_metadata::kept_with;

/// Add, remove or set the role tags of objects and directories
#[derive(Debug, Parser)]
#[command(
    name = "mchmod",
    version,
    disable_version_flag = true,
    override_usage = "mchmod [OPTIONS] [--] [+-=]ROLE,... PATH...",
    after_help = "Examples:
  mchmod +readers,writers ~~/stor/book.txt
  mchmod -- -writers ~~/stor/book.txt
  mchmod --keep-metadata =readers ~~/stor/books
  mchmod = ~~/stor/book.txt

A list that begins with - needs -- in front of it. Without --keep-metadata all other metadata is removed."
)]
pub(super) struct Arguments {
    /// Leave other metadata as it is
    #[arg(long)]
    keep_metadata: bool,
    /// + adds roles, - removes them, = makes them the only ones
    #[arg(value_name = "[+-=]ROLE,... PATH...")]
    operands: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operation {
    Add,
    Remove,
    Set,
}

impl Operation {
    fn sign(self) -> char {
        match self {
            Operation::Add => '+',
            Operation::Remove => '-',
            Operation::Set => '=',
        }
    }

    /// The tags afterwards, in the order they had, new ones behind.
    fn apply(self, tags: Vec<String>, roles: &[String]) -> Vec<String> {
        match self {
            Operation::Add => {
                let mut tags = tags;
                for role in roles {
                    if !tags.contains(role) {
                        tags.push(role.clone());
                    }
                }
                tags
            }
            Operation::Remove => tags
                .into_iter()
                .filter(|tag| !roles.contains(tag))
                .collect(),
            Operation::Set => roles.to_vec(),
        }
    }
}

impl Command for Arguments {
    async fn run(self) -> Result<(), Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        let (change, paths) = match self.operands.split_first() {
            None => return usage("path required"),
            Some((change, paths)) => (change, paths),
        };
        let Some((operation, roles)) = parse(change) else {
            return usage("operation should be one of \"+\", \"-\" or \"=\"");
        };
        if paths.is_empty() {
            return usage("path required");
        }
        let client = self.connection.client().await?;
        for path in paths {
            let path = resolve_path(path, client.account())?;
            let info = if operation == Operation::Set && !self.keep_metadata {
                None
            } else {
                Some(look_at(&client, &path, operation).await?)
            };
            let tags = info.as_ref().map(Info::role_tags).unwrap_or_default();
            let tags = operation.apply(tags, &roles).join(",");
            let tags = HeaderValue::from_str(&tags)
                .map_err(|_| Failure::Message(format!("\"{tags}\" cannot be sent")))?;
            let tags = HeaderMap::from_iter([(HeaderName::from_static("role-tag"), tags)]);
            let headers = match &info {
                Some(info) if self.keep_metadata => kept_with(info, &tags),
                _ => tags,
            };
            client.put_metadata(&path, headers).await?;
        }
        Ok(())
    }
}

/// Adding and removing needs to know what is there.
async fn look_at(client: &Client, path: &str, operation: Operation) -> Result<Info, Failure> {
    client.head(path).await.map_err(|error| {
        if error.status() == Some(StatusCode::FORBIDDEN) {
            let sign = operation.sign();
            return Failure::Message(format!("getobject access required for mchmod {sign}"));
        }
        error.into()
    })
}

fn parse(change: &str) -> Option<(Operation, Vec<String>)> {
    let operation = match change.chars().next()? {
        '+' => Operation::Add,
        '-' => Operation::Remove,
        '=' => Operation::Set,
        _ => return None,
    };
    let roles = change[1..].split(',').map(str::trim);
    let roles = roles.filter(|role| !role.is_empty());
    Some((operation, roles.map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(tags: &[&str], change: &str) -> String {
        let (operation, roles) = parse(change).unwrap();
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        operation.apply(tags, &roles).join(",")
    }

    #[test]
    fn tags_are_added_removed_and_set() {
        assert_eq!(changed(&["a", "b"], "+b,c"), "a,b,c");
        assert_eq!(changed(&["a", "b"], "-b,c"), "a");
        assert_eq!(changed(&["a", "b"], "=c, d"), "c,d");
        assert_eq!(changed(&["a"], "="), "");
        assert_eq!(changed(&["a"], "-a"), "");
        assert_eq!(parse("a"), None);
        assert_eq!(parse(""), None);
    }
}
