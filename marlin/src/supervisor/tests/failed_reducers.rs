//! Reducers that have failed while there is still something on its way to them.

use super::*;

/// What came of an event.
#[derive(Debug, Default)]
struct Settled {
    not_found: Vec<u64>,
    closed_feeds: Vec<u8>,
    failures: u64,
    done: bool,
}

/// Makes everything durable and finds every input but those that are `held` back, until there is nothing to do but
/// to run tasks.
fn settle(supervisor: &mut Supervisor, event: Event, held: impl Fn(&str) -> bool) -> Settled {
    let effects = supervisor.on(event);
    carry_out(supervisor, effects, held)
}

fn carry_out(
    supervisor: &mut Supervisor,
    effects: Vec<Effect>,
    held: impl Fn(&str) -> bool,
) -> Settled {
    let mut settled = Settled::default();
    let mut effects = effects;
    while !effects.is_empty() {
        let mut events = Vec::new();
        for effect in effects {
            match effect {
                Effect::Write(entries) => {
                    let failed = |entry: &&Entry| matches!(entry, Entry::Commit(commit) if commit.failure.is_some());
                    settled.failures += entries.iter().filter(failed).count() as u64;
                    let segment = Segment::new(Timestamp::from_millis(1), entries);
                    events.push(Event::Written(vec![segment]));
                }
                Effect::Resolve { item, name } if held(&name) => settled.not_found.push(item),
                Effect::Resolve { item, name } => {
                    let result = Ok(located(&name));
                    events.push(Event::Resolved { item, result });
                }
                Effect::Gather => events.push(Event::Gathered),
                Effect::Delete(_) => events.push(Event::Deleted),
                Effect::CloseFeed { index, .. } => settled.closed_feeds.push(index),
                Effect::Done => settled.done = true,
                _ => {}
            }
        }
        effects = events
            .into_iter()
            .flat_map(|event| supervisor.on(event))
            .collect();
    }
    settled
}

/// A task for each input of the first phase, which feed two reducers.
fn two_reducers() -> Supervisor {
    let mut supervisor = supervisor(&[(PhaseKind::Map, 1), (PhaseKind::Reduce, 2)]);
    let none = |_: &str| false;
    settle(&mut supervisor, add(1, &["/u/stor/a", "/u/stor/b"]), none);
    settle(&mut supervisor, Event::EndInput { ticket: 2 }, none);
    supervisor
}

fn output(supervisor: &Supervisor, name: &str, reducer: u8) -> Output {
    Output {
        name: format!("/u/jobs/{}/stor/{name}", supervisor.id),
        reducer: Some(reducer),
        reference: false,
    }
}

fn finished(work: Work, attempt: u8, outcome: Outcome) -> Event {
    Event::Finished {
        work,
        attempt,
        outcome,
        run: None,
    }
}

/// An input that turns out not to be there while its reducer's failure is being recorded is nobody's error.
#[test]
fn a_reducer_that_has_failed_is_told_of_once() {
    let mut supervisor = two_reducers();
    let outputs = vec![
        output(&supervisor, "early", 0),
        output(&supervisor, "slow", 0),
    ];
    let first = finished(Work::Item(0), 1, Outcome::Done(outputs));
    let slow = settle(&mut supervisor, first, |name| name.ends_with("slow")).not_found;
    let reducer = Work::Reducer { phase: 1, index: 0 };
    for attempt in 1..=2 {
        let lost = finished(reducer, attempt, Outcome::Lost);
        settle(&mut supervisor, lost, |_| false);
    }
    let mut effects = supervisor.on(finished(reducer, 3, Outcome::Lost));
    effects.extend(supervisor.on(Event::Resolved {
        item: slow[0],
        result: Err(TaskError::new(
            ErrorCode::ResourceNotFound,
            "no such object",
        )),
    }));
    let mut failures = carry_out(&mut supervisor, effects, |_| false).failures;
    let second = finished(Work::Item(1), 1, Outcome::Done(Vec::new()));
    failures += settle(&mut supervisor, second, |_| false).failures;
    let last = Work::Reducer { phase: 1, index: 1 };
    let last = finished(last, 1, Outcome::Done(Vec::new()));
    assert!(
        settle(&mut supervisor, last, |_| false).done,
        "{supervisor:?}"
    );
    assert_eq!((failures, supervisor.ledger.stats().errors), (1, 1));
}

/// A reducer that is lost three times fails at once, whatever is still on its way to it.
#[test]
fn what_comes_for_a_reducer_that_has_failed_keeps_nobody_waiting() {
    let mut supervisor = two_reducers();
    let area = format!("/u/jobs/{}/stor", supervisor.id);
    let none = |_: &str| false;
    let first = vec![
        output(&supervisor, "early", 0),
        output(&supervisor, "slow", 0),
    ];
    let first = finished(Work::Item(0), 1, Outcome::Done(first));
    let slow = settle(&mut supervisor, first, |name| name.ends_with("slow")).not_found;
    let reducer = |index| Work::Reducer { phase: 1, index };
    for attempt in 1..=3 {
        settle(
            &mut supervisor,
            finished(reducer(0), attempt, Outcome::Lost),
            none,
        );
    }
    assert_eq!(supervisor.ledger.stats().errors, 1);
    // A look-up that was under way, and a task that was.
    let [item] = slow[..] else {
        panic!("{slow:?}");
    };
    let name: Arc<str> = format!("{area}/slow").into();
    let result = Ok(located(&name));
    settle(&mut supervisor, Event::Resolved { item, result }, none);
    let second = vec![
        output(&supervisor, "late", 0),
        output(&supervisor, "good", 1),
    ];
    let second = finished(Work::Item(1), 1, Outcome::Done(second));
    assert_eq!(settle(&mut supervisor, second, none).closed_feeds, [1]);
    let last = finished(reducer(1), 1, Outcome::Done(Vec::new()));
    assert!(settle(&mut supervisor, last, none).done, "{supervisor:?}");
}
