//! Results that wait a moment for each other.

use super::*;

/// A job of one map phase whose tasks all run.
fn running(inputs: u64) -> Supervisor {
    let mut supervisor = supervisor(MAP);
    let name: Arc<str> = "/u/stor/a".into();
    let names = vec![name.to_string(); inputs as usize];
    let effects = supervisor.on(Event::AddInputs {
        ticket: 1,
        names,
        last: false,
    });
    supervisor.on(written(&effects));
    for item in 0..inputs {
        let result = Ok(located(&name));
        supervisor.on(Event::Resolved { item, result });
    }
    supervisor
}

fn finish(supervisor: &mut Supervisor, item: u64) -> Vec<Effect> {
    supervisor.on(Event::Finished {
        work: Work::Item(item),
        attempt: 1,
        outcome: Outcome::Done(Vec::new()),
        run: None,
    })
}

fn entries(effects: &[Effect]) -> usize {
    match effects {
        [Effect::Write(entries)] => entries.len(),
        _ => panic!("{effects:?}"),
    }
}

#[test]
fn results_are_written_together_when_their_time_is_over() {
    let mut supervisor = running(5);
    assert_eq!(finish(&mut supervisor, 0), [Effect::Gather]);
    assert_eq!(finish(&mut supervisor, 1), []);
    assert_eq!(finish(&mut supervisor, 2), []);
    let effects = supervisor.on(Event::Gathered);
    assert_eq!(entries(&effects), 3);
    // What ends during the write has waited, and so gathers anew only afterwards.
    assert_eq!(finish(&mut supervisor, 3), []);
    assert_eq!(supervisor.on(written(&effects)), [Effect::Gather]);
    assert_eq!(supervisor.view().stats.tasks_done, 3);
}

#[test]
fn the_last_result_waits_for_nothing() {
    let mut supervisor = running(1);
    assert_eq!(entries(&finish(&mut supervisor, 0)), 1);
    let mut supervisor = running(2);
    assert_eq!(finish(&mut supervisor, 0), [Effect::Gather]);
    let effects = finish(&mut supervisor, 1);
    assert_eq!(entries(&effects), 2);
    // The clock that still runs says nothing.
    assert_eq!(supervisor.on(Event::Gathered), []);
    assert_eq!(supervisor.on(written(&effects)), []);
    assert_eq!(supervisor.view().stats.tasks_done, 2);
}

#[test]
fn nobody_waits_for_results_that_gather() {
    let mut supervisor = running(3);
    assert_eq!(finish(&mut supervisor, 0), [Effect::Gather]);
    let effects = supervisor.on(Event::EndInput { ticket: 2 });
    assert_eq!(entries(&effects), 2);
}
