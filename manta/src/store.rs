//! The all-in-one store: every role in this process, wired together. The only place that knows who stands
//! behind a port.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use electric_moray::{Ring, Router};
use libmanta::mahi::Identity;
use libmanta::mako::Shark;
use libmanta::moray::{Buckets, DeleteLog, Moray, Namespace};
use libmanta::triton::{Isolation, Zones};
use libmanta::{AccountId, Clock, Login, StorageId, SystemClock};
use mahi::NewAccount;

use uuid::Uuid;

use crate::config::{Config, IsolationSetting, SurfaceSetting};
use crate::data_dir::DataDir;
use crate::environment::{self, Ready};
use crate::keys::{self, Keys};
use crate::{adm, cli, doors, metrics, restarts, throttle};

/// Login of the operator's account.
const OPERATOR: &str = "poseidon";

/// Enough that a later split can move a shard's load in steps of a percent, few enough to write down.
const VNODES: u32 = 1024;

/// Whose key the account gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserKeys {
    /// Those in `~/.ssh`, or one made in the data directory when there is none.
    OfUser,
    /// One made in the data directory.
    Own,
}

/// A running store. Ends with [`shutdown`](Self::shutdown); dropping it ends it hard, as a crash would.
pub(crate) struct Store {
    ready: Ready,
    jobs_available: Result<(), String>,
    front_end: Arc<muskie::Handle>,
    marlin: Arc<marlin::Service>,
    zones: Option<Arc<triton::Host>>,
    collector: Arc<mako::Collector>,
    upkeeper: electric_moray::Upkeeper,
    nodes: Vec<Arc<mako::Store>>,
    admin: mahi::admin::Handle,
    shards: Vec<Arc<moray::Shard>>,
    // Last: the directory stays locked until everything in it is closed.
    _data_dir: DataDir,
}

impl Store {
    /// Opens or makes the data directory and starts every role. When this returns, requests are served.
    pub(crate) async fn start(config: Config, user_keys: UserKeys) -> Result<Self> {
        raise_descriptor_limit();
        let data_dir = DataDir::open(&config.data_dir)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);

        let store_id = data_dir.store_id()?;
        let shards = open_shards(&data_dir, config.metadata.shards.get(), store_id)?;
        let router = open_router(&data_dir, &shards)?;
        let upkeeper = electric_moray::Upkeeper::start(
            Arc::clone(&router),
            electric_moray::UpkeeperConfig::default(),
            Arc::clone(&clock),
        );
        let moray: Arc<dyn Moray> = router.clone();
        let buckets: Arc<dyn Buckets> = router.clone();
        let namespace: Arc<dyn Namespace> = router.clone();
        let delete_log: Arc<dyn DeleteLog> = router.clone();

        let secret = data_dir.secret()?;
        let identity = mahi::Service::open(
            Arc::clone(&buckets),
            mahi::Config {
                auth_token: config
                    .auth_token
                    .as_ref()
                    .map(|keys| keys.keys())
                    .transpose()?,
                ..mahi::Config::new(secret)
            },
            Arc::clone(&clock),
        )
        .await
        .context("open the accounts")?;
        let (login, keys) = open_accounts(&identity, &data_dir, &config, user_keys).await?;

        let nodes = open_storage(&data_dir, &config, store_id)?;
        let sharks: Vec<Arc<dyn Shark>> = nodes
            .iter()
            .map(|node| Arc::clone(node) as Arc<dyn Shark>)
            .collect();
        let housekeeping = &config.housekeeping;
        let collector = Arc::new(mako::Collector::start(
            mako::CollectorConfig {
                grace: Duration::from_millis(housekeeping.delete_grace_ms),
                drain_interval: Duration::from_millis(housekeeping.collect_interval_ms),
                sweep_interval: Duration::from_millis(housekeeping.sweep_interval_ms),
                ..mako::CollectorConfig::default()
            },
            delete_log,
            sharks.clone(),
            Arc::clone(&clock),
        ));

        let doors = doors::open(&config).await?;
        let url = doors.url.clone();

        let bin = data_dir.join("bin");
        let commands: Vec<&str> = cli::COMMANDS
            .iter()
            .chain(marlin::tools::NAMES.iter())
            .copied()
            .collect();
        environment::write_bin(&bin, &commands)?;
        let compute = start_zones(&data_dir, &bin, &config, &identity).await;
        let may_run = job_rule(compute.as_ref().ok(), &identity);
        let zones = compute.map(|compute| compute.host);
        let mut compute = marlin::Config::new(&doors.internal_url, scratch(&data_dir)?);
        compute.node = host_name().into();
        compute.input_idle = Duration::from_millis(config.jobs.input_idle_close_ms);
        compute.hog_grace = Duration::from_millis(config.jobs.hog_grace_ms);
        compute.hog_kill = Duration::from_millis(config.jobs.hog_kill_ms);
        compute.perturb = config.jobs.perturb;
        compute.weights = config.jobs.weights.clone();
        if zones
            .as_ref()
            .is_ok_and(|zones| zones.isolation() == Isolation::Process)
        {
            // Plain processes see the directory where it is.
            compute.tools_dir = bin.display().to_string();
        }
        let marlin = marlin::start(
            compute,
            marlin::Deps {
                zones: zones.clone().map(|host| host as Arc<dyn Zones>),
                buckets,
                namespace,
                identity: identity.clone(),
                sharks: sharks.clone(),
                clock: Arc::clone(&clock),
                may_run,
            },
        )
        .await
        .context("start the supervisor")?;

        let extra_metrics = metrics::exporter(metrics::Sources {
            shards: shards.clone(),
            router,
            nodes: nodes.clone(),
            collector: Arc::clone(&collector),
            marlin: Arc::clone(&marlin),
            zones: zones.clone().ok(),
            clock: Arc::clone(&clock),
        });
        let front_end = Arc::new(doors.first.serve_with(
            doors.others,
            front_end_config(&config)?,
            muskie::Deps {
                moray,
                sharks,
                identity: identity.clone(),
                jobs: marlin.clone(),
                clock,
                extra_metrics,
            },
        ));
        marlin.offer_sessions().await;
        let ready = Ready {
            url,
            insecure_url: doors.insecure_url,
            account: login.to_string(),
            key_id: keys.key_id,
            key_file: keys.key_file,
            data_dir: data_dir.path().to_owned(),
            pid: std::process::id(),
        };
        ready.write_env()?;
        // Its socket says that the store is up.
        let (throttled, restarted) = (Arc::clone(&front_end), Arc::clone(&marlin));
        let others: mahi::admin::Others = Arc::new(move |method, path, body| {
            let (throttled, restarted) = (Arc::clone(&throttled), Arc::clone(&restarted));
            Box::pin(async move {
                match throttle::answer(&throttled, &method, &path, &body) {
                    None => restarts::answer(&restarted, &method, &path).await,
                    answer => answer,
                }
            })
        });
        let socket = data_dir.join("admin.sock");
        let admin = mahi::admin::serve_with(identity, Some(others), &socket)
            .context("open the operator's socket")?;
        Ok(Self {
            ready,
            jobs_available: zones.as_ref().map(|_| ()).map_err(Clone::clone),
            front_end,
            marlin,
            zones: zones.ok(),
            collector,
            upkeeper,
            nodes,
            admin,
            shards,
            _data_dir: data_dir,
        })
    }

    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Why jobs cannot run on this machine, if so.
    pub(crate) fn jobs_available(&self) -> Result<(), &str> {
        match &self.jobs_available {
            Ok(()) => Ok(()),
            Err(reason) => Err(reason),
        }
    }

    /// What the clients need in their environment, `PATH` included.
    pub(crate) fn client_environment(&self) -> Vec<(String, String)> {
        let mut variables: Vec<_> = self
            .ready
            .variables()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        let bin = self.ready.data_dir.join("bin");
        variables.push(("PATH".to_owned(), format!("{}:{path}", bin.display())));
        variables
    }

    /// Takes over what may change while the store runs.
    pub(crate) fn reload(&self, config: &Config) {
        self.front_end.set_throttle((&config.throttle).into());
        self.front_end.reload_tls();
    }

    /// Stops accepting, finishes what is in flight, stops the jobs, closes everything.
    pub(crate) async fn shutdown(self) {
        self.admin.shutdown().await;
        // Before the front end, which it stores and archives through.
        self.marlin.shutdown().await;
        self.front_end.shutdown().await;
        if let Some(zones) = &self.zones {
            zones.shutdown().await;
        }
        self.collector.shutdown().await;
        self.upkeeper.shutdown().await;
        for node in &self.nodes {
            node.close().await;
        }
        for shard in &self.shards {
            shard.close().await;
        }
    }
}

fn open_shards(data_dir: &DataDir, count: usize, store_id: Uuid) -> Result<Vec<Arc<moray::Shard>>> {
    let directory = data_dir.join("metadata");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("create {}", directory.display()))?;
    let may_create = !data_dir.shards_made()?;
    let mut shards = Vec::with_capacity(count);
    for number in 1..=count {
        let path = directory.join(format!("{number}.moray.sqlite"));
        let mut settings = moray::Config::new(format!("{number}.moray.local"), path);
        settings.may_create = may_create;
        settings.store_id = Some(store_id);
        let shard = moray::Shard::open(settings)
            .with_context(|| format!("open metadata shard {number}"))?;
        shards.push(shard);
    }
    if may_create {
        data_dir.note_shards_made()?;
    }
    Ok(shards)
}

fn open_router(data_dir: &DataDir, shards: &[Arc<moray::Shard>]) -> Result<Arc<Router>> {
    let names: Vec<String> = (1..=shards.len())
        .map(|number| format!("{number}.moray.local"))
        .collect();
    let ring = Ring::load_or_create(&data_dir.join("ring.json"), VNODES, &names)
        .context("open the ring")?;
    let shards = shards.iter().map(|shard| Arc::clone(shard) as _).collect();
    Ok(Arc::new(
        Router::new(ring, shards).context("wire the ring to the shards")?,
    ))
}

async fn open_accounts(
    identity: &Arc<mahi::Service>,
    data_dir: &DataDir,
    config: &Config,
    user_keys: UserKeys,
) -> Result<(Login, Keys)> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let ssh = match user_keys {
        UserKeys::OfUser => home.map(|home| home.join(".ssh")),
        UserKeys::Own => None,
    };
    let keys = keys::find(data_dir, ssh.as_deref())?;
    let login = login(data_dir, config.account.as_deref())?;
    let operator = Login::parse(OPERATOR).context("poseidon is a login")?;
    let registered = data_dir.registered_keys()?;
    let new: Vec<_> = keys
        .public
        .iter()
        .filter(|key| !registered.contains(&key.md5_fingerprint()))
        .collect();
    for (login, is_operator) in [(&operator, true), (&login, false)] {
        if identity.account(login.as_str()).await?.is_none() {
            let account = NewAccount {
                login: login.to_string(),
                operator: is_operator,
            };
            identity
                .create_account(account)
                .await
                .context("make an account")?;
        }
        for key in &new {
            identity
                .add_key(login.as_str(), &key.to_openssh())
                .await
                .context("register a key")?;
        }
    }
    // Last, so that a crash before it only makes the next start add the same keys again.
    data_dir.note_registered_keys(registered, new.iter().map(|key| key.md5_fingerprint()))?;
    Ok((login, keys))
}

/// The login chosen at the first start stays, whoever starts the store later.
fn login(data_dir: &DataDir, wanted: Option<&str>) -> Result<Login> {
    let file = data_dir.join("account");
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let login = Login::parse(text.trim())
                .with_context(|| format!("{} does not hold a login", file.display()))?;
            if let Some(wanted) = wanted.filter(|wanted| *wanted != login.as_str()) {
                bail!(
                    "this store was made for account {login}; to add {wanted}: manta adm account create {wanted}"
                );
            }
            Ok(login)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let user = std::env::var("USER").ok();
            let login = wanted
                .or(user.as_deref())
                .and_then(Login::parse)
                .filter(|login| login.as_str() != OPERATOR)
                .or_else(|| Login::parse("manta"))
                .context("manta is a login")?;
            crate::data_dir::publish(&file, format!("{login}\n").as_bytes(), 0o600)?;
            Ok(login)
        }
        Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
    }
}

fn open_storage(
    data_dir: &DataDir,
    config: &Config,
    store_id: Uuid,
) -> Result<Vec<Arc<mako::Store>>> {
    let directories = if config.storage.directories.is_empty() {
        (1..=3)
            .map(|number| data_dir.join("storage").join(number.to_string()))
            .collect()
    } else {
        config.storage.directories.clone()
    };
    let mut nodes = Vec::with_capacity(directories.len());
    let directories = data_dir.storage_dirs(&directories)?;
    for storage in &directories {
        let mut settings = mako::Config::new(
            StorageId::new(&format!("{}.stor.local", storage.number)),
            format!("az{}", storage.number),
            &storage.path,
        );
        settings.utilisation_max_percent = config.storage.utilisation_max_percent;
        settings.may_create = !storage.opened_before;
        settings.store_id = Some(store_id);
        let node = mako::Store::open(settings)
            .with_context(|| format!("open storage directory {}", storage.path.display()))?;
        nodes.push(node);
    }
    data_dir.storage_opened(&directories)?;
    if nodes.len() < usize::from(config.storage.copies_default) {
        bail!(
            "{} copies need as many storage directories, and there are {}; name more with --storage, or \
             ask for fewer with --copies",
            config.storage.copies_default,
            nodes.len()
        );
    }
    Ok(nodes)
}

/// Files that a crash may leave behind and nobody needs.
fn scratch(data_dir: &DataDir) -> Result<PathBuf> {
    let path = data_dir.join("scratch");
    std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
    Ok(path)
}

/// The zones of this machine, and whether anything limits what their commands use.
struct Compute {
    host: Arc<triton::Host>,
    limited: bool,
}

/// Errors: the text says what is missing on this machine.
async fn start_zones(
    data_dir: &DataDir,
    tools: &Path,
    config: &Config,
    identity: &mahi::Service,
) -> Result<Compute, String> {
    let mut settings = triton::Config::new(data_dir.join("zones"));
    settings.slots = config.jobs.zones.get();
    settings.tools = Some(tools.to_owned());
    settings.images = Some(data_dir.join(adm::image::DIRECTORY));
    settings.host_version = config.jobs.host_version;
    settings.image_idle = Duration::from_millis(config.jobs.image_idle_ms);
    settings.isolation = match config.jobs.isolation {
        IsolationSetting::Auto => None,
        IsolationSetting::Process => Some(Isolation::Process),
        IsolationSetting::Off => return Err("they are switched off".to_owned()),
    };
    let refusal = match triton::Host::start(settings.clone()).await {
        Ok(host) => {
            let limited = host.isolation() != Isolation::Process;
            return Ok(Compute { host, limited });
        }
        Err(error) => error.to_string(),
    };
    if users(identity) > 1 {
        return Err(refusal);
    }
    // Nobody to protect from anybody else: single processes are limited, and that has to do.
    settings.allow_unlimited = true;
    let host = triton::Host::start(settings).await.map_err(|_| refusal)?;
    Ok(Compute {
        host,
        limited: false,
    })
}

fn users(identity: &mahi::Service) -> usize {
    identity
        .accounts()
        .iter()
        .filter(|account| !account.operator)
        .count()
}

/// Who may run jobs: everybody where zones separate and limit them, otherwise only while there is nobody to
/// separate.
fn job_rule(
    compute: Option<&Compute>,
    identity: &Arc<mahi::Service>,
) -> Arc<dyn Fn(AccountId) -> Result<(), String> + Send + Sync> {
    match compute.map(|compute| (compute.host.isolation(), compute.limited)) {
        None | Some((Isolation::Zone, _)) => return Arc::new(|_| Ok(())),
        Some((Isolation::UserNamespace, true)) => {
            tracing::warn!("jobs run in user namespaces: separated less than as root");
            return Arc::new(|_| Ok(()));
        }
        Some((Isolation::UserNamespace, false)) => {
            tracing::warn!("jobs run in user namespaces: only single processes are limited");
        }
        Some((Isolation::Process, _)) => {
            tracing::warn!("jobs run as plain processes: nothing separates them from this machine");
        }
    }
    let identity = Arc::clone(identity);
    Arc::new(move |_| match users(&identity) {
        0 | 1 => Ok(()),
        count => Err(format!(
            "{count} accounts share this store, and jobs of different accounts are only kept apart when it \
             runs as root"
        )),
    })
}

fn front_end_config(config: &Config) -> Result<muskie::Config> {
    let http = &config.http;
    Ok(muskie::Config {
        surface: match config.surface {
            SurfaceSetting::Manta => muskie::Surface::Manta,
            SurfaceSetting::Manta2 => muskie::Surface::Manta2,
        },
        trusted_proxies: config.trusted_proxies()?,
        cors_unsigned_preflight: http.cors_unsigned_preflight,
        region: http.region.clone(),
        throttle: (&config.throttle).into(),
        server_name: host_name(),
        copies_default: config.storage.copies_default,
        copies_max: config.storage.copies_max,
        chunked_bytes_max: http.streaming_size_max_mib << 20,
        directory_entries_max: config.metadata.directory_entries_max,
        request_age_max: Duration::from_secs(http.request_age_max_s),
        upload_stall: Duration::from_millis(http.upload_stall_ms),
        idle: Duration::from_millis(http.idle_ms),
        connections_max: http.connections_max,
        uploads_max: http.uploads_max,
        uploads_per_account_percent: http.uploads_per_account_percent,
        upload_rate_min_bytes_per_s: http.upload_rate_min_bytes_per_s,
        multipart: muskie::Multipart {
            enabled: config.multipart.enabled,
            prefix_chars: config.multipart.prefix_dir_len,
            part_bytes_min: config.multipart.part_bytes_min,
            grace: Duration::from_secs(config.multipart.grace_s),
            collect_interval: Duration::from_secs(config.multipart.collect_interval_s.get()),
            commits_max: config.multipart.commits_max.get(),
            ..muskie::Multipart::default()
        },
        job_images: config.jobs.images.iter().map(ToString::to_string).collect(),
        ..muskie::Config::default()
    })
}

fn host_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

/// Each connection, copy and zone takes descriptors; the soft limit of many systems is 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    ) {
        tracing::warn!(error = %error, "the limit of open files stays as it is");
    }
}
