//! The runs. Small ones always; `MODEL_SIZE=large` adds the long ones.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries};

use super::*;

const DIRECTORY: Slot = Slot::Directory(Mark::Normal);

fn run(presence: Presence, slot: Slot, repeats: u8, roles: &[Role]) -> Directory {
    Directory {
        presence,
        slot,
        roles: roles.to_vec(),
        repeats,
        mutation: None,
    }
}

fn recorded(slot: Slot, repeats: u8, roles: &[Role]) -> Directory {
    run(Presence::Recorded, slot, repeats, roles)
}

fn is_large() -> bool {
    match std::env::var("MODEL_SIZE").as_deref() {
        Ok("large") => true,
        Ok("small") | Err(_) => false,
        Ok(other) => panic!("MODEL_SIZE is {other}, not small or large"),
    }
}

fn holds(model: Directory) {
    let begun = Instant::now();
    let label = format!(
        "{:?} {:?} {} {:?}",
        model.presence, model.slot, model.repeats, model.roles
    );
    let checker = model
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    checker.assert_properties();
    println!(
        "{} states in {:.1} s: {label}",
        checker.unique_state_count(),
        begun.elapsed().as_secs_f64()
    );
}

/// The names of the properties that a mutated protocol violates, sorted.
fn violated(mutation: Mutation, model: Directory, until: HasDiscoveries) -> Vec<&'static str> {
    let checker = Directory {
        mutation: Some(mutation),
        ..model
    }
    .checker()
    .threads(2)
    .finish_when(until)
    .spawn_bfs()
    .join();
    let mut names: Vec<_> = checker.discoveries().into_keys().collect();
    names.sort_unstable();
    println!(
        "{mutation:?}: {names:?} in {} states",
        checker.unique_state_count()
    );
    names
}

use Role::{Insert, List, MakeDirectory, PutObject, Refused, Remove, RemoveChild, RemoveObject};

#[test]
fn inserters_and_removers() {
    holds(recorded(
        DIRECTORY,
        0,
        &[Insert(0), Insert(1), Remove, Remove],
    ));
}

#[test]
fn an_inserter_two_removers_a_creator_and_a_child_deleter() {
    holds(recorded(
        DIRECTORY,
        0,
        &[Insert(0), Remove, Remove, MakeDirectory, RemoveChild(0)],
    ));
}

#[test]
fn an_object_at_the_name_of_the_directory() {
    holds(recorded(
        Slot::Object,
        0,
        &[Insert(0), Remove, MakeDirectory, PutObject, RemoveObject],
    ));
}

#[test]
fn a_directory_made_twice_and_removed() {
    holds(recorded(
        Slot::Absent,
        0,
        &[
            Insert(0),
            Remove,
            MakeDirectory,
            MakeDirectory,
            RemoveChild(0),
        ],
    ));
}

#[test]
fn a_listing_beside_everything() {
    holds(recorded(
        DIRECTORY,
        0,
        &[Insert(0), Remove, List, MakeDirectory, RemoveChild(0)],
    ));
}

#[test]
fn a_write_that_is_refused_leaves_nothing_behind() {
    holds(recorded(
        DIRECTORY,
        0,
        &[Refused, Insert(0), Remove, Remove, MakeDirectory],
    ));
}

#[test]
fn steps_that_may_repeat_arrive_twice() {
    holds(recorded(
        DIRECTORY,
        2,
        &[Insert(0), Remove, RemoveChild(0), MakeDirectory],
    ));
    holds(recorded(DIRECTORY, 1, &[Insert(0), Remove, Remove]));
}

#[test]
fn a_root_is_always_there() {
    for slot in [Slot::Absent, DIRECTORY] {
        holds(run(
            Presence::Always,
            slot,
            0,
            &[Insert(0), Remove, Remove, MakeDirectory, RemoveChild(0)],
        ));
    }
}

#[test]
fn larger_runs_when_asked_for() {
    if !is_large() {
        println!("MODEL_SIZE=large runs the larger configurations");
        return;
    }
    for roles in [
        &[Insert(0), Insert(1), Remove, Remove, MakeDirectory][..],
        &[Insert(0), Insert(1), Insert(2), Remove, Remove],
        &[Insert(0), Insert(1), Remove, Remove, Remove],
        &[
            Insert(0),
            Remove,
            Remove,
            MakeDirectory,
            PutObject,
            RemoveObject,
        ],
        &[
            Insert(0),
            Insert(1),
            Remove,
            MakeDirectory,
            PutObject,
            RemoveObject,
        ],
        &[
            Insert(0),
            Insert(1),
            Remove,
            Remove,
            MakeDirectory,
            RemoveChild(0),
        ],
        &[Insert(0), Insert(0), Remove, Remove, List, MakeDirectory],
        &[
            Insert(0),
            Remove,
            Remove,
            Remove,
            MakeDirectory,
            RemoveChild(0),
        ],
        &[
            Insert(0),
            Insert(1),
            Insert(2),
            Remove,
            Remove,
            MakeDirectory,
        ],
        &[
            Insert(0),
            Remove,
            Remove,
            MakeDirectory,
            PutObject,
            RemoveObject,
            RemoveChild(0),
        ],
    ] {
        holds(recorded(DIRECTORY, 0, roles));
    }
}

#[test]
fn larger_runs_with_repeats_when_asked_for() {
    if !is_large() {
        println!("MODEL_SIZE=large runs the larger configurations");
        return;
    }
    for presence in [Presence::Always, Presence::Recorded] {
        holds(run(
            presence,
            DIRECTORY,
            1,
            &[Insert(0), Remove, Remove, MakeDirectory, RemoveChild(0)],
        ));
    }
    holds(recorded(
        DIRECTORY,
        2,
        &[Insert(0), Insert(1), Remove, Remove],
    ));
}

// The eight simplifications. Each must be caught.

#[test]
fn wrong_1_overwriting_a_closing_row_orphans() {
    let model = recorded(DIRECTORY, 0, &[Insert(0), Remove, Remove, MakeDirectory]);
    let names = violated(Mutation::OverwriteClosing, model, HasDiscoveries::All);
    assert!(names.contains(&"I1 no orphan"), "{names:?}");
}

#[test]
fn wrong_2_adopting_a_mark_orphans() {
    let model = recorded(DIRECTORY, 0, &[Insert(0), Remove, Remove, MakeDirectory]);
    let names = violated(Mutation::AdoptMark, model, HasDiscoveries::All);
    assert!(names.contains(&"I1 no orphan"), "{names:?}");
}

#[test]
fn wrong_3_success_without_a_removal() {
    let model = recorded(DIRECTORY, 0, &[Insert(0), Remove, Remove]);
    let names = violated(Mutation::IgnoreMissedRemoval, model, HasDiscoveries::All);
    assert!(names.contains(&"I5 linearizable"), "{names:?}");
}

#[test]
fn wrong_4_helping_without_looking() {
    let model = recorded(DIRECTORY, 0, &[Insert(0), Insert(1), Remove]);
    let names = violated(Mutation::HelpBlindly, model, HasDiscoveries::All);
    assert!(names.contains(&"I5 linearizable"), "{names:?}");
}

#[test]
fn wrong_5_an_object_is_no_directory() {
    let model = recorded(Slot::Object, 0, &[Insert(0)]);
    let names = violated(Mutation::ObjectIsPresent, model, HasDiscoveries::All);
    assert!(names.contains(&"I2 open means present"), "{names:?}");
}

#[test]
fn wrong_6_dropping_a_probe_that_became_a_row() {
    let model = recorded(Slot::Absent, 0, &[Insert(0), Insert(1), MakeDirectory]);
    let names = violated(Mutation::DropProbeAlways, model, HasDiscoveries::All);
    assert!(names.contains(&"I3 and I6 the count is exact"), "{names:?}");
}

#[test]
fn wrong_7_sending_one_time_tokens_again_orphans() {
    let model = recorded(DIRECTORY, 1, &[Insert(0), Remove, MakeDirectory]);
    let names = violated(Mutation::ResendAnything, model, HasDiscoveries::All);
    assert!(names.contains(&"I1 no orphan"), "{names:?}");
}

/// Safe for the tree, wrong for its clients: the directory was there once, and two removals are acknowledged.
#[test]
fn wrong_8_finishing_the_removal_of_another() {
    let model = recorded(DIRECTORY, 0, &[Insert(0), Remove, Remove]);
    let names = violated(Mutation::FinishOthers, model, HasDiscoveries::All);
    for safe in ["I1", "I2", "I3", "I7"] {
        assert!(
            !names.iter().any(|name| name.starts_with(safe)),
            "{names:?}"
        );
    }

    let removers = Directory {
        mutation: Some(Mutation::FinishOthers),
        ..recorded(DIRECTORY, 0, &[Remove, Remove])
    };
    let checker = removers.checker().spawn_bfs().join();
    let path = checker.assert_any_discovery("I5 linearizable");
    assert_eq!(path.last_state().removals_acknowledged, 2);
}
