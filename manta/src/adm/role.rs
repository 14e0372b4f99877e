//! `manta adm role`: roles, their policies and their members.

use anyhow::{Result, bail};
use mahi::admin::{AddMember, Client, CreateRole, Done, MemberName, MemberView, RoleView};

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  manta adm role create jill guest --policy read
  manta adm role add jill guest --user bob --default
  manta adm role add jill guest --account carol    # another account; it says \"Role: guest\"
  mchmod +guest ~~/stor/a                          # lets guests at what their rules do not name")]
pub(crate) enum Command {
    /// Make a role
    #[command(after_help = "Examples:
  manta adm role create jill guest --policy read")]
    Create {
        account: String,
        role: String,
        /// Attach a policy; may be repeated
        #[arg(long = "policy", value_name = "POLICY")]
        policies: Vec<String>,
    },
    /// Print the roles, a line each: name, id, policies, number of members
    #[command(after_help = "Examples:
  manta adm role list jill")]
    List { account: String },
    /// Print everything about a role
    #[command(after_help = "Examples:
  manta adm role show jill guest")]
    Show { account: String, role: String },
    /// Take a role away, from all who hold it
    #[command(after_help = "Examples:
  manta adm role rm jill guest")]
    Rm { account: String, role: String },
    /// Let a role carry a policy
    #[command(after_help = "Examples:
  manta adm role attach jill guest read")]
    Attach {
        account: String,
        role: String,
        policy: String,
    },
    /// Take a policy from a role
    #[command(after_help = "Examples:
  manta adm role detach jill guest read")]
    Detach {
        account: String,
        role: String,
        policy: String,
    },
    /// Give a role to a member
    #[command(after_help = "Examples:
  manta adm role add jill guest --user bob --default
  manta adm role add jill guest --account carol")]
    Add {
        account: String,
        role: String,
        #[command(flatten)]
        member: Member,
        /// Active in requests that name no roles; without it, such a membership becomes an ordinary one
        #[arg(long)]
        default: bool,
    },
    /// Take a role from a member
    #[command(after_help = "Examples:
  manta adm role remove jill guest --user bob")]
    Remove {
        account: String,
        role: String,
        #[command(flatten)]
        member: Member,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Member {
    /// A subuser of the account
    #[arg(long = "user", value_name = "LOGIN")]
    user: Option<String>,
    /// Another account
    #[arg(long = "account", value_name = "LOGIN", id = "member_account")]
    other: Option<String>,
}

impl Member {
    fn name(self) -> Result<MemberName> {
        match (self.user, self.other) {
            (Some(user), None) => Ok(MemberName::User(user)),
            (None, Some(account)) => Ok(MemberName::Account(account)),
            _ => bail!("give either --user or --account"),
        }
    }
}

pub(crate) async fn run(client: &Client, command: Command) -> Result<()> {
    match command {
        Command::Create {
            account,
            role,
            policies,
        } => {
            let new = CreateRole {
                name: role,
                policies,
            };
            client.create_role(&account, &new).await?;
        }
        Command::List { account } => client.roles(&account).await?.iter().for_each(print_line),
        Command::Show { account, role } => {
            let roles = client.roles(&account).await?;
            let Some(role) = roles.iter().find(|known| known.name == role) else {
                bail!("account {account} has no role {role}");
            };
            print_all(role);
        }
        Command::Rm { account, role } => {
            let Done {} = client.remove_role(&account, &role).await?;
        }
        Command::Attach {
            account,
            role,
            policy,
        } => {
            let Done {} = client.attach_policy(&account, &role, &policy).await?;
        }
        Command::Detach {
            account,
            role,
            policy,
        } => {
            let Done {} = client.detach_policy(&account, &role, &policy).await?;
        }
        Command::Add {
            account,
            role,
            member,
            default,
        } => {
            let member = member.name()?;
            let add = AddMember { member, default };
            client.add_member(&account, &role, &add).await?;
        }
        Command::Remove {
            account,
            role,
            member,
        } => {
            let member = member.name()?;
            let Done {} = client.remove_member(&account, &role, &member).await?;
        }
    }
    Ok(())
}

fn print_line(role: &RoleView) {
    let members = match role.users.len() + role.accounts.len() {
        1 => "1 member".to_owned(),
        count => format!("{count} members"),
    };
    let policies = role.policies.join(", ");
    println!("{}\t{}\t{policies}\t{members}", role.name, role.id);
}

fn print_all(role: &RoleView) {
    println!("name\t{}\nid\t{}", role.name, role.id);
    for policy in &role.policies {
        println!("policy\t{policy}");
    }
    let print = |kind: &str, members: &[MemberView]| {
        for member in members {
            let default = if member.default { "\tdefault" } else { "" };
            println!("{kind}\t{}{default}", member.login);
        }
    };
    print("user", &role.users);
    print("account", &role.accounts);
}
