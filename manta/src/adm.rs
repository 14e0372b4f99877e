//! `manta adm`: the operator's commands, spoken to a running store over the socket in its data directory. Only images
//! come and go beside the store.

mod account;
pub(crate) mod image;
mod policy;
mod restart;
mod role;
mod user;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use mahi::admin::Client;

use crate::throttle;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  manta adm account list
  manta adm --data-dir /srv/manta account create jill")]
pub(crate) struct Arguments {
    /// Data directory of the store
    #[arg(long, value_name = "DIR", default_value = "./manta-data")]
    data_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Images that jobs may ask for
    #[command(subcommand)]
    Image(image::Command),
    #[command(flatten)]
    OfStore(OfStore),
}

/// Told to a store that is running.
#[derive(Debug, clap::Subcommand)]
enum OfStore {
    /// Accounts, their groups and keys
    #[command(subcommand)]
    Account(account::Command),
    /// Subusers of an account, and their keys
    #[command(subcommand)]
    User(user::Command),
    /// Policies: rules about who may do what to what
    #[command(subcommand)]
    Policy(policy::Command),
    /// Roles: which policies they carry, and who holds them
    #[command(subcommand)]
    Role(role::Command),
    /// Start a part of the store anew
    #[command(subcommand)]
    Restart(restart::Command),
    /// How much may be asked of the store in a second, and at once
    #[command(subcommand)]
    Throttle(throttle::Command),
}

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let command = match arguments.command {
        Command::Image(command) => return image::run(&arguments.data_dir, command),
        Command::OfStore(command) => command,
    };
    let socket = arguments.data_dir.join("admin.sock");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = connect(&socket)?;
        match command {
            OfStore::Account(command) => account::run(&client, command).await,
            OfStore::User(command) => user::run(&client, command).await,
            OfStore::Policy(command) => policy::run(&client, command).await,
            OfStore::Role(command) => role::run(&client, command).await,
            OfStore::Restart(command) => restart::run(&client, command).await,
            OfStore::Throttle(command) => throttle::run(&client, command).await,
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
