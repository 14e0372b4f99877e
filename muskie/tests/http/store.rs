//! A whole store in a temporary directory, in this process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use electric_moray::{Ring, Router};
use httpsig::PrivateKey;
use libmanta::mako::Shark;
use libmanta::moray::Moray;
use libmanta::{Clock, StorageId, SystemClock};
use mahi::{NewAccount, Service};
use muskie::{Config, Deps, Handle, Listener, Surface};
use tempfile::TempDir;
use testkit::jobs::MemJobs;

use crate::client::{Request, Response};
use crate::people::People;

const ALICE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEICv/Jpo8RbbZtEvm9NqwXTuGZ5V7h+j0wqXGmIqw08vZ
-----END PRIVATE KEY-----
";
pub(crate) const POSEIDON_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIKybuhvpXxZ0jpSxlNItZ3/GUFn3vRFxMpV+Kr41jmtU
-----END PRIVATE KEY-----
";

/// Somebody who can sign.
pub(crate) struct User {
    pub(crate) login: &'static str,
    pub(crate) key: PrivateKey,
}

impl User {
    /// Somebody else with the same key.
    pub(crate) fn named(&self, login: &'static str) -> Self {
        let pem = [ALICE_KEY, POSEIDON_KEY];
        let mut keys = pem.map(|pem| PrivateKey::parse(pem).unwrap()).into_iter();
        let key = keys.find(|key| key.public() == self.key.public()).unwrap();
        Self { login, key }
    }

    pub(crate) fn key_id(&self) -> String {
        format!(
            "/{}/keys/{}",
            self.login,
            self.key.public().md5_fingerprint()
        )
    }
}

/// Accounts `alice` and `bob` with the same key, and the operator `poseidon` with another.
pub(crate) struct Store {
    pub(crate) handle: Handle,
    pub(crate) address: SocketAddr,
    pub(crate) makos: Vec<Arc<mako::Store>>,
    /// Lets commits of metadata fail.
    pub(crate) commits: moray::CommitFaults,
    pub(crate) identity: Arc<Service>,
    /// What the front door sees of it.
    pub(crate) people: Arc<People>,
    pub(crate) moray: Arc<Router>,
    pub(crate) jobs: Arc<MemJobs>,
    pub(crate) alice: User,
    pub(crate) bob: User,
    pub(crate) poseidon: User,
    directory: TempDir,
}

pub(crate) async fn start() -> Store {
    start_with(|_| {}).await
}

/// What the second version of Manta is: the surface on which its own suites run.
pub(crate) async fn start_m2() -> Store {
    start_with(|config| config.surface = Surface::Manta2).await
}

pub(crate) async fn start_with(configure: impl FnOnce(&mut Config)) -> Store {
    start_wrapped(configure, |shark| shark).await
}

/// How the store is reached.
pub(crate) enum Door {
    Plain,
    Tls(muskie::TlsFiles),
    Insecure,
}

pub(crate) async fn start_behind(door: Door, configure: impl FnOnce(&mut Config)) -> Store {
    start_between(door, configure, |shark| shark, |moray| moray).await
}

/// `wrap` may put something between the front door and each storage node.
pub(crate) async fn start_wrapped(
    configure: impl FnOnce(&mut Config),
    wrap: impl Fn(Arc<dyn Shark>) -> Arc<dyn Shark>,
) -> Store {
    start_between(Door::Plain, configure, wrap, |moray| moray).await
}

/// Also between the front door and the metadata.
pub(crate) async fn start_between(
    door: Door,
    configure: impl FnOnce(&mut Config),
    wrap: impl Fn(Arc<dyn Shark>) -> Arc<dyn Shark>,
    wrap_moray: impl FnOnce(Arc<dyn Moray>) -> Arc<dyn Moray>,
) -> Store {
    let directory = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let commits = moray::CommitFaults::default();
    let names = ["1.moray.local", "2.moray.local"].map(String::from);
    let shards = names
        .iter()
        .map(|name| {
            let path = directory.path().join(format!("{name}.sqlite"));
            let parts = moray::Parts {
                commit_faults: Some(commits.clone()),
                ..Default::default()
            };
            let shard: Arc<dyn libmanta::moray::shard::Shard> =
                moray::Shard::open_with(moray::Config::new(name.clone(), path), parts).unwrap();
            shard
        })
        .collect();
    let ring = Ring::new(Ring::VNODES_DEFAULT, &names).unwrap();
    let moray = Arc::new(Router::new(ring, shards).unwrap());
    let makos: Vec<_> = (1..=3)
        .map(|n| {
            let id = StorageId::new(&format!("{n}.stor.local"));
            let path = directory.path().join(format!("stor{n}"));
            mako::Store::open(mako::Config::new(id, format!("az{n}"), path)).unwrap()
        })
        .collect();
    let identity = Service::open(moray.clone(), mahi::Config::new([7; 32]), clock.clone())
        .await
        .unwrap();
    let user = |login, pem: &str| User {
        login,
        key: PrivateKey::parse(pem).unwrap(),
    };
    let alice = user("alice", ALICE_KEY);
    let bob = user("bob", ALICE_KEY);
    let poseidon = user("poseidon", POSEIDON_KEY);
    for user in [&alice, &bob, &poseidon] {
        let operator = user.login == "poseidon";
        let new = NewAccount {
            login: user.login.to_owned(),
            operator,
        };
        identity.create_account(new).await.unwrap();
        identity
            .add_key(user.login, &user.key.public().to_openssh())
            .await
            .unwrap();
    }
    let people = Arc::new(People::new(identity.clone()));
    let jobs = Arc::new(MemJobs::new(clock.clone()));
    let mut config = Config {
        server_name: "front.test".into(),
        ..Config::default()
    };
    config.shutdown_grace = Duration::from_secs(5);
    configure(&mut config);
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let listener = match door {
        Door::Plain => listener,
        Door::Tls(files) => listener.with_tls(files).unwrap(),
        Door::Insecure => listener.insecure(),
    };
    let address = listener.local_addr();
    let sharks = makos.iter().map(|mako| wrap(mako.clone())).collect();
    let deps = Deps {
        moray: wrap_moray(moray.clone()),
        sharks,
        identity: people.clone(),
        jobs: jobs.clone(),
        clock,
        extra_metrics: Box::new(|text| text.push_str("extra_total 1\n")),
    };
    let handle = listener.serve(config, deps);
    Store {
        handle,
        address,
        makos,
        commits,
        identity,
        people,
        moray,
        jobs,
        alice,
        bob,
        poseidon,
        directory,
    }
}

impl Store {
    /// The front door is gone; another one opens, with nothing between it and the rest.
    pub(crate) async fn open_again(&mut self, config: Config) {
        let sharks = self.makos.iter().map(|mako| mako.clone() as _).collect();
        let deps = Deps {
            moray: self.moray.clone(),
            sharks,
            identity: self.people.clone(),
            jobs: self.jobs.clone(),
            clock: Arc::new(SystemClock),
            extra_metrics: Box::new(|_| {}),
        };
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        self.address = listener.local_addr();
        self.handle = listener.serve(config, deps);
    }

    /// Sends a request signed by alice.
    pub(crate) async fn send(&self, request: Request) -> Response {
        request.signed_by(&self.alice).send(self.address).await
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(Request::new("GET", path)).await
    }

    pub(crate) async fn head(&self, path: &str) -> Response {
        self.send(Request::new("HEAD", path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Response {
        self.send(Request::new("DELETE", path)).await
    }

    pub(crate) async fn mkdir(&self, path: &str) -> Response {
        let request = Request::new("PUT", path);
        self.send(
            request
                .header("content-type", "application/json; type=directory")
                .body(""),
        )
        .await
    }

    pub(crate) async fn put(&self, path: &str, body: impl Into<Vec<u8>>) -> Response {
        self.send(Request::new("PUT", path).body(body)).await
    }

    /// The files in which copies lie, checksum files and temporaries not counted.
    pub(crate) fn copy_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for n in 1..=3 {
            collect(&self.directory.path().join(format!("stor{n}")), &mut files);
        }
        files.retain(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.parse::<libmanta::ObjectId>().is_ok()
        });
        files
    }

    /// Every file on every storage node, but those that make it one.
    pub(crate) fn stored_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for n in 1..=3 {
            collect(&self.directory.path().join(format!("stor{n}")), &mut files);
        }
        files.retain(|path| !path.ends_with("format") && !path.ends_with("lock"));
        files
    }

    /// Unlinks what nobody needs, at once, unnamed copies too: nothing may be under way.
    pub(crate) async fn collect_bytes(&self) {
        let config = mako::CollectorConfig {
            grace: Duration::ZERO,
            sweep_age: Duration::ZERO,
            ..mako::CollectorConfig::default()
        };
        // Whatever is there is now older than that.
        let begun = SystemClock.now();
        while SystemClock.now() <= begun {
            tokio::task::yield_now().await;
        }
        let sharks = self.makos.iter().map(|mako| mako.clone() as Arc<dyn Shark>);
        let clock = Arc::new(SystemClock);
        let moray = self.moray.clone();
        let collector = mako::Collector::start(config, moray, sharks.collect(), clock);
        collector.run_once().await;
        collector.sweep_once().await;
        collector.shutdown().await;
    }

    /// A line of the metrics by its name and labels; zero as long as it is not there.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let text = Request::new("GET", "/metrics")
            .send(self.address)
            .await
            .text();
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let found = lines.find(|(line, _)| *line == name);
        found.map_or(0, |(_, value)| value.parse().unwrap())
    }

    /// Waits until a metric has a value.
    pub(crate) async fn wait_metric(&self, name: &str, value: u64) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let now = self.metric(name).await;
            if now == value {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{name} is {now}, not {value}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn stop(self) {
        self.handle.shutdown().await;
        for mako in &self.makos {
            mako.close().await;
        }
    }
}

fn collect(directory: &std::path::Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
