//! `manta adm`: the operator's commands, spoken to a running store over the socket in its data directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use libmanta::Login;
use mahi::admin::{AccountView, Client, CreateAccount};

use crate::throttle;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Data directory of the store
    #[arg(long, value_name = "DIR", default_value = "./manta-data")]
    data_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Accounts and their keys
    #[command(subcommand)]
    Account(AccountCommand),
    /// How much may be asked of the store in a second, and at once
    #[command(subcommand)]
    Throttle(throttle::Command),
}

#[derive(Debug, clap::Subcommand)]
enum AccountCommand {
    /// Make an account
    Create {
        login: String,
        /// May read and write everything
        #[arg(long)]
        operator: bool,
    },
    /// Print the accounts, a line each: login, id, "operator" if it is one, number of keys
    List,
    /// The public keys that may sign for an account
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Debug, clap::Subcommand)]
enum KeyCommand {
    /// Let a public key sign for an account
    Add {
        login: String,
        /// File with the key in OpenSSH form (id_rsa.pub)
        file: PathBuf,
    },
    /// Take a key away
    Rm {
        login: String,
        /// MD5 or SHA256 fingerprint
        fingerprint: String,
    },
}

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let socket = arguments.data_dir.join("admin.sock");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = connect(&socket)?;
        match arguments.command {
            Command::Account(command) => account(&client, command).await,
            Command::Throttle(command) => throttle::run(&client, command).await,
        }
    })
}

fn connect(socket: &Path) -> Result<Client> {
    if !socket.exists() {
        bail!(
            "no store is running over this data directory ({} is missing)",
            socket.display()
        );
    }
    Ok(Client::new(socket))
}

async fn account(client: &Client, command: AccountCommand) -> Result<()> {
    match command {
        AccountCommand::Create { login, operator } => {
            let Some(login) = Login::parse(&login) else {
                bail!(
                    "\"{login}\" is not a login: a letter, then letters, digits, _ - . @; 2 to 64"
                );
            };
            let new = CreateAccount {
                login: login.to_string(),
                operator,
            };
            print_account(&client.create_account(&new).await?);
        }
        AccountCommand::List => client.accounts().await?.iter().for_each(print_account),
        AccountCommand::Key(KeyCommand::Add { login, file }) => {
            let key = std::fs::read_to_string(&file)
                .with_context(|| format!("read {}", file.display()))?;
            println!(
                "{}",
                client.add_key(&login, None, key.trim()).await?.fingerprint
            );
        }
        AccountCommand::Key(KeyCommand::Rm { login, fingerprint }) => {
            client.remove_key(&login, None, &fingerprint).await?;
        }
    }
    Ok(())
}

fn print_account(account: &AccountView) {
    let operator = if account.operator { "operator" } else { "-" };
    let keys = match account.keys.len() {
        1 => "1 key".to_owned(),
        count => format!("{count} keys"),
    };
    println!("{}\t{}\t{operator}\t{keys}", account.login, account.id);
}
