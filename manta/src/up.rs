//! `manta up`: the whole store in one process, until SIGTERM or Ctrl-C.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, IsolationSetting, Overrides, SurfaceSetting};
use crate::store::{Store, UserKeys};
use crate::telemetry;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  manta up
  manta up --data-dir /srv/manta --listen 0.0.0.0:8080 --account jill
  manta up --listen 0.0.0.0:443 --tls-cert chain.pem --tls-key key.pem --listen-insecure 0.0.0.0:80
  manta up --storage /disk1 --storage /disk2 --copies 2 --config manta.toml")]
pub(crate) struct Arguments {
    /// Where everything is kept [default: ./manta-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address of the HTTP API; port 0 means any free port [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Another address, without TLS, for what anybody may overhear: public reads and signed URLs
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen_insecure: Option<SocketAddr>,
    /// Speak TLS with this certificate chain (PEM); read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Which version of Manta to look like: "manta" has jobs and links, "manta2" has not [default: manta]
    #[arg(long, value_name = "manta|manta2", value_enum)]
    surface: Option<SurfaceSetting>,
    /// A directory for copies, each a storage node in an availability zone of its own; repeatable
    /// [default: three below the data directory]
    #[arg(long, value_name = "DIR")]
    storage: Vec<PathBuf>,
    /// Copies of an object whose upload does not say [default: 2]
    #[arg(long, value_name = "N")]
    copies: Option<u8>,
    /// Login of the account made at the first start [default: your user name]
    #[arg(long, value_name = "LOGIN")]
    account: Option<String>,
    /// How jobs are held in: "process" does not hold them in at all, "off" runs none [default: auto]
    #[arg(long, value_name = "auto|process|off", value_enum)]
    isolation: Option<IsolationSetting>,
    /// Settings; etc/embedded.toml documents all of them
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the ready line as one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    telemetry::start("info");
    let json = arguments.json;
    let source = Source {
        file: arguments.config,
        overrides: Overrides {
            data_dir: arguments.data_dir,
            listen: arguments.listen,
            listen_insecure: arguments.listen_insecure,
            tls_cert: arguments.tls_cert,
            tls_key: arguments.tls_key,
            surface: arguments.surface,
            account: arguments.account,
            storage: arguments.storage,
            copies: arguments.copies,
            isolation: arguments.isolation,
        },
    };
    let config = source.load()?;
    if let Err(error) = triton::precedence::take() {
        tracing::info!(%error, "requests may wait for commands in zones");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(serve(config, &source, json))
}

/// Where the settings come from, to read them again.
#[derive(Debug)]
struct Source {
    file: Option<PathBuf>,
    overrides: Overrides,
}

impl Source {
    fn load(&self) -> Result<Config> {
        Config::load(self.file.as_deref(), self.overrides.clone())
    }
}

async fn serve(mut config: Config, source: &Source, json: bool) -> Result<()> {
    // Before the store is up, so that an early signal is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("watch for SIGHUP")?;
    tracing::info!(config = ?config, "starting");
    let wants_jobs = config.jobs.isolation != IsolationSetting::Off;
    let store = Store::start(config.clone(), UserKeys::OfUser).await?;
    let ready = store.ready();
    if json {
        println!("{}", serde_json::to_string(ready)?);
    } else {
        println!(
            "manta is ready at {} for account {}; in a shell: . {}",
            ready.url,
            ready.account,
            ready.data_dir.join("env").display()
        );
    }
    if wants_jobs && let Err(reason) = store.jobs_available() {
        tracing::warn!(reason, "jobs are not available");
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&store, &mut config, source),
        }
    }
    tracing::info!("stopping");
    tokio::select! {
        () = store.shutdown() => tracing::info!("stopped"),
        // Somebody who asks twice does not want to wait.
        _ = terminate.recv() => tracing::warn!("stopped without waiting"),
        _ = interrupt.recv() => tracing::warn!("stopped without waiting"),
    }
    Ok(())
}

/// Reads the settings again. Those that cannot be used leave everything as it is.
fn reload(store: &Store, config: &mut Config, source: &Source) {
    match source.load() {
        Ok(new) => {
            if config.needs_restart_for(&new) {
                tracing::warn!("some of the changed settings count only after a restart");
            }
            store.reload(&new);
            config.throttle = new.throttle;
            tracing::info!("settings read again");
        }
        Err(error) => {
            tracing::error!(
                error = format!("{error:#}"),
                "the settings stay as they are"
            );
        }
    }
}
