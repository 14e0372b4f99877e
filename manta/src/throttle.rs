//! How much may be asked of the store: as the configuration says it, and changed while it runs by
//! `manta adm throttle`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use libmanta::Login;
use mahi::admin::{Client, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where the running store shows and takes these settings on the operator's socket.
const PATH: &str = "/throttle";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Throttle {
    pub(crate) concurrency: usize,
    pub(crate) queue_max: usize,
    pub(crate) all: Rates,
    pub(crate) each: Rates,
    /// By login.
    #[serde(default)]
    pub(crate) accounts: BTreeMap<String, Rates>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rates {
    requests_per_s: u32,
    reads_per_s: u32,
    writes_per_s: u32,
    jobs_per_s: u32,
}

impl Throttle {
    pub(crate) fn check(&self) -> Result<()> {
        for login in self.accounts.keys() {
            ensure!(
                Login::parse(login).is_some(),
                "throttle.accounts: \"{login}\" is not a login"
            );
        }
        Ok(())
    }
}

impl From<&Throttle> for muskie::Throttle {
    fn from(settings: &Throttle) -> Self {
        let rates = |rates: &Rates| muskie::Rates {
            requests: rates.requests_per_s,
            reads: rates.reads_per_s,
            writes: rates.writes_per_s,
            jobs: rates.jobs_per_s,
        };
        let accounts = settings.accounts.iter();
        Self {
            concurrency: settings.concurrency,
            queue_max: settings.queue_max,
            all: rates(&settings.all),
            each: rates(&settings.each),
            accounts: accounts
                .map(|(login, own)| (login.clone(), rates(own)))
                .collect(),
        }
    }
}

impl From<muskie::Throttle> for Throttle {
    fn from(settings: muskie::Throttle) -> Self {
        let rates = |rates: muskie::Rates| Rates {
            requests_per_s: rates.requests,
            reads_per_s: rates.reads,
            writes_per_s: rates.writes,
            jobs_per_s: rates.jobs,
        };
        let accounts = settings.accounts.into_iter();
        Self {
            concurrency: settings.concurrency,
            queue_max: settings.queue_max,
            all: rates(settings.all),
            each: rates(settings.each),
            accounts: accounts.map(|(login, own)| (login, rates(own))).collect(),
        }
    }
}

/// The store's side of the socket: what is asked about the throttle; `None` for anything else.
pub(crate) fn answer(
    front_end: &muskie::Handle,
    method: &http::Method,
    path: &str,
    body: &[u8],
) -> Option<Result<Value, Refusal>> {
    if path != PATH {
        return None;
    }
    let shown = |throttle: muskie::Throttle| {
        serde_json::to_value(Throttle::from(throttle)).map_err(|error| bad(error.to_string()))
    };
    match *method {
        http::Method::GET => Some(shown(front_end.throttle())),
        http::Method::PUT => Some(set(front_end, body).and_then(|()| shown(front_end.throttle()))),
        _ => None,
    }
}

fn set(front_end: &muskie::Handle, body: &[u8]) -> Result<(), Refusal> {
    let wanted: Throttle = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    wanted.check().map_err(|error| bad(error.to_string()))?;
    front_end.set_throttle((&wanted).into());
    tracing::info!(throttle = ?wanted, "throttle changed");
    Ok(())
}

fn bad(message: String) -> Refusal {
    Refusal {
        code: "BadRequest".to_owned(),
        message,
    }
}

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  manta adm throttle show
  manta adm throttle set each.requests_per_s=100")]
pub(crate) enum Command {
    /// Print what is in force, a setting a line; 0 is no limit
    #[command(after_help = "Examples:
  manta adm throttle show")]
    Show,
    /// Change settings at once, until the store is started again or told to read its configuration (SIGHUP)
    #[command(after_help = "Examples:
  manta adm throttle set each.requests_per_s=100 accounts.jill.writes_per_s=5
  manta adm throttle set accounts.jill=default")]
    Set {
        /// As `show` prints them; `accounts.LOGIN=default` takes away what an account has of its own
        #[arg(required = true, value_name = "NAME=VALUE")]
        settings: Vec<String>,
    },
}

/// The operator's side of the socket.
pub(crate) async fn run(client: &Client, command: Command) -> Result<()> {
    let mut throttle: Map<String, Value> = client.ask(http::Method::GET, PATH, None::<&()>).await?;
    if let Command::Set { settings } = command {
        for setting in &settings {
            change(&mut throttle, setting)?;
        }
        throttle = client.ask(http::Method::PUT, PATH, Some(&throttle)).await?;
    }
    for line in lines("", &throttle) {
        println!("{line}");
    }
    Ok(())
}

fn lines(above: &str, table: &Map<String, Value>) -> Vec<String> {
    let line = |(name, value): (&String, &Value)| match value {
        Value::Object(below) => lines(&format!("{above}{name}."), below),
        value => vec![format!("{above}{name}={value}")],
    };
    table.iter().flat_map(line).collect()
}

fn change(throttle: &mut Map<String, Value>, setting: &str) -> Result<()> {
    let (name, value) = setting
        .split_once('=')
        .with_context(|| format!("\"{setting}\" is not NAME=VALUE"))?;
    let own = name.strip_prefix("accounts.");
    if let Some(login) = own.filter(|_| value == "default") {
        table(throttle, "accounts")?.remove(login);
        return Ok(());
    }
    let value: u32 = value
        .parse()
        .with_context(|| format!("\"{value}\" is not a number"))?;
    let value = Value::from(value);
    let (section, name) = match own {
        // A login may have dots in it, the name of a rate has none.
        Some(own) => {
            let (login, name) = own
                .rsplit_once('.')
                .with_context(|| format!("\"{setting}\" does not say which rate"))?;
            (table(table(throttle, "accounts")?, login)?, name)
        }
        None => match name.split_once('.') {
            Some((section @ ("all" | "each"), name)) => (table(throttle, section)?, name),
            Some(_) => bail!("there is no setting \"{name}\""),
            None => (throttle, name),
        },
    };
    section.insert(name.to_owned(), value);
    Ok(())
}

fn table<'a>(above: &'a mut Map<String, Value>, name: &str) -> Result<&'a mut Map<String, Value>> {
    let value = above
        .entry(name)
        .or_insert_with(|| Value::Object(Map::new()));
    value
        .as_object_mut()
        .with_context(|| format!("{name} is not a section"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(throttle: &Throttle) -> Map<String, Value> {
        serde_json::to_value(throttle)
            .unwrap()
            .as_object()
            .unwrap()
            .clone()
    }

    fn changed(settings: &[&str]) -> Result<Throttle> {
        let mut table = object(&Throttle::default());
        for setting in settings {
            change(&mut table, setting)?;
        }
        let throttle: Throttle = serde_json::from_value(Value::Object(table))?;
        throttle.check()?;
        Ok(throttle)
    }

    #[test]
    fn settings_are_changed_by_name() {
        let throttle = changed(&[
            "concurrency=50",
            "all.requests_per_s=1000",
            "each.reads_per_s=7",
            "accounts.j.ill@x.y.writes_per_s=3",
            "accounts.bob.jobs_per_s=1",
            "accounts.bob=default",
        ])
        .unwrap();
        assert_eq!(throttle.concurrency, 50);
        assert_eq!(throttle.all.requests_per_s, 1000);
        assert_eq!(throttle.each.reads_per_s, 7);
        let jill = Rates {
            writes_per_s: 3,
            ..Rates::default()
        };
        assert_eq!(throttle.accounts, [("j.ill@x.y".to_owned(), jill)].into());
        // There and back again.
        let inside = muskie::Throttle::from(&throttle);
        assert_eq!(Throttle::from(inside), throttle);
        let shown = lines("", &object(&throttle));
        assert!(shown.contains(&"accounts.j.ill@x.y.writes_per_s=3".to_owned()));
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for setting in [
            "",
            "concurrency",
            "concurrency=many",
            "concurrency=-1",
            "nothing=1",
            "some.requests_per_s=1",
            "each.bytes_per_s=1",
            "accounts.bob=1",
            "accounts.1.jobs_per_s=1",
        ] {
            assert!(changed(&[setting]).is_err(), "{setting}");
        }
    }
}
