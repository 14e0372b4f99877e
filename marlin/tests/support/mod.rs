//! A whole store but for its zones: two shards, two storage nodes, accounts, a front door, and marlin with
//! recording zones. Everything lies in one temporary directory and goes with it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use libmanta::mahi::{Identity, Principal};
use libmanta::mako::Shark;
use libmanta::marlin::{
    JobDefinition, JobError, JobList, JobState, JobStatus, Jobs, NewJob, Phase, PhaseKind,
};
use libmanta::moray::{
    BatchError, Buckets, MakeDirectory, Moray, MorayError, Namespace, Record, RecordKey, Write,
    shard::Shard,
};
use libmanta::triton::Zones;
use libmanta::{Account, Clock, JobId, ObjectKey, StorageId, SystemClock};
use manta_client::{Auth, Client, ListOptions, Payload, PutOptions};
use tempfile::TempDir;
use testkit::zones::RecordingZones;

pub(crate) const LOGIN: &str = "user";
/// Longer than anything here takes, shorter than a test runner waits.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Store {
    pub(crate) dir: TempDir,
    pub(crate) zones: Arc<RecordingZones>,
    pub(crate) account: Arc<Account>,
    pub(crate) client: Client,
    pub(crate) marlin: Arc<marlin::Service>,
    pub(crate) router: Arc<electric_moray::Router>,
    pub(crate) identity: Arc<mahi::Service>,
    sharks: Vec<Arc<dyn Shark>>,
    front_end: muskie::Handle,
    url: String,
    clock: Arc<dyn Clock>,
    /// While it is set, no record of marlin's can be written.
    pub(crate) failing: Arc<AtomicBool>,
    /// Marlin's records of this job cannot be read.
    pub(crate) unreadable: Arc<Mutex<Option<JobId>>>,
}

impl Store {
    pub(crate) async fn start() -> Self {
        Self::with_zones(4).await
    }

    pub(crate) async fn with_zones(zones: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let names = ["1.moray.test".to_owned(), "2.moray.test".to_owned()];
        let shards = names.iter().map(|name| {
            let path = dir.path().join(format!("{name}.sqlite"));
            moray::Shard::open(moray::Config::new(name, path)).unwrap() as Arc<dyn Shard>
        });
        let ring = electric_moray::Ring::new(64, &names).unwrap();
        let router = Arc::new(electric_moray::Router::new(ring, shards.collect()).unwrap());
        let buckets: Arc<dyn Buckets> = router.clone();
        let identity = mahi::Service::open(
            Arc::clone(&buckets),
            mahi::Config::new([7; 32]),
            clock.clone(),
        )
        .await
        .unwrap();
        let account = mahi::NewAccount {
            login: LOGIN.to_owned(),
            operator: false,
        };
        let account = identity.create_account(account).await.unwrap();
        let sharks: Vec<Arc<dyn Shark>> = (1..=2)
            .map(|n| {
                let id = StorageId::new(&format!("{n}.stor.test"));
                let config =
                    mako::Config::new(id, format!("az{n}"), dir.path().join(format!("stor{n}")));
                mako::Store::open(config).unwrap() as Arc<dyn Shark>
            })
            .collect();
        let listener = muskie::Listener::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr());
        let zones = RecordingZones::new(zones);
        let failing = Arc::new(AtomicBool::new(false));
        let unreadable = Arc::default();
        let tools = tools_dir(dir.path());
        let principal = principal(&account);
        let token = identity.mint_token(&principal, None);
        let client = Client::new(manta_client::Config::new(
            url.clone(),
            LOGIN,
            Auth::Token(token.into()),
        ))
        .unwrap();
        let marlin = marlin::start(
            config(&url, dir.path(), &tools),
            deps(
                &zones,
                &router,
                &identity,
                &sharks,
                &clock,
                (&failing, &unreadable),
            ),
        )
        .await
        .unwrap();
        let moray: Arc<dyn Moray> = router.clone();
        let front_end = listener.serve(
            muskie::Config::default(),
            muskie::Deps {
                moray,
                sharks: sharks.clone(),
                identity: identity.clone(),
                jobs: marlin.clone(),
                clock: clock.clone(),
                extra_metrics: Box::new(|_| {}),
            },
        );
        Self {
            dir,
            zones,
            account,
            client,
            marlin,
            router,
            identity,
            sharks,
            front_end,
            url,
            clock,
            failing,
            unreadable,
        }
    }

    /// Ends marlin in the middle of whatever it does and starts it anew over the same records.
    pub(crate) async fn restart_marlin(&mut self) {
        self.restart_with(|_, _| {}).await;
    }

    pub(crate) async fn restart(&mut self, what: Restarted, job: JobId) {
        match what {
            Restarted::Marlin => self.restart_marlin().await,
            Restarted::Agent => self.marlin.restart_agent().await.unwrap(),
            // The job may be over.
            Restarted::Supervisor => drop(self.marlin.restart_supervisor(job).await.unwrap()),
        }
    }

    /// The same, with other settings or parts.
    pub(crate) async fn restart_with(
        &mut self,
        change: impl FnOnce(&mut marlin::Config, &mut marlin::Deps),
    ) {
        self.marlin.shutdown().await;
        let mut config = config(&self.url, self.dir.path(), &tools_dir(self.dir.path()));
        let mut deps = deps(
            &self.zones,
            &self.router,
            &self.identity,
            &self.sharks,
            &self.clock,
            (&self.failing, &self.unreadable),
        );
        change(&mut config, &mut deps);
        self.marlin = marlin::start(config, deps).await.unwrap();
    }

    pub(crate) async fn stop(self) {
        self.marlin.shutdown().await;
        self.front_end.shutdown().await;
        self.zones.shutdown().await;
    }

    pub(crate) async fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let content = bytes::Bytes::copy_from_slice(content.as_ref());
        let options = PutOptions {
            parents: true,
            ..PutOptions::default()
        };
        self.client
            .put(path, Payload::Bytes(content), options)
            .await
            .unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        let download = self.client.get(path, http::HeaderMap::new()).await;
        let download = download.unwrap_or_else(|error| panic!("{path}: {error}"));
        String::from_utf8(download.bytes(1 << 24).await.unwrap()).unwrap()
    }

    pub(crate) async fn exists(&self, path: &str) -> bool {
        self.client.get(path, http::HeaderMap::new()).await.is_ok()
    }

    /// Every object below a directory.
    pub(crate) async fn objects(&self, directory: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut left = vec![directory.to_owned()];
        while let Some(directory) = left.pop() {
            let mut listing = self
                .client
                .list(&directory, ListOptions::default())
                .unwrap();
            while let Some(entry) = listing.next().await.unwrap() {
                let path = format!("{directory}/{}", entry.name);
                match entry.kind {
                    manta_client::EntryKind::Directory => left.push(path),
                    manta_client::EntryKind::Object => found.push(path),
                }
            }
        }
        found.sort();
        found
    }

    /// Creates a job as the front door does, with its directories.
    pub(crate) async fn create(&self, phases: Vec<Phase>) -> JobId {
        self.create_with(phases, None).await
    }

    pub(crate) async fn create_with(
        &self,
        phases: Vec<Phase>,
        options: Option<serde_json::Value>,
    ) -> JobId {
        self.try_create(phases, options).await.unwrap()
    }

    pub(crate) async fn try_create(
        &self,
        phases: Vec<Phase>,
        options: Option<serde_json::Value>,
    ) -> Result<JobId, JobError> {
        self.create_as(principal(&self.account), phases, options)
            .await
    }

    /// As the front door makes jobs: the directories of a subuser's carry the roles that it acts in.
    pub(crate) async fn create_as(
        &self,
        principal: Principal,
        phases: Vec<Phase>,
        options: Option<serde_json::Value>,
    ) -> Result<JobId, JobError> {
        let token = self.identity.mint_token(&principal, None);
        self.create_with_token(principal, token, phases, options)
            .await
    }

    pub(crate) async fn create_with_token(
        &self,
        principal: Principal,
        token: String,
        phases: Vec<Phase>,
        options: Option<serde_json::Value>,
    ) -> Result<JobId, JobError> {
        let roles = principal.roles.clone();
        let job = NewJob {
            owner: self.account.id,
            token,
            principal,
            definition: JobDefinition {
                name: "test".to_owned(),
                transient: false,
                phases,
                options: options.and_then(|options| options.as_object().cloned()),
            },
        };
        let id = self.marlin.create(job).await?;
        for path in ["", "/live", "/stor"] {
            let key = format!("/{}/jobs/{id}{path}", self.account.id);
            let make = MakeDirectory {
                key: ObjectKey::parse(&key).unwrap(),
                mtime: self.clock.now(),
                headers: Vec::new(),
                roles: roles.clone(),
                judged: None,
            };
            self.router.make_directory(make).await.unwrap();
        }
        Ok(id)
    }

    pub(crate) async fn add(&self, id: JobId, names: &[&str]) -> Result<(), JobError> {
        let names = names.iter().map(ToString::to_string).collect();
        self.marlin
            .add_inputs(self.account.id, id, names, false)
            .await
    }

    pub(crate) async fn end(&self, id: JobId) -> Result<(), JobError> {
        self.marlin.end_input(self.account.id, id).await
    }

    pub(crate) async fn status(&self, id: JobId) -> JobStatus {
        self.marlin.status(self.account.id, id).await.unwrap()
    }

    /// Runs a job to its end.
    pub(crate) async fn run(&self, phases: Vec<Phase>, inputs: &[&str]) -> Finished {
        let id = self.create(phases).await;
        self.add(id, inputs).await.unwrap();
        self.end(id).await.unwrap();
        self.finish(id).await
    }

    /// Waits until a job is done and collects what it says.
    pub(crate) async fn finish(&self, id: JobId) -> Finished {
        let status = self.wait(id, |status| status.state == JobState::Done).await;
        Finished {
            id,
            outputs: self.list(id, JobList::Outputs).await,
            failures: self.list(id, JobList::Failures).await,
            errors: self
                .list(id, JobList::Errors)
                .await
                .iter()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
            status,
        }
    }

    pub(crate) async fn wait(&self, id: JobId, what: impl Fn(&JobStatus) -> bool) -> JobStatus {
        until(async || {
            let status = self.status(id).await;
            match what(&status) {
                true => Ok(status),
                false => Err(status),
            }
        })
        .await
    }

    pub(crate) async fn list(&self, id: JobId, what: JobList) -> Vec<String> {
        let lines = self.marlin.list(self.account.id, id, what).await.unwrap();
        lines.try_collect().await.unwrap()
    }
}

/// What is started anew under a job.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Restarted {
    Marlin,
    Agent,
    Supervisor,
}

pub(crate) struct Finished {
    pub(crate) id: JobId,
    pub(crate) status: JobStatus,
    pub(crate) outputs: Vec<String>,
    pub(crate) failures: Vec<String>,
    pub(crate) errors: Vec<serde_json::Value>,
}

impl Finished {
    /// Counters, lists and errors agree. Source: marlin.md section 1.4.
    pub(crate) fn check(&self) {
        let stats = self.status.stats;
        assert_eq!(stats.outputs, self.outputs.len() as u64, "{stats:?}");
        assert_eq!(stats.errors, self.errors.len() as u64, "{stats:?}");
        assert_eq!(stats.tasks, stats.tasks_done, "{stats:?}");
    }

    pub(crate) fn error(&self) -> (&str, &str) {
        assert_eq!(self.errors.len(), 1, "{:?}", self.errors);
        (
            self.errors[0]["code"].as_str().unwrap(),
            self.errors[0]["message"].as_str().unwrap(),
        )
    }
}

/// Looks again and again until there is what is waited for; fails at the deadline with what there was instead.
pub(crate) async fn until<T, E: std::fmt::Debug>(mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(still) => assert!(Instant::now() < deadline, "still {still:?}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn map(exec: &str) -> Phase {
    Phase::new(PhaseKind::Map, exec)
}

pub(crate) fn reduce(exec: &str, count: u8) -> Phase {
    Phase {
        count: Some(count),
        ..Phase::new(PhaseKind::Reduce, exec)
    }
}

pub(crate) fn principal(account: &Account) -> Principal {
    Principal {
        from_job: true,
        ..Principal::of(account)
    }
}

fn config(url: &str, dir: &Path, tools: &Path) -> marlin::Config {
    marlin::Config {
        tools_dir: tools.display().to_string(),
        input_idle: Duration::from_secs(3),
        zone_idle: Duration::from_millis(200),
        ..marlin::Config::new(url, dir.to_owned())
    }
}

fn deps(
    zones: &Arc<RecordingZones>,
    router: &Arc<electric_moray::Router>,
    identity: &Arc<mahi::Service>,
    sharks: &[Arc<dyn Shark>],
    clock: &Arc<dyn Clock>,
    (failing, unreadable): (&Arc<AtomicBool>, &Arc<Mutex<Option<JobId>>>),
) -> marlin::Deps {
    marlin::Deps {
        zones: Ok(Arc::clone(zones) as Arc<dyn Zones>),
        buckets: Arc::new(FailingBuckets {
            inner: router.clone(),
            failing: Arc::clone(failing),
            unreadable: Arc::clone(unreadable),
        }),
        namespace: router.clone(),
        identity: identity.clone(),
        sharks: sharks.to_vec(),
        clock: clock.clone(),
        may_run: Arc::new(|_| Ok(())),
    }
}

/// A directory with the in-zone tools under their names.
fn tools_dir(dir: &Path) -> PathBuf {
    let tools = dir.join("bin");
    if !tools.is_dir() {
        std::fs::create_dir(&tools).unwrap();
        let test = std::env::current_exe().unwrap();
        let target = test.parent().and_then(Path::parent).unwrap();
        let program = target.join("examples/in_zone_tools");
        assert!(
            program.is_file(),
            "{} is built with the tests",
            program.display()
        );
        for name in marlin::tools::NAMES {
            std::os::unix::fs::symlink(&program, tools.join(name)).unwrap();
        }
    }
    tools
}

/// Records that cannot be written, or read, while the test says so.
#[derive(Debug)]
struct FailingBuckets {
    inner: Arc<electric_moray::Router>,
    failing: Arc<AtomicBool>,
    unreadable: Arc<Mutex<Option<JobId>>>,
}

impl FailingBuckets {
    fn check(&self, route: &str) -> Result<(), MorayError> {
        let unreadable = *self.unreadable.lock().unwrap();
        match unreadable.is_some_and(|job| job.to_string() == route) {
            true => Err(MorayError::Overloaded {
                shard: "test".to_owned(),
            }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Buckets for FailingBuckets {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, MorayError> {
        self.check(&key.route)?;
        self.inner.get(key).await
    }

    async fn batch(&self, writes: Vec<Write>) -> Result<(), BatchError> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(BatchError::Moray(MorayError::Overloaded {
                shard: "test".to_owned(),
            }));
        }
        self.inner.batch(writes).await
    }

    async fn scan(
        &self,
        bucket: &str,
        route: &str,
        from: &str,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError> {
        self.check(route)?;
        self.inner.scan(bucket, route, from, limit).await
    }

    async fn scan_all(
        &self,
        bucket: &str,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<Record>, MorayError> {
        self.inner.scan_all(bucket, after, limit).await
    }
}
