//! The scenarios of the reference's own suites, each by its name there; `tests/SCENARIOS.md` says which is where.
//!
//! Every input object exists beforehand, and after every job the same things are checked, whatever the
//! scenario is about. In what is expected `%u` stands for the account whose the inputs are, `%o` for that of
//! whom the job is, mostly the same, `%j` for the job, and a `*` at the end for whatever comes there. Source: marlin.md, appendix A.

mod authorization;
mod environment;
mod errors;
mod front_door;
mod init;
mod main_suite;
mod meters;
mod names;
mod resources;
mod sizes;
mod upstream;
mod zone_deaths;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::job::{Finished, url};
use tests::machine::files_below;
use tests::{Client, Job, Launch, Store, metering, wait_for};

/// Twice what the suites give the quickest, and as much as most.
const PATIENCE: Duration = Duration::from_secs(60);

/// A job and what must become of it.
pub(crate) struct Scenario {
    phases: Vec<Value>,
    inputs: Vec<String>,
    /// Inputs that are not made beforehand.
    not_made: Vec<String>,
    /// Objects besides the inputs.
    objects: Vec<(String, String)>,
    outputs: Vec<String>,
    contents: Option<Vec<String>>,
    errors: Vec<Value>,
    /// So many inputs fail, each like this, instead of `errors`.
    some_fail: Option<(RangeInclusive<usize>, Value)>,
    /// Names in the job's output area that are neither outputs nor named by errors.
    left: Vec<String>,
    /// Done between the end of the input and the end of the job.
    meanwhile: Option<Meanwhile>,
    /// Attempts that are lost and made again.
    retries: u64,
    options: Option<Value>,
    patience: Duration,
}

type Meanwhile = fn(&Store, &mut Client, &Job) -> Result<()>;

/// A job of one map phase.
pub(crate) fn map(exec: &str) -> Scenario {
    Scenario::of(json!({"type": "map", "exec": exec}))
}

/// A job of one reduce phase.
pub(crate) fn reduce(exec: &str) -> Scenario {
    Scenario::of(json!({"type": "reduce", "exec": exec}))
}

impl Scenario {
    pub(crate) fn of(phase: Value) -> Self {
        Self {
            phases: vec![phase],
            inputs: Vec::new(),
            not_made: Vec::new(),
            objects: Vec::new(),
            outputs: Vec::new(),
            contents: None,
            errors: Vec::new(),
            some_fail: None,
            left: Vec::new(),
            meanwhile: None,
            retries: 0,
            options: None,
            patience: PATIENCE,
        }
    }

    pub(crate) fn then_map(self, exec: &str) -> Self {
        self.then(json!({"type": "map", "exec": exec}))
    }

    pub(crate) fn then_reduce(self, exec: &str) -> Self {
        self.then(json!({"type": "reduce", "exec": exec}))
    }

    pub(crate) fn then(mut self, phase: Value) -> Self {
        self.phases.push(phase);
        self
    }

    /// Of the last phase so far.
    pub(crate) fn with(mut self, property: &str, value: Value) -> Self {
        if let Some(phase) = self.phases.last_mut() {
            phase[property] = value;
        }
        self
    }

    pub(crate) fn object(mut self, name: &str, content: &str) -> Self {
        self.objects.push((name.to_owned(), content.to_owned()));
        self
    }

    pub(crate) fn inputs(mut self, names: &[&str]) -> Self {
        self.inputs = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Inputs that the scenario leaves as they are: directories, links, nothing at all.
    pub(crate) fn not_made(mut self, names: &[&str]) -> Self {
        self.not_made = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    pub(crate) fn outputs(mut self, names: &[&str]) -> Self {
        self.outputs = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// One for each input, from the last phase so far.
    pub(crate) fn an_output_each(mut self) -> Self {
        let phase = self.phases.len() - 1;
        let output = |input: &String| format!("/%o/jobs/%j/stor{input}.{phase}.*");
        self.outputs = self.inputs.iter().map(output).collect();
        self
    }

    /// One, from the reducer that is the last phase so far.
    pub(crate) fn one_reduced(mut self) -> Self {
        let phase = self.phases.len() - 1;
        self.outputs = vec![format!("/%o/jobs/%j/stor/reduce.{phase}.*")];
        self
    }

    /// Of the outputs, in any order.
    pub(crate) fn contents(mut self, contents: &[&str]) -> Self {
        self.contents = Some(contents.iter().map(|text| (*text).to_owned()).collect());
        self
    }

    pub(crate) fn errors(mut self, errors: &[Value]) -> Self {
        self.errors = errors.to_vec();
        self
    }

    /// So many of the inputs have no output but this error.
    pub(crate) fn some_fail(mut self, count: RangeInclusive<usize>, error: Value) -> Self {
        self.some_fail = Some((count, error));
        self
    }

    pub(crate) fn meanwhile(mut self, what: Meanwhile) -> Self {
        self.meanwhile = Some(what);
        self
    }

    pub(crate) fn retries(mut self, count: u64) -> Self {
        self.retries = count;
        self
    }

    /// Of the job. Only operators may have any.
    pub(crate) fn options(mut self, options: Value) -> Self {
        self.options = Some(options);
        self
    }

    pub(crate) fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub(crate) fn leaves(mut self, names: &[&str]) -> Self {
        self.left = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Runs on one object, where this is what must be the output.
    pub(crate) fn prints(self, output: &str) -> Result<()> {
        let scenario = self.inputs(&["/%u/stor/obj1"]).an_output_each();
        scenario.contents(&[output]).run()
    }

    pub(crate) fn run(self) -> Result<()> {
        self.run_on(Launch::new())
    }

    /// On a store that is started like this.
    pub(crate) fn run_on(self, launch: Launch) -> Result<()> {
        let stage = Stage::open_on(launch)?;
        stage.play(self)?;
        stage.store.finish()
    }
}

/// A store with the objects that every scenario finds.
pub(crate) struct Stage {
    pub(crate) store: Store,
}

impl Stage {
    pub(crate) fn open() -> Result<Self> {
        Self::open_on(Launch::new())
    }

    pub(crate) fn open_on(launch: Launch) -> Result<Self> {
        let store = launch.setting("jobs.zones = 3").start()?;
        let mut client = store.client()?;
        for directory in ["stor/mydir", "stor/my dir"] {
            client.mkdir(&url(&store.path(directory)))?.expect(204)?;
        }
        Ok(Self { store })
    }

    pub(crate) fn name(&self, text: &str) -> String {
        text.replace("%u", self.store.account())
    }

    /// 50 bytes and five words for `stor/obj1`.
    fn put_input(&self, client: &mut Client, name: &str) -> Result<()> {
        let account = self.store.account();
        let below = name.strip_prefix(&format!("/{account}/"));
        let below = below.context("inputs of others are not made")?;
        let (directory, _) = name.rsplit_once('/').context("a name has a directory")?;
        let mut made = format!("/{account}/stor");
        for part in directory.split('/').skip(3) {
            made = format!("{made}/{part}");
            client.mkdir(&url(&made))?.expect(204)?;
        }
        let content = match below {
            "stor/0bytes" => String::new(),
            below => format!("auto-generated content for key /someuser/{below}"),
        };
        client.put(&url(name), content)?.expect(204)?;
        Ok(())
    }

    pub(crate) fn play(&self, scenario: Scenario) -> Result<Finished> {
        let mut client = self.store.client()?;
        let phases = self.prepare(&scenario)?;
        let mut definition = json!({"name": "test", "phases": phases});
        if let Some(options) = &scenario.options {
            definition["options"] = options.clone();
        }
        let job = Job::create_from(&mut client, self.store.account(), &definition)?;
        self.perform(scenario, &mut client, &job)
    }

    /// Makes the inputs and the other objects; returns the phases.
    fn prepare(&self, scenario: &Scenario) -> Result<Value> {
        let mut client = self.store.client()?;
        let made = |name: &&String| !scenario.not_made.contains(name);
        for name in scenario.inputs.iter().filter(made).collect::<BTreeSet<_>>() {
            self.put_input(&mut client, &self.name(name))?;
        }
        for (name, content) in &scenario.objects {
            let name = url(&self.name(name));
            client.put(&name, content.as_str())?.expect(204)?;
        }
        self.phases(scenario)
    }

    fn phases(&self, scenario: &Scenario) -> Result<Value> {
        let text = Value::from(scenario.phases.clone()).to_string();
        Ok(serde_json::from_str(&self.name(&text))?)
    }

    /// Feeds a job that was created, and waits for it.
    fn perform(&self, scenario: Scenario, client: &mut Client, job: &Job) -> Result<Finished> {
        let inputs: Vec<String> = scenario.inputs.iter().map(|name| self.name(name)).collect();
        if !inputs.is_empty() {
            job.add(client, &inputs)?;
        }
        job.end(client)?;
        if let Some(meanwhile) = scenario.meanwhile {
            meanwhile(&self.store, client, job)?;
        }
        let done = job.wait(client, scenario.patience)?;
        self.check(client, &scenario, &inputs, job, &done)
            .with_context(|| format!("{done:?}"))?;
        Ok(done)
    }

    fn check(
        &self,
        client: &mut Client,
        scenario: &Scenario,
        inputs: &[String],
        job: &Job,
        done: &Finished,
    ) -> Result<()> {
        let id = job.id();
        let owner = job.path().split('/').nth(1).unwrap_or_default();
        let expected = |text: &str| self.name(text).replace("%o", owner).replace("%j", id);

        // A.0, 1: the definition and the inputs are what was given.
        let phases = self.phases(scenario)?;
        ensure!(done.status["phases"] == phases, "the phases are kept");
        let listed = client
            .get(&format!("{}/live/in", job.path()))?
            .expect(200)?;
        let listed = listed.text();
        ensure!(
            listed.lines().eq(inputs.iter()),
            "the inputs are kept: {listed}"
        );
        // 2: it is over, and not before it began.
        let time = |name: &str| done.status[name].as_str().unwrap_or_default().to_owned();
        ensure!(done.status["inputDone"] == true && time("timeDone") >= time("timeCreated"));
        // 3: outputs and their contents.
        let mut wanted: Vec<String> = scenario.outputs.iter().map(|name| expected(name)).collect();
        if scenario.some_fail.is_some() {
            let failed: BTreeSet<&str> = done
                .errors
                .iter()
                .filter_map(|e| e["input"].as_str())
                .collect();
            let mut inputs = inputs.iter();
            wanted.retain(|_| {
                inputs
                    .next()
                    .is_some_and(|input| !failed.contains(input.as_str()))
            });
        }
        one_to_one(&wanted, &done.outputs, |wanted, name| fits(wanted, name))
            .with_context(|| format!("outputs; expected {wanted:?}"))?;
        if let Some(contents) = &scenario.contents {
            let mut found = Vec::new();
            for name in &done.outputs {
                found.push(client.get(&url(name))?.expect(200)?.text());
            }
            let wanted: Vec<String> = contents.iter().map(|text| expected(text)).collect();
            one_to_one(&wanted, &found, |wanted, text| wanted == text)
                .with_context(|| format!("contents; expected {wanted:?}, found {found:?}"))?;
        }
        // 4: errors.
        let mut wanted: Vec<Value> = scenario
            .errors
            .iter()
            .map(|error| Ok(serde_json::from_str(&expected(&error.to_string()))?))
            .collect::<Result<_>>()?;
        if let Some((count, error)) = &scenario.some_fail {
            ensure!(
                count.contains(&done.errors.len()),
                "{count:?} failures are expected"
            );
            wanted = vec![error.clone(); done.errors.len()];
        }
        one_to_one(&wanted, &done.errors, error_fits)
            .with_context(|| format!("errors; expected {wanted:#?}"))?;
        // 5 and 6: counters.
        let stats = &done.status["stats"];
        if done.status["cancelled"] == true {
            // Neither its counters nor what lies about are promised then.
            return Ok(());
        }
        ensure!(
            stats["tasks"] == stats["tasksDone"] && stats["retries"] == scenario.retries,
            "{stats}"
        );
        // 7: each attempt that had a zone is metered.
        let dispatched = stats["tasks"].as_u64().context("tasks are counted")?;
        let without_zone = |error: &&Value| {
            let message = error["message"].as_str().unwrap_or_default();
            message.starts_with("failed to dispatch task") || message.starts_with("task aborted")
        };
        let without_zone = done.errors.iter().filter(without_zone).count() as u64;
        let attempts = metering::attempts(&self.store, id)?;
        ensure!(
            attempts.len() as u64 == dispatched - without_zone,
            "{} are metered of {dispatched}",
            attempts.len()
        );
        for attempt in &attempts {
            attempt.check()?;
        }
        // 8: nothing is left but what belongs there.
        self.check_rest(client, scenario, job, done, &expected)
    }

    fn check_rest(
        &self,
        client: &mut Client,
        scenario: &Scenario,
        job: &Job,
        done: &Finished,
        expected: &dyn Fn(&str) -> String,
    ) -> Result<()> {
        let mut allowed: Vec<String> = done.outputs.clone();
        for error in &done.errors {
            for field in ["stderr", "core"] {
                allowed.extend(error[field].as_str().map(str::to_owned));
            }
            // Standard output of a task that failed is kept, and is no output.
            if let Some(stderr) = error["stderr"].as_str() {
                allowed.push(stderr.replace(".err.", "."));
            }
        }
        let stays: Vec<String> = scenario.left.iter().map(|name| expected(name)).collect();
        allowed.extend(stays.iter().cloned());
        let area = format!("{}/stor", job.path());
        wait_for(
            "the intermediate objects to go",
            Duration::from_secs(10),
            || {
                let left: Vec<String> = objects_below(client, &area)?
                    .into_iter()
                    .filter(|name| !allowed.iter().any(|allowed| fits(allowed, name)))
                    .collect();
                Ok(left.is_empty().then_some(()))
            },
        )
        .with_context(|| format!("in {area}: {:?}", objects_below(client, &area)))?;
        if stays.is_empty() {
            return Ok(());
        }
        let archive = format!("{}/job.json", job.path());
        wait_for("the archive", Duration::from_secs(10), || {
            Ok((client.get(&archive)?.status == 200).then_some(()))
        })?;
        let left = objects_below(client, &area)?;
        let gone = |name: &&String| !left.iter().any(|left| fits(name, left));
        let gone: Vec<_> = stays.iter().filter(gone).collect();
        ensure!(gone.is_empty(), "{gone:?} must stay, but there is {left:?}");
        Ok(())
    }
}

/// Names of all objects in a tree.
pub(crate) fn objects_below(client: &mut Client, directory: &str) -> Result<Vec<String>> {
    let rows = client.objects_below(&url(directory))?;
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let name = |row: &Value| format!("{}/{}", text(row, "parent"), text(row, "name"));
    Ok(rows.iter().map(name).collect())
}

fn fits(wanted: &str, text: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning) && text != beginning,
        None => wanted == text,
    }
}

fn error_fits(wanted: &Value, error: &Value) -> bool {
    wanted
        .as_object()
        .into_iter()
        .flatten()
        .all(
            |(field, wanted)| match (wanted.as_str(), error[field].as_str()) {
                (Some(wanted), Some(text)) => fits(wanted, text),
                (None, None) => wanted.is_null(),
                _ => false,
            },
        )
}

/// Each of these fits one of those, and none is left.
fn one_to_one<T, U: std::fmt::Debug>(
    wanted: &[T],
    found: &[U],
    fits: impl Fn(&T, &U) -> bool,
) -> Result<()> {
    ensure!(wanted.len() == found.len(), "{} are there", found.len());
    let mut left: Vec<&U> = found.iter().collect();
    for wanted in wanted {
        let at = left.iter().position(|found| fits(wanted, found));
        let at = at.with_context(|| format!("one is missing; left are {left:?}"))?;
        left.remove(at);
    }
    Ok(())
}

/// The sources of all crates.
fn sources() -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let mut text = String::new();
    for krate in ["libmanta", "marlin", "muskie", "tests", "triton"] {
        let directory = root.context("a workspace")?.join(krate);
        for part in ["src", "tests"] {
            for file in files_below(&directory.join(part))?.keys() {
                if file.extension().is_some_and(|extension| extension == "rs") {
                    text.push_str(&std::fs::read_to_string(file)?);
                }
            }
        }
    }
    Ok(text)
}

/// The table names tests that there are, and no scenario among these tests is missing in it.
#[test]
fn the_table_of_scenarios_is_true() -> Result<()> {
    let table = include_str!("../../../SCENARIOS.md");
    let sources = sources()?;
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<(&str, &str)> = rows
        .filter_map(|row| row.trim_matches(['|', ' ']).rsplit_once(" | "))
        .filter(|(_, test)| test.starts_with('`'))
        .map(|(scenario, test)| (scenario, test.trim_matches('`')))
        .collect();
    ensure!(rows.len() > 100, "{} rows", rows.len());
    for (scenario, test) in &rows {
        let name = test.rsplit("::").next().unwrap_or_default();
        ensure!(
            sources.contains(&format!("fn {name}(")),
            "{scenario}: there is no {test}"
        );
    }
    let names: BTreeSet<&str> = rows.iter().map(|(scenario, _)| *scenario).collect();
    for scenario in sources.split("\nfn job").skip(1) {
        let name = scenario.split('(').next().unwrap_or_default();
        if name.starts_with(['M', 'R']) {
            ensure!(
                names.contains(&*format!("job{name}")),
                "job{name} is not in the table"
            );
        }
    }
    Ok(())
}
