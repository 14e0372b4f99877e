//! The supervisor without an agent: events in, effects out, and lives cut short.

use std::collections::{BTreeMap, BTreeSet};

use libmanta::marlin::{JobDefinition, Phase as PhaseDefinition, PhaseKind};
use libmanta::{AccountId, ObjectId, Timestamp};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::log_queue::WRITE_BYTES_MAX;
use super::*;
use crate::record::Output;

#[path = "tests/failed_reducers.rs"]
mod failed_reducers;
#[path = "tests/gathering.rs"]
mod gathering;
#[path = "tests/runs.rs"]
mod runs;

fn definition(phases: &[(PhaseKind, u8)]) -> JobDefinition {
    let phase = |&(kind, count): &(PhaseKind, u8)| PhaseDefinition {
        count: Some(count),
        ..PhaseDefinition::new(kind, "true")
    };
    JobDefinition {
        name: String::new(),
        transient: false,
        phases: phases.iter().map(phase).collect(),
        options: None,
    }
}

fn supervisor(phases: &[(PhaseKind, u8)]) -> Supervisor {
    let id = JobId::random();
    let ledger = Ledger::new(id, &definition(phases));
    let mut supervisor = Supervisor::new(id, phases.len(), ledger, Vec::new());
    assert_eq!(supervisor.on(Event::Begin), []);
    supervisor
}

fn located(name: &Arc<str>) -> Located {
    Located {
        name: Arc::clone(name),
        creator: AccountId::random(),
        object_id: ObjectId::random(),
        size_bytes: 1,
        copies: Arc::new([]),
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// What comes of results that gather when the time for it is over; of other effects, they themselves.
fn gathered(supervisor: &mut Supervisor, effects: Vec<Effect>) -> Vec<Effect> {
    match effects.as_slice() {
        [Effect::Gather] => supervisor.on(Event::Gathered),
        _ => effects,
    }
}

/// What an effect writes, made durable.
fn written(effects: &[Effect]) -> Event {
    let entries = effects.iter().find_map(|effect| match effect {
        Effect::Write(entries) => Some(entries.clone()),
        _ => None,
    });
    let entries = entries.expect("something is to be written");
    Event::Written(vec![Segment::new(Timestamp::from_millis(1), entries)])
}

fn add(ticket: Ticket, inputs: &[&str]) -> Event {
    Event::AddInputs {
        ticket,
        names: names(inputs),
        last: false,
    }
}

const MAP: &[(PhaseKind, u8)] = &[(PhaseKind::Map, 1)];

#[test]
fn nothing_is_answered_or_begun_before_it_is_durable() {
    let mut supervisor = supervisor(MAP);
    let effects = supervisor.on(add(1, &["/u/stor/a"]));
    assert!(
        matches!(effects.as_slice(), [Effect::Write(_)]),
        "{effects:?}"
    );
    // More comes while the write is under way: it waits, and goes out in one piece.
    assert_eq!(supervisor.on(add(2, &["/u/stor/b"])), []);
    assert_eq!(supervisor.on(Event::EndInput { ticket: 3 }), []);
    let effects = supervisor.on(written(&effects));
    let resolved = |e: &Effect| matches!(e, Effect::Resolve { .. });
    assert_eq!(effects.iter().filter(|e| resolved(e)).count(), 1);
    assert!(effects.contains(&Effect::Reply {
        ticket: 1,
        result: Ok(())
    }));
    let Some(Effect::Write(entries)) = effects.iter().find(|e| matches!(e, Effect::Write(_)))
    else {
        panic!("{effects:?}");
    };
    assert_eq!(entries.len(), 2);
    let effects = supervisor.on(written(&effects));
    assert!(effects.contains(&Effect::Reply {
        ticket: 2,
        result: Ok(())
    }));
    assert!(effects.contains(&Effect::Reply {
        ticket: 3,
        result: Ok(())
    }));
}

#[test]
fn a_request_is_judged_by_what_was_said_before_it_not_by_what_is_durable() {
    let mut supervisor = supervisor(MAP);
    supervisor.on(Event::EndInput { ticket: 1 });
    let refused = |ticket, word| Effect::Reply {
        ticket,
        result: Err(word),
    };
    let late = supervisor.on(add(2, &["/x"]));
    assert_eq!(late, [refused(2, "inputDone")]);
    // Tasks end at once, though the cancellation waits to be written.
    assert_eq!(supervisor.on(Event::Cancel { ticket: 3 }), [Effect::Abort]);
    assert_eq!(
        supervisor.on(Event::Cancel { ticket: 4 }),
        [refused(4, "cancelled")]
    );
}

#[test]
fn a_cancel_behind_the_last_commit_comes_too_late() {
    let mut supervisor = supervisor(MAP);
    let end = supervisor.on(Event::EndInput { ticket: 1 });
    supervisor.on(Event::Cancel { ticket: 2 });
    // The end of input finished the job, which had nothing to do.
    let effects = supervisor.on(written(&end));
    assert!(
        effects.contains(&Effect::Reply {
            ticket: 2,
            result: Err("done")
        }),
        "{effects:?}"
    );
    assert!(effects.contains(&Effect::Done));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Write(_))));
    assert!(!supervisor.view().job.is_cancelled());
}

#[test]
fn a_report_about_an_attempt_that_was_given_up_says_nothing() {
    let mut supervisor = supervisor(MAP);
    let effects = supervisor.on(add(1, &["/u/stor/a"]));
    supervisor.on(written(&effects));
    let name: Arc<str> = "/u/stor/a".into();
    supervisor.on(Event::Resolved {
        item: 0,
        result: Ok(located(&name)),
    });
    let work = Work::Item(0);
    let lost = Event::Finished {
        work,
        attempt: 1,
        outcome: Outcome::Lost,
        run: None,
    };
    let effects = supervisor.on(lost);
    assert!(
        matches!(effects.as_slice(), [Effect::Resolve { item: 0, .. }]),
        "{effects:?}"
    );
    let late = Event::Finished {
        work,
        attempt: 1,
        outcome: Outcome::Done(Vec::new()),
        run: None,
    };
    assert_eq!(supervisor.on(late), []);
    let effects = supervisor.on(Event::Resolved {
        item: 0,
        result: Ok(located(&name)),
    });
    assert!(
        matches!(effects.as_slice(), [Effect::StartMap { attempt: 2, .. }]),
        "{effects:?}"
    );
    assert_eq!(supervisor.view().stats.retries, 1);
}

#[test]
fn the_last_inputs_end_the_input_in_the_same_write() {
    let mut supervisor = supervisor(MAP);
    let last = |ticket| Event::AddInputs {
        ticket,
        names: names(&["/u/stor/a"]),
        last: true,
    };
    let effects = supervisor.on(last(1));
    let [Effect::Write(entries)] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert!(
        matches!(
            entries.as_slice(),
            [Entry::Inputs { .. }, Entry::InputEnded]
        ),
        "{entries:?}"
    );
    let refused = Effect::Reply {
        ticket: 2,
        result: Err("inputDone"),
    };
    assert_eq!(supervisor.on(last(2)), [refused]);
    let effects = supervisor.on(written(&effects));
    assert!(effects.contains(&Effect::Reply {
        ticket: 1,
        result: Ok(())
    }));
}

#[test]
fn a_task_that_is_killed_three_times_fails() {
    let mut supervisor = supervisor(MAP);
    let effects = supervisor.on(add(1, &["/u/stor/a"]));
    supervisor.on(written(&effects));
    let name: Arc<str> = "/u/stor/a".into();
    let mut effects = Vec::new();
    for attempt in 1..=3 {
        supervisor.on(Event::Resolved {
            item: 0,
            result: Ok(located(&name)),
        });
        effects = supervisor.on(Event::Finished {
            work: Work::Item(0),
            attempt,
            outcome: Outcome::Killed,
            run: None,
        });
    }
    let [Effect::Write(entries)] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    let [Entry::Commit(commit)] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    let failure = commit.failure.as_ref().unwrap().to_json();
    assert_eq!(failure["code"], "TaskKilledError");
    assert_eq!(failure["message"], "task killed (excessive resource usage)");
    assert_eq!(commit.attempts, 3);
}

#[test]
fn only_so_many_tasks_are_handed_out_at_a_time() {
    let mut supervisor = supervisor(MAP);
    let many: Vec<String> = (0..1000).map(|n| format!("/u/stor/{n}")).collect();
    let effects = supervisor.on(Event::AddInputs {
        ticket: 1,
        names: many,
        last: false,
    });
    let mut effects = supervisor.on(written(&effects));
    let mut started = 0;
    loop {
        let resolve = |e: &Effect| match e {
            Effect::Resolve { item, name } => Some((*item, Arc::clone(name))),
            _ => None,
        };
        let asked: Vec<_> = effects.iter().filter_map(resolve).collect();
        assert!(asked.len() <= RESOLVING_MAX);
        if asked.is_empty() {
            break;
        }
        effects = Vec::new();
        for (item, name) in asked {
            let result = Ok(located(&name));
            effects.extend(supervisor.on(Event::Resolved { item, result }));
        }
        started += effects
            .iter()
            .filter(|e| matches!(e, Effect::StartMap { .. }))
            .count();
    }
    assert_eq!(started, TASKS_MAX);
}

#[test]
fn a_result_that_cannot_be_recorded_gives_way_to_an_error() {
    let mut supervisor = supervisor(MAP);
    let effects = supervisor.on(add(1, &["/u/stor/a", "/u/stor/b"]));
    supervisor.on(written(&effects));
    let mut effects = Vec::new();
    for (item, name) in [(0, "/u/stor/a"), (1, "/u/stor/b")] {
        let result = Ok(located(&name.into()));
        supervisor.on(Event::Resolved { item, result });
        let output = |_| Output {
            name: name.to_owned(),
            reducer: None,
            reference: true,
        };
        let outcome = Outcome::Done((0..=item).map(output).collect());
        effects.extend(supervisor.on(Event::Finished {
            work: Work::Item(item),
            attempt: 1,
            outcome,
            run: None,
        }));
    }
    let [Effect::Write(first)] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    let effects = supervisor.on(Event::Unwritable(first.clone()));
    let [Effect::Write(entries)] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    let [Entry::Commit(commit)] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    let failure = commit.failure.as_ref().unwrap();
    assert_eq!(
        (failure.error.code, commit.outputs.len()),
        (ErrorCode::Internal, 0)
    );
    assert_eq!(failure.input.as_deref(), Some("/u/stor/a"));
    // What is as short as can be is tried as it is.
    let again = supervisor.on(Event::Unwritable(entries.clone()));
    assert_eq!(again, effects);
    let next = supervisor.on(written(&effects));
    let effects = supervisor.on(written(&next));
    assert_eq!(effects, []);
    let stats = supervisor.view().stats;
    assert_eq!((stats.errors, stats.outputs, stats.tasks_done), (1, 2, 2));
}

#[test]
fn a_write_holds_only_so_much() {
    let mut supervisor = supervisor(MAP);
    let mut effects = supervisor.on(add(0, &["/u/stor/a"]));
    let long = "x".repeat(WRITE_BYTES_MAX / 3);
    for ticket in 1..=5 {
        let names = vec![long.clone()];
        assert_eq!(
            supervisor.on(Event::AddInputs {
                ticket,
                names,
                last: false
            }),
            []
        );
    }
    let mut answered = Vec::new();
    let mut sizes = Vec::new();
    while effects.iter().any(|e| matches!(e, Effect::Write(_))) {
        effects = supervisor.on(written(&effects));
        for effect in &effects {
            match effect {
                Effect::Write(entries) => sizes.push(entries.len()),
                Effect::Reply { ticket, .. } => answered.push(*ticket),
                _ => {}
            }
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
    assert_eq!(answered, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn an_open_input_is_closed_when_nobody_uses_it() {
    let mut supervisor = supervisor(MAP);
    let effects = supervisor.on(Event::InputIdle);
    let effects = supervisor.on(written(&effects));
    assert!(effects.contains(&Effect::Done));
}

type Feed = (Vec<Arc<str>>, bool);

/// The world around a supervisor: what it asked for and nobody has done yet, and what is durable.
struct World {
    rng: SmallRng,
    id: JobId,
    definition: JobDefinition,
    supervisor: Supervisor,
    log: Vec<Segment>,
    todo: Vec<Effect>,
    /// For each reducer its inputs, and whether these are all.
    feeds: BTreeMap<(usize, u8), Feed>,
    /// What each committed reducer was given, known when it finishes.
    read: BTreeMap<(usize, u8), Vec<Arc<str>>>,
    deleted: BTreeSet<Arc<str>>,
    done: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let phases = [
            (PhaseKind::Map, 1),
            (PhaseKind::Reduce, 3),
            (PhaseKind::Map, 1),
        ];
        let definition = definition(&phases);
        let id = JobId::random();
        let supervisor = Supervisor::new(id, 3, Ledger::new(id, &definition), Vec::new());
        Self {
            rng: SmallRng::seed_from_u64(seed),
            id,
            definition,
            supervisor,
            log: Vec::new(),
            todo: Vec::new(),
            feeds: BTreeMap::new(),
            read: BTreeMap::new(),
            deleted: BTreeSet::new(),
            done: false,
        }
    }

    fn tell(&mut self, event: Event) {
        for effect in self.supervisor.on(event) {
            match effect {
                Effect::Feed {
                    phase,
                    index,
                    input,
                } => {
                    self.feeds
                        .entry((phase, index))
                        .or_default()
                        .0
                        .push(input.name);
                }
                Effect::CloseFeed { phase, index } => {
                    self.feeds.entry((phase, index)).or_default().1 = true;
                }
                Effect::Delete(_) => {
                    self.check_delete(&effect);
                    self.todo.push(effect);
                }
                Effect::Done => self.done = true,
                Effect::Reply { .. } | Effect::CloseGroup { .. } | Effect::Abort => {}
                effect => self.todo.push(effect),
            }
        }
    }

    /// An object may go only when the log says that whoever wanted it has had it.
    fn check_delete(&self, effect: &Effect) {
        let Effect::Delete(name) = effect else { return };
        let mut ledger = Ledger::new(self.id, &self.definition);
        for segment in &self.log {
            ledger.apply(segment).unwrap();
        }
        let wanted = ledger
            .open_items()
            .into_iter()
            .any(|id| ledger.item(id).is_some_and(|item| item.name == *name));
        assert!(!wanted, "{name} is deleted while somebody wants it");
    }

    /// Does one of the things that are to be done, in any order.
    fn step(&mut self) {
        if self.todo.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.todo.len());
        match self.todo.swap_remove(at) {
            Effect::Write(entries) => {
                let time = Timestamp::from_millis(self.log.len() as u64);
                let segment = Segment::new(time, entries);
                self.log.push(segment.clone());
                self.tell(Event::Written(vec![segment]));
            }
            Effect::Resolve { item, name } => {
                let result = Ok(located(&name));
                self.tell(Event::Resolved { item, result });
            }
            Effect::StartMap {
                item,
                attempt,
                located,
                ..
            } => {
                let outputs = (0..located.name.len() % 3)
                    .map(|n| self.stored(item, n))
                    .collect();
                self.finish(Work::Item(item), attempt, outputs);
            }
            Effect::StartReduce {
                phase,
                index,
                attempt,
                open,
            } => {
                let (inputs, closed) = self.feeds.entry((phase, index)).or_default().clone();
                if !closed {
                    let again = Effect::StartReduce {
                        phase,
                        index,
                        attempt,
                        open,
                    };
                    return self.todo.push(again);
                }
                self.read.insert((phase, index), inputs);
                let output = self.stored(1_000_000 + u64::from(index), 0);
                self.finish(Work::Reducer { phase, index }, attempt, vec![output]);
            }
            Effect::Delete(name) => {
                self.deleted.insert(name);
                self.tell(Event::Deleted);
            }
            Effect::Gather => self.tell(Event::Gathered),
            effect => panic!("nobody does {effect:?}"),
        }
    }

    fn finish(&mut self, work: Work, attempt: u8, outputs: Vec<Output>) {
        self.tell(Event::Started { work, attempt });
        let outcome = match self.rng.random_range(0..20) {
            0 => Outcome::Lost,
            1 => Outcome::Failed(TaskError::internal()),
            _ => Outcome::Done(outputs),
        };
        self.tell(Event::Finished {
            work,
            attempt,
            outcome,
            run: None,
        });
    }

    fn stored(&self, item: u64, n: usize) -> Output {
        Output {
            name: format!("/u/jobs/{}/stor/{item}-{n}", self.id),
            reducer: None,
            reference: false,
        }
    }

    /// Everything but the log is gone; the write under way may have come through or not.
    fn crash(&mut self) {
        for effect in std::mem::take(&mut self.todo) {
            if let Effect::Write(entries) = effect
                && self.rng.random()
            {
                let time = Timestamp::from_millis(self.log.len() as u64);
                self.log.push(Segment::new(time, entries));
            }
        }
        self.feeds.clear();
        let mut ledger = Ledger::new(self.id, &self.definition);
        let mut redo = Vec::new();
        for segment in &self.log {
            for consequence in ledger.apply(segment).unwrap() {
                if let Consequence::Delete(name) = consequence {
                    redo.push(name);
                }
            }
        }
        self.supervisor = Supervisor::new(self.id, 3, ledger, redo);
        self.tell(Event::Begin);
    }
}

#[test]
fn whatever_crashes_nothing_is_lost_and_nothing_counts_twice() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    for round in 0..200 {
        one_life(seed.wrapping_add(round));
    }
}

fn one_life(seed: u64) {
    let mut world = World::new(seed);
    world.tell(Event::Begin);
    let inputs: Vec<String> = (0..20)
        .map(|n| format!("/u/stor/{}", "x".repeat(n)))
        .collect();
    // Inputs are added until the log has them: a caller whose request a crash cut off asks again.
    let mut added = 0;
    let mut steps = 0;
    while !world.done {
        steps += 1;
        assert!(steps < 100_000, "seed {seed}: no end in sight");
        let recorded = world.log.iter().flat_map(|s| &s.entries);
        let recorded = recorded
            .filter(|e| matches!(e, Entry::Inputs { .. }))
            .count();
        if added < inputs.len() && recorded == added && world.rng.random_ratio(1, 3) {
            let names = vec![inputs[added].clone()];
            world.tell(Event::AddInputs {
                ticket: 0,
                names,
                last: false,
            });
            added += 1;
        }
        if recorded == inputs.len() && world.supervisor.ledger().state() == Job::Open {
            world.tell(Event::EndInput { ticket: 0 });
        }
        if world.rng.random_ratio(1, 60) {
            world.crash();
            let recorded = world.log.iter().flat_map(|s| &s.entries);
            added = recorded
                .filter(|e| matches!(e, Entry::Inputs { .. }))
                .count();
        }
        world.step();
    }
    check(&world, &inputs, seed);
}

fn check(world: &World, inputs: &[String], seed: u64) {
    let entries: Vec<&Entry> = world.log.iter().flat_map(|s| &s.entries).collect();
    let commits: Vec<&Commit> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Commit(commit) => Some(commit),
            _ => None,
        })
        .collect();
    let works: BTreeSet<String> = commits.iter().map(|c| format!("{:?}", c.work)).collect();
    assert_eq!(
        works.len(),
        commits.len(),
        "seed {seed}: work committed twice"
    );
    let of_phase = |phase| commits.iter().filter(move |c| c.phase == phase);
    assert_eq!(
        of_phase(0).count(),
        inputs.len(),
        "seed {seed}: inputs lost or doubled"
    );
    assert_eq!(
        of_phase(1).count(),
        3,
        "seed {seed}: reducers lost or doubled"
    );
    let made: BTreeSet<String> = of_phase(0)
        .flat_map(|c| &c.outputs)
        .map(|o| o.name.clone())
        .collect();
    let read: Vec<String> = world
        .read
        .values()
        .flatten()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        read.len(),
        made.len(),
        "seed {seed}: inputs of reducers lost or doubled"
    );
    assert_eq!(
        read.into_iter().collect::<BTreeSet<_>>(),
        made,
        "seed {seed}"
    );
    let reduced = of_phase(1).flat_map(|c| &c.outputs).count();
    assert_eq!(of_phase(2).count(), reduced, "seed {seed}");
    // Whatever was consumed is gone.
    for name in made {
        assert!(
            world.deleted.contains(name.as_str()),
            "seed {seed}: {name} left behind"
        );
    }
    let stats = world.supervisor.view().stats;
    assert_eq!(stats.tasks, stats.tasks_done, "seed {seed}");
    let failures = commits.iter().filter(|c| c.failure.is_some()).count();
    assert_eq!(stats.errors, failures as u64, "seed {seed}");
}
