//! `manta adm account`: accounts, their groups and keys.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use libmanta::Login;
use mahi::Groups;
use mahi::admin::{AccountView, Client, CreateAccount};

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  manta adm account create jill
  manta adm account key add jill ~jill/.ssh/id_rsa.pub")]
pub(crate) enum Command {
    /// Make an account
    #[command(after_help = "Examples:
  manta adm account create jill
  manta adm account create --operator admin")]
    Create {
        login: String,
        /// May read and write everything
        #[arg(long)]
        operator: bool,
    },
    /// Print the accounts, a line each: login, id, "operator" if it is one, number of keys
    #[command(after_help = "Examples:
  manta adm account list")]
    List,
    /// Print everything about an account
    #[command(after_help = "Examples:
  manta adm account show jill")]
    Show { login: String },
    /// Refuse all requests of an account, and all requests for what it owns but an operator's
    #[command(after_help = "Examples:
  manta adm account block jill")]
    Block { login: String },
    /// Let a blocked account in again
    #[command(after_help = "Examples:
  manta adm account unblock jill")]
    Unblock { login: String },
    /// Put an account into a group, or take it out
    #[command(after_help = "Examples:
  manta adm account group reports --add readers
  manta adm account group jill --add role-operators --rm operators")]
    Group {
        login: String,
        #[arg(long, value_enum)]
        add: Vec<Group>,
        #[arg(long, value_enum)]
        rm: Vec<Group>,
    },
    /// Allow or forbid links to what an account owns
    #[command(after_help = "Examples:
  manta adm account snaplinks jill forbid")]
    Snaplinks {
        login: String,
        #[arg(value_enum)]
        state: Snaplinks,
    },
    /// The public keys that may sign for an account
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Group {
    /// May read and write everything
    Operators,
    /// As operators, but only in requests that say "Role: _operator"
    RoleOperators,
    /// May read everything
    Readers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Snaplinks {
    Allow,
    Forbid,
}

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  manta adm account key add jill ~jill/.ssh/id_rsa.pub")]
pub(crate) enum KeyCommand {
    /// Let a public key sign for an account
    #[command(after_help = "Examples:
  manta adm account key add jill ~jill/.ssh/id_rsa.pub")]
    Add {
        login: String,
        /// File with the key in OpenSSH form (id_rsa.pub)
        file: PathBuf,
    },
    /// Take a key away
    #[command(after_help = "Examples:
  manta adm account key rm jill c1:0a:8f:65:cd:2d:49:c6:b8:b0:dc:f6:9a:a2:34:38")]
    Rm {
        login: String,
        /// MD5 or SHA256 fingerprint
        fingerprint: String,
    },
}

pub(crate) async fn run(client: &Client, command: Command) -> Result<()> {
    let approved = |approved| Groups {
        approved: Some(approved),
        ..Groups::default()
    };
    match command {
        Command::Create { login, operator } => {
            let Some(login) = Login::parse(&login) else {
                bail!(
                    "\"{login}\" is not a login: a letter, then letters, digits, _ - . @; 2 to 64"
                );
            };
            let new = CreateAccount {
                login: login.to_string(),
                operator,
            };
            print_line(&client.create_account(&new).await?);
        }
        Command::List => client.accounts().await?.iter().for_each(print_line),
        Command::Show { login } => print_all(&client.account(&login).await?),
        Command::Block { login } => drop(client.set_groups(&login, &approved(false)).await?),
        Command::Unblock { login } => drop(client.set_groups(&login, &approved(true)).await?),
        Command::Group { login, add, rm } => {
            let groups = groups(&add, &rm)?;
            print_all(&client.set_groups(&login, &groups).await?);
        }
        Command::Snaplinks { login, state } => {
            let groups = Groups {
                snaplinks_disabled: Some(state == Snaplinks::Forbid),
                ..Groups::default()
            };
            client.set_groups(&login, &groups).await?;
        }
        Command::Key(KeyCommand::Add { login, file }) => {
            let key = read_key(&file)?;
            println!("{}", client.add_key(&login, None, &key).await?.fingerprint);
        }
        Command::Key(KeyCommand::Rm { login, fingerprint }) => {
            client.remove_key(&login, None, &fingerprint).await?;
        }
    }
    Ok(())
}

pub(crate) fn read_key(file: &Path) -> Result<String> {
    let key = std::fs::read_to_string(file);
    let key = key.with_context(|| format!("read {}", file.display()))?;
    Ok(key.trim().to_owned())
}

fn groups(add: &[Group], rm: &[Group]) -> Result<Groups> {
    let wanted = |group| match (add.contains(&group), rm.contains(&group)) {
        (true, true) => bail!("a group cannot be both added and taken away"),
        (true, false) => Ok(Some(true)),
        (false, true) => Ok(Some(false)),
        (false, false) => Ok(None),
    };
    if add.is_empty() && rm.is_empty() {
        bail!("nothing to change: give --add or --rm");
    }
    Ok(Groups {
        operator: wanted(Group::Operators)?,
        role_operator: wanted(Group::RoleOperators)?,
        reader: wanted(Group::Readers)?,
        ..Groups::default()
    })
}

fn print_line(account: &AccountView) {
    let operator = if account.operator { "operator" } else { "-" };
    let keys = match account.keys.len() {
        1 => "1 key".to_owned(),
        count => format!("{count} keys"),
    };
    println!("{}\t{}\t{operator}\t{keys}", account.login, account.id);
}

fn print_all(account: &AccountView) {
    let groups: Vec<&str> = [
        (account.operator, "operators"),
        (account.role_operator, "role-operators"),
        (account.reader, "readers"),
    ]
    .into_iter()
    .filter_map(|(is, name)| is.then_some(name))
    .collect();
    println!("login\t{}", account.login);
    println!("id\t{}", account.id);
    println!(
        "state\t{}",
        if account.approved {
            "active"
        } else {
            "blocked"
        }
    );
    println!("groups\t{}", groups.join(", "));
    let snaplinks = if account.snaplinks_disabled {
        "forbidden"
    } else {
        "allowed"
    };
    println!("snaplinks\t{snaplinks}");
    for key in &account.keys {
        println!("key\t{}", key.fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_added_and_taken_away() {
        let changed = groups(&[Group::Readers], &[Group::Operators]).unwrap();
        let expected = Groups {
            operator: Some(false),
            reader: Some(true),
            ..Groups::default()
        };
        assert_eq!(changed, expected);
        assert!(groups(&[], &[]).is_err());
        assert!(groups(&[Group::Readers], &[Group::Readers]).is_err());
    }
}
