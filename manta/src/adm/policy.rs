//! `manta adm policy`: named lists of rules.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use mahi::admin::{Client, CreatePolicy, Done, PolicyView};

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  manta adm policy create jill read 'CAN getobject AND getdirectory'
  manta adm policy create jill inbox 'CAN putobject /jill/stor/in/* WHEN sourceip = 10.0.0.0/8'
  manta adm policy set jill read --file rules.txt")]
pub(crate) enum Command {
    /// Make a policy
    #[command(after_help = "Examples:
  manta adm policy create jill read 'CAN getobject' 'CAN getdirectory'")]
    Create {
        account: String,
        policy: String,
        #[command(flatten)]
        rules: Rules,
    },
    /// Put other rules in place of those a policy has
    #[command(after_help = "Examples:
  manta adm policy set jill read --file rules.txt")]
    Set {
        account: String,
        policy: String,
        #[command(flatten)]
        rules: Rules,
    },
    /// Print the policies, a line each: name, id, number of rules
    #[command(after_help = "Examples:
  manta adm policy list jill")]
    List { account: String },
    /// Print the rules of a policy, a line each
    #[command(after_help = "Examples:
  manta adm policy show jill read")]
    Show { account: String, policy: String },
    /// Take a policy away, from all roles too
    #[command(after_help = "Examples:
  manta adm policy rm jill read")]
    Rm { account: String, policy: String },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rules {
    /// Rules, such as 'CAN getobject'
    #[arg(value_name = "RULE", required_unless_present = "file")]
    rules: Vec<String>,
    /// Read rules from a file, one on each line that is neither empty nor begins with #
    #[arg(long, value_name = "FILE", conflicts_with = "rules")]
    file: Option<PathBuf>,
}

impl Rules {
    fn read(self) -> Result<Vec<String>> {
        let Some(file) = self.file else {
            return Ok(self.rules);
        };
        let text = std::fs::read_to_string(&file);
        let text = text.with_context(|| format!("read {}", file.display()))?;
        let lines = text.lines().map(str::trim);
        let rules = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(rules.map(str::to_owned).collect())
    }
}

pub(crate) async fn run(client: &Client, command: Command) -> Result<()> {
    match command {
        Command::Create {
            account,
            policy,
            rules,
        } => {
            let rules = rules.read()?;
            let new = CreatePolicy {
                name: policy,
                rules,
            };
            client.create_policy(&account, &new).await?;
        }
        Command::Set {
            account,
            policy,
            rules,
        } => {
            let Done {} = client.set_rules(&account, &policy, &rules.read()?).await?;
        }
        Command::List { account } => client.policies(&account).await?.iter().for_each(print_line),
        Command::Show { account, policy } => {
            let policies = client.policies(&account).await?;
            let Some(policy) = policies.iter().find(|known| known.name == policy) else {
                bail!("account {account} has no policy {policy}");
            };
            policy.rules.iter().for_each(|rule| println!("{rule}"));
        }
        Command::Rm { account, policy } => {
            let Done {} = client.remove_policy(&account, &policy).await?;
        }
    }
    Ok(())
}

fn print_line(policy: &PolicyView) {
    let rules = match policy.rules.len() {
        1 => "1 rule".to_owned(),
        count => format!("{count} rules"),
    };
    println!("{}\t{}\t{rules}", policy.name, policy.id);
}
