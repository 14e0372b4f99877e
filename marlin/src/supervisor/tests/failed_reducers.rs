//! Reducers that have failed while there is still something on its way to them.

use super::*;

/// What came of an event.
#[derive(Debug, Default)]
struct Settled {
    not_found: Vec<u64>,
    closed_feeds: Vec<u8>,
    done: bool,
}

/// Makes everything durable and finds every input but those that are `held` back, until there is nothing to do but
/// to run tasks.
fn settle(supervisor: &mut Supervisor, event: Event, held: impl Fn(&str) -> bool) -> Settled {
    let mut settled = Settled::default();
    let mut events = vec![event];
    while let Some(event) = events.pop() {
        for effect in supervisor.on(event) {
            match effect {
                Effect::Write(entries) => {
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
    }
    settled
}

/// A reducer that is lost three times fails at once, whatever is still on its way to it.
#[test]
fn what_comes_for_a_reducer_that_has_failed_keeps_nobody_waiting() {
    let mut supervisor = supervisor(&[(PhaseKind::Map, 1), (PhaseKind::Reduce, 2)]);
    let area = format!("/u/jobs/{}/stor", supervisor.id);
    let output = |name: &str, reducer: u8| Output {
        name: format!("{area}/{name}"),
        reducer: Some(reducer),
        reference: false,
    };
    let finished = |work, attempt, outcome| Event::Finished {
        work,
        attempt,
        outcome,
        run: None,
    };
    let none = |_: &str| false;
    settle(&mut supervisor, add(1, &["/u/stor/a", "/u/stor/b"]), none);
    settle(&mut supervisor, Event::EndInput { ticket: 2 }, none);
    let first = vec![output("early", 0), output("slow", 0)];
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
    let second = vec![output("late", 0), output("good", 1)];
    let second = finished(Work::Item(1), 1, Outcome::Done(second));
    assert_eq!(settle(&mut supervisor, second, none).closed_feeds, [1]);
    let last = finished(reducer(1), 1, Outcome::Done(Vec::new()));
    assert!(settle(&mut supervisor, last, none).done, "{supervisor:?}");
}
