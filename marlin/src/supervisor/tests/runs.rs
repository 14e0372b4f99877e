//! How attempts went, in the commits of their tasks.

use super::*;

#[test]
fn a_commit_keeps_how_its_last_attempt_went_and_names_what_it_worked_on_once() {
    let phases = &[(PhaseKind::Map, 1), (PhaseKind::Map, 1)];
    let run = || {
        Some(Box::new(Run {
            queued: Timestamp::from_millis(5),
            wait_ms: 1,
            run_ms: 2,
            node: "node".into(),
            zone: "zone".to_owned(),
            end: None,
            used: None,
            input: None,
            origin: None,
        }))
    };
    let mut supervisor = supervisor(phases);
    let names = names(&["/u/stor/a", "/u/stor/b"]);
    let effects = supervisor.on(Event::AddInputs {
        ticket: 1,
        names,
        last: false,
    });
    supervisor.on(written(&effects));
    let resolve = |supervisor: &mut Supervisor, item, name: &str| {
        let result = Ok(located(&name.into()));
        supervisor.on(Event::Resolved { item, result });
    };
    resolve(&mut supervisor, 0, "/u/stor/a");
    resolve(&mut supervisor, 1, "/u/stor/b");
    let finish = |supervisor: &mut Supervisor, item, outcome| {
        let effects = supervisor.on(Event::Finished {
            work: Work::Item(item),
            attempt: 1,
            outcome,
            run: run(),
        });
        let effects = gathered(supervisor, effects);
        let [Effect::Write(entries)] = effects.as_slice() else {
            panic!("{effects:?}");
        };
        let [Entry::Commit(commit)] = entries.as_slice() else {
            panic!("{entries:?}");
        };
        let commit = commit.clone();
        supervisor.on(written(&effects));
        commit
    };
    let output = Output {
        name: "/u/jobs/x".to_owned(),
        reducer: None,
        reference: false,
    };
    let named = |input: &str, origin: Option<&str>| {
        run().map(|mut run| {
            run.input = Some(input.to_owned());
            run.origin = origin.map(str::to_owned);
            run
        })
    };
    let first = finish(&mut supervisor, 0, Outcome::Done(vec![output]));
    assert_eq!(first.run, named("/u/stor/a", None));
    // A failure names it already.
    let failed = finish(&mut supervisor, 1, Outcome::Failed(TaskError::internal()));
    assert_eq!(
        (failed.run, failed.failure.unwrap().input.as_deref()),
        (run(), Some("/u/stor/b"))
    );
    resolve(&mut supervisor, 2, "/u/jobs/x");
    let second = finish(&mut supervisor, 2, Outcome::Done(Vec::new()));
    assert_eq!(second.run, named("/u/jobs/x", Some("/u/stor/a")));
}
