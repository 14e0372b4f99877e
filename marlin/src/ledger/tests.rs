//! The fold of a job's log.

use libmanta::marlin::Phase;

use super::*;
use crate::record::{ErrorCode, Failure, Output, TaskError};

fn phase(kind: PhaseKind, count: Option<u8>) -> Phase {
    Phase {
        count,
        ..Phase::new(kind, "true")
    }
}

struct Fold {
    ledger: Ledger,
    id: JobId,
    time: u64,
}

impl Fold {
    fn new(phases: Vec<Phase>) -> Self {
        let id = JobId::random();
        let definition = JobDefinition {
            name: String::new(),
            transient: false,
            phases,
            options: None,
        };
        Self {
            ledger: Ledger::new(id, &definition),
            id,
            time: 0,
        }
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Vec<Consequence> {
        self.time += 1;
        let segment = Segment::new(Timestamp::from_millis(self.time), entries);
        self.ledger.apply(&segment).unwrap()
    }

    fn stored(&self, name: &str) -> String {
        format!("/u/jobs/{}/stor/{name}", self.id)
    }
}

fn inputs(names: &[&str]) -> Entry {
    Entry::Inputs {
        names: names.iter().map(ToString::to_string).collect(),
    }
}

fn done(work: Work, phase: usize, outputs: &[&str]) -> Entry {
    Entry::Commit(Commit {
        work,
        phase,
        attempts: 1,
        outputs: outputs
            .iter()
            .map(|name| Output {
                name: name.to_string(),
                reducer: None,
                reference: false,
            })
            .collect(),
        failure: None,
        run: None,
    })
}

fn refused(work: Work) -> Entry {
    Entry::Commit(Commit {
        work,
        phase: 0,
        attempts: 0,
        outputs: vec![],
        failure: Some(Failure {
            phase: 0,
            error: TaskError::new(ErrorCode::ResourceNotFound, "gone"),
            input: None,
            origin: None,
            task: None,
        }),
        run: None,
    })
}

#[test]
fn a_job_without_inputs_is_done_when_its_input_ends() {
    let mut fold = Fold::new(vec![phase(PhaseKind::Map, None)]);
    fold.apply(vec![Entry::InputEnded]);
    assert_eq!(fold.ledger.state(), Job::Done { cancelled: false });
    assert_eq!(fold.ledger.times().done, Some(Timestamp::from_millis(1)));
}

#[test]
fn the_last_commit_finishes_a_job_of_one_phase() {
    let mut fold = Fold::new(vec![phase(PhaseKind::Map, None)]);
    fold.apply(vec![
        inputs(&["/u/stor//a", "/u/stor/b"]),
        Entry::InputEnded,
    ]);
    assert_eq!(&*fold.ledger.item(0).unwrap().name, "/u/stor/a");
    fold.apply(vec![done(Work::Item(1), 0, &["/x"])]);
    assert_eq!(fold.ledger.state(), Job::Ended);
    fold.apply(vec![refused(Work::Item(0))]);
    assert_eq!(fold.ledger.state(), Job::Done { cancelled: false });
    let stats = fold.ledger.stats();
    assert_eq!(
        (stats.outputs, stats.errors, stats.tasks, stats.tasks_done),
        (1, 1, 1, 1)
    );
}

#[test]
fn a_commit_counts_once_however_often_it_is_written() {
    let mut fold = Fold::new(vec![phase(PhaseKind::Map, None)]);
    fold.apply(vec![inputs(&["/u/stor/a", "/u/stor/b"])]);
    fold.apply(vec![done(Work::Item(0), 0, &["/x"])]);
    fold.apply(vec![done(Work::Item(0), 0, &["/x"])]);
    assert_eq!(fold.ledger.stats().outputs, 1);
}

#[test]
fn outputs_become_items_of_the_next_phase_and_are_deleted_with_their_consumer() {
    let mut fold = Fold::new(vec![
        phase(PhaseKind::Map, None),
        phase(PhaseKind::Map, None),
    ]);
    fold.apply(vec![inputs(&["/u/stor/a"]), Entry::InputEnded]);
    let (ours, elsewhere) = (fold.stored("x"), "/u/stor/kept");
    let made = fold.apply(vec![done(Work::Item(0), 0, &[&ours, elsewhere])]);
    assert_eq!(made, [Consequence::NewItem(1), Consequence::NewItem(2)]);
    let item = fold.ledger.item(1).unwrap();
    assert_eq!((item.phase, item.origin.as_deref()), (1, Some("/u/stor/a")));
    let after = fold.apply(vec![done(Work::Item(1), 1, &["/r"])]);
    assert_eq!(after, [Consequence::Delete(ours.as_str().into())]);
    assert_eq!(fold.apply(vec![done(Work::Item(2), 1, &["/s"])]), []);
    // A job that deletes says itself when it has finished.
    assert!(fold.ledger.is_quiet() && fold.ledger.state() == Job::Ended);
    fold.apply(vec![Entry::Finished]);
    assert_eq!(fold.ledger.state(), Job::Done { cancelled: false });
}

#[test]
fn an_intermediate_object_lives_as_long_as_somebody_wants_it() {
    let mut fold = Fold::new(vec![
        phase(PhaseKind::Map, None),
        phase(PhaseKind::Map, None),
    ]);
    let name = fold.stored("x");
    fold.apply(vec![inputs(&["/u/stor/a"])]);
    // Emitted twice, so wanted twice.
    fold.apply(vec![done(Work::Item(0), 0, &[&name, &name])]);
    assert_eq!(fold.apply(vec![done(Work::Item(1), 1, &[])]), []);
    let last = fold.apply(vec![done(Work::Item(2), 1, &[])]);
    assert_eq!(last, [Consequence::Delete(name.as_str().into())]);

    // A result that is only a reference to it keeps it for ever.
    fold.apply(vec![inputs(&["/u/stor/a"])]);
    fold.apply(vec![done(Work::Item(3), 0, &[&name])]);
    let mut entry = done(Work::Item(4), 1, &[&name]);
    if let Entry::Commit(commit) = &mut entry {
        commit.outputs[0].reference = true;
    }
    assert_eq!(fold.apply(vec![entry]), []);
}

#[test]
fn a_reducer_consumes_all_its_inputs_at_once() {
    let mut fold = Fold::new(vec![
        phase(PhaseKind::Map, None),
        phase(PhaseKind::Reduce, Some(2)),
        phase(PhaseKind::Map, None),
    ]);
    fold.apply(vec![inputs(&["/u/stor/a", "/u/stor/b"]), Entry::InputEnded]);
    let names: Vec<String> = (0..8).map(|n| fold.stored(&n.to_string())).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    fold.apply(vec![done(Work::Item(0), 0, &names)]);
    assert!(!fold.ledger.is_fed(1));
    fold.apply(vec![done(Work::Item(1), 0, &[])]);
    assert!(fold.ledger.is_fed(1) && !fold.ledger.is_fed(2));
    let mut deleted = 0;
    for index in 0..2 {
        let made = fold.apply(vec![done(
            Work::Reducer { phase: 1, index },
            1,
            &["/u/stor/r"],
        )]);
        deleted += made
            .iter()
            .filter(|c| matches!(c, Consequence::Delete(_)))
            .count();
        assert!(fold.ledger.is_committed(1, usize::from(index)));
    }
    assert_eq!(deleted, 8);
    assert!(fold.ledger.is_fed(2));
    // What comes after a reducer has no ancestor among the job's inputs.
    assert!(fold.ledger.open_items().iter().all(|id| {
        let item = fold.ledger.item(*id).unwrap();
        item.phase == 2 && item.origin.is_none()
    }));
}

#[test]
fn items_addressed_to_no_reducer_have_no_place() {
    let mut fold = Fold::new(vec![
        phase(PhaseKind::Map, None),
        phase(PhaseKind::Reduce, Some(1)),
    ]);
    fold.apply(vec![inputs(&["/u/stor/a"])]);
    let mut entry = done(Work::Item(0), 0, &["/u/stor/x"]);
    if let Entry::Commit(commit) = &mut entry {
        commit.outputs[0].reducer = Some(1);
    }
    fold.apply(vec![entry]);
    let place = fold.ledger.item(1).unwrap().place;
    assert_eq!(
        place,
        Place::Nowhere {
            index: 1,
            reducers: 1
        }
    );
}

#[test]
fn a_cancelled_job_is_done_and_takes_nothing_more() {
    let mut fold = Fold::new(vec![phase(PhaseKind::Map, None)]);
    fold.apply(vec![inputs(&["/u/stor/a"])]);
    fold.apply(vec![Entry::Cancelled {
        errors: vec![],
        tasks: 0,
    }]);
    assert_eq!(fold.ledger.state(), Job::Done { cancelled: true });
    let segment = Segment::new(Timestamp::from_millis(9), vec![inputs(&["/u/stor/b"])]);
    assert!(fold.ledger.apply(&segment).is_err());
}
