//! `manta adm user`: the subusers of an account.

use std::path::PathBuf;

use anyhow::{Result, bail};
use mahi::admin::{Client, Done, UserView};

use super::account::read_key;

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  manta adm user create jill bob
  manta adm user key add jill bob ~bob/.ssh/id_ed25519.pub
  manta adm user create jill anonymous     # who signs nothing may do what its default roles allow")]
pub(crate) enum Command {
    /// Make a subuser
    #[command(after_help = "Examples:
  manta adm user create jill bob")]
    Create { account: String, user: String },
    /// Print the subusers, a line each: login, id, number of keys, roles (those in brackets are no defaults)
    #[command(after_help = "Examples:
  manta adm user list jill")]
    List { account: String },
    /// Print everything about a subuser
    #[command(after_help = "Examples:
  manta adm user show jill bob")]
    Show { account: String, user: String },
    /// Take a subuser away, and out of all its roles
    #[command(after_help = "Examples:
  manta adm user rm jill bob")]
    Rm { account: String, user: String },
    /// The public keys that may sign for a subuser
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  manta adm user key add jill bob ~bob/.ssh/id_ed25519.pub")]
pub(crate) enum KeyCommand {
    /// Let a public key sign for a subuser
    #[command(after_help = "Examples:
  manta adm user key add jill bob ~bob/.ssh/id_ed25519.pub")]
    Add {
        account: String,
        user: String,
        /// File with the key in OpenSSH form (id_rsa.pub)
        file: PathBuf,
    },
    /// Take a key away
    #[command(after_help = "Examples:
  manta adm user key rm jill bob SHA256:b7yzE+MoAD6lHLkkKMVlDFu6D/y21iov79Udz4dW6ME")]
    Rm {
        account: String,
        user: String,
        /// MD5 or SHA256 fingerprint
        fingerprint: String,
    },
}

pub(crate) async fn run(client: &Client, command: Command) -> Result<()> {
    match command {
        Command::Create { account, user } => {
            print_line(&client.create_user(&account, &user).await?);
        }
        Command::List { account } => client.users(&account).await?.iter().for_each(print_line),
        Command::Show { account, user } => {
            let users = client.users(&account).await?;
            let Some(user) = users.iter().find(|known| known.login == user) else {
                bail!("account {account} has no subuser {user}");
            };
            println!("login\t{}\nid\t{}", user.login, user.id);
            for key in &user.keys {
                println!("key\t{}", key.fingerprint);
            }
            for role in &user.default_roles {
                println!("role\t{role}\tdefault");
            }
            for role in &user.other_roles {
                println!("role\t{role}");
            }
        }
        Command::Rm { account, user } => {
            let Done {} = client.remove_user(&account, &user).await?;
        }
        Command::Key(KeyCommand::Add {
            account,
            user,
            file,
        }) => {
            let key = read_key(&file)?;
            let added = client.add_key(&account, Some(&user), &key).await?;
            println!("{}", added.fingerprint);
        }
        Command::Key(KeyCommand::Rm {
            account,
            user,
            fingerprint,
        }) => drop(
            client
                .remove_key(&account, Some(&user), &fingerprint)
                .await?,
        ),
    }
    Ok(())
}

fn print_line(user: &UserView) {
    let keys = match user.keys.len() {
        1 => "1 key".to_owned(),
        count => format!("{count} keys"),
    };
    let others = user.other_roles.iter().map(|role| format!("({role})"));
    let roles: Vec<String> = user.default_roles.iter().cloned().chain(others).collect();
    println!("{}\t{}\t{keys}\t{}", user.login, user.id, roles.join(", "));
}
