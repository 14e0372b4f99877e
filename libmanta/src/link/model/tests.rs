//! The runs. Small ones always; `MODEL_SIZE=large` adds the long ones.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries};

use super::*;

fn run(begin: [Option<u8>; NAMES_MAX], roles: &[Role]) -> Names {
    Names {
        begin,
        directory: None,
        roles: roles.to_vec(),
        repeats: 0,
        crashes: true,
        mutation: None,
        passed: Arc::default(),
    }
}

/// Object 0 under name 0, and nothing else.
fn alone(roles: &[Role]) -> Names {
    run([Some(0), None, None], roles)
}

const fn transfer(source: u8, target: u8) -> Transfer {
    Transfer {
        source,
        target,
        source_if: If::Any,
        target_if: If::Any,
        place: Place::Apart,
    }
}

const fn link(source: u8, target: u8) -> Role {
    Role::Link(transfer(source, target))
}

const fn rename(source: u8, target: u8) -> Role {
    Role::Rename(transfer(source, target))
}

const fn put(name: u8, object: u8) -> Role {
    Role::Put(name, object, If::Any)
}

const fn delete(name: u8) -> Role {
    Role::Delete(name, If::Any)
}

/// Under a condition on the object at each name.
const fn when(source_if: If, target_if: If, of: Role) -> Role {
    match of {
        Role::Link(transfer) => Role::Link(Transfer {
            source_if,
            target_if,
            ..transfer
        }),
        Role::Rename(transfer) => Role::Rename(Transfer {
            source_if,
            target_if,
            ..transfer
        }),
        other => other,
    }
}

/// Where the shards allow fewer steps.
const fn at(place: Place, of: Role) -> Role {
    match of {
        Role::Link(transfer) => Role::Link(Transfer { place, ..transfer }),
        Role::Rename(transfer) => Role::Rename(Transfer { place, ..transfer }),
        other => other,
    }
}

fn is_large() -> bool {
    match std::env::var("MODEL_SIZE").as_deref() {
        Ok("large") => true,
        Ok("small") | Err(_) => false,
        Ok(other) => panic!("MODEL_SIZE is {other}, not small or large"),
    }
}

fn holds(model: Names) {
    let begun = Instant::now();
    let label = format!(
        "{:?} {:?} {} {:?}",
        model.begin, model.directory, model.repeats, model.roles
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
fn violated(mutation: Mutation, model: Names) -> Vec<&'static str> {
    let checker = Names {
        mutation: Some(mutation),
        ..model
    }
    .checker()
    .threads(2)
    .finish_when(HasDiscoveries::All)
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

use Role::{Audit, Get, List, MakeDirectory, RemoveDirectory, Repair, Update};

/// Nobody stops, so the log alone must clear up.
fn without_crashes(model: Names) -> Names {
    Names {
        crashes: false,
        ..model
    }
}

fn with_directory(model: Names) -> Names {
    Names {
        directory: Some(true),
        ..model
    }
}

fn repeating(repeats: u8, model: Names) -> Names {
    Names { repeats, ..model }
}

#[test]
fn a_linker_beside_writers_of_both_names() {
    for roles in [
        &[link(0, 1), delete(0), put(1, 1), Get(1)][..],
        &[link(0, 1), put(0, 1), delete(1), Get(0)],
        &[link(0, 1), delete(0), delete(1), List],
    ] {
        holds(without_crashes(alone(roles)));
        holds(without_crashes(run([Some(0), Some(2), None], roles)));
    }
}

#[test]
fn a_renamer_beside_writers_of_both_names() {
    for roles in [
        &[rename(0, 1), delete(0), put(1, 1), Get(1)][..],
        &[rename(0, 1), put(0, 1), delete(1), Get(0)],
        &[rename(0, 1), delete(0), delete(1), List],
    ] {
        holds(without_crashes(alone(roles)));
        holds(without_crashes(run([Some(0), Some(2), None], roles)));
    }
}

#[test]
fn two_transfers() {
    for roles in [
        &[link(0, 1), rename(0, 1), delete(0)][..],
        &[rename(0, 1), rename(0, 2), delete(1)],
        &[rename(0, 1), link(1, 0), put(0, 1)],
        &[rename(0, 1), rename(1, 0), Get(0)],
        &[link(0, 1), rename(0, 2), delete(0)],
    ] {
        holds(without_crashes(alone(roles)));
    }
}

/// The second takes the object from the name that the first has just entered.
#[test]
fn a_listing_beside_a_rename_and_another_one_back() {
    holds(alone(&[rename(0, 1), rename(1, 0), List]));
    holds(run(
        [Some(0), Some(2), None],
        &[rename(0, 1), rename(1, 0), List],
    ));
}

#[test]
fn metadata_is_never_lost() {
    for roles in [
        &[link(0, 1), Update(0, 5), Get(1)][..],
        &[rename(0, 1), Update(0, 5), Get(1)],
        &[rename(0, 1), Update(1, 5), Get(1), delete(0)],
        &[rename(0, 1), Update(0, 5), Update(1, 6), List],
    ] {
        holds(without_crashes(alone(roles)));
        holds(without_crashes(run([Some(0), Some(2), None], roles)));
    }
}

#[test]
fn conditions_are_decided_at_one_instant_with_the_rest() {
    for roles in [
        // Each name is taken at most once.
        &[
            when(If::Any, If::None, link(0, 1)),
            when(If::Any, If::None, rename(0, 1)),
            Role::Put(1, 1, If::None),
        ][..],
        &[
            when(If::Is(0), If::Any, rename(0, 1)),
            put(0, 1),
            Role::Put(1, 2, If::Is(0)),
        ],
        &[
            when(If::Is(0), If::None, rename(0, 1)),
            Role::Delete(0, If::Is(0)),
            Role::Put(0, 1, If::None),
            Get(1),
        ],
        &[
            when(If::Is(1), If::Any, link(0, 1)),
            put(0, 1),
            Role::Delete(1, If::Is(1)),
        ],
    ] {
        holds(alone(roles));
        holds(run([Some(0), Some(3), None], roles));
    }
}

#[test]
fn fewer_steps_where_shards_allow_it() {
    for place in [Place::Together, Place::Here] {
        for roles in [
            &[at(place, rename(0, 1)), link(0, 2), delete(1)][..],
            &[at(place, rename(0, 1)), rename(0, 2), put(0, 1)],
            &[at(place, link(0, 1)), rename(0, 2), delete(0)],
            &[at(place, rename(0, 1)), link(1, 0), Update(0, 5)],
            &[at(place, rename(0, 1)), rename(1, 2), Repair(0)],
        ] {
            holds(alone(roles));
        }
    }
}

#[test]
fn copies_are_repaired_beside_transfers() {
    for roles in [
        &[Repair(0), link(0, 1), delete(0)][..],
        &[Repair(0), rename(0, 1), Repair(1), Get(1)],
        &[Repair(0), Repair(0), link(0, 1), put(1, 1)],
    ] {
        holds(without_crashes(alone(roles)));
    }
}

#[test]
fn a_directory_is_removed_beside_transfers() {
    for begin in [[Some(0), None, None], [Some(0), Some(2), None]] {
        for roles in [
            &[link(0, 1), RemoveDirectory, delete(1)][..],
            &[rename(0, 1), RemoveDirectory, delete(0)],
            &[rename(1, 2), RemoveDirectory, put(1, 1)],
            &[rename(0, 1), rename(1, 2), RemoveDirectory],
            &[link(0, 1), RemoveDirectory, MakeDirectory],
        ] {
            holds(with_directory(run(begin, roles)));
        }
    }
}

#[test]
fn an_audit_beside_everything() {
    for roles in [
        &[rename(0, 1), delete(0), Audit(0), Audit(1)][..],
        &[link(0, 1), put(0, 1), Audit(0), Audit(1)],
        &[at(Place::Together, rename(0, 1)), link(0, 2), Audit(0)],
    ] {
        holds(alone(roles));
    }
}

#[test]
fn steps_that_may_repeat_arrive_twice() {
    holds(repeating(1, alone(&[link(0, 1), delete(0), delete(1)])));
    holds(repeating(1, alone(&[rename(0, 1), put(0, 1), Get(1)])));
    holds(repeating(1, alone(&[rename(0, 1), Update(1, 5)])));
    holds(repeating(
        1,
        with_directory(alone(&[rename(0, 1), RemoveDirectory])),
    ));
}

#[test]
fn larger_runs_when_asked_for() {
    if !is_large() {
        println!("MODEL_SIZE=large runs the larger configurations");
        return;
    }
    let two = [Some(0), Some(2), None];
    for model in [
        run(two, &[link(0, 1), rename(1, 0), put(0, 1), Audit(0)]),
        run(two, &[rename(0, 1), rename(1, 0), delete(0), delete(1)]),
        run(two, &[rename(0, 1), link(0, 1), put(0, 1), List]),
        run(two, &[rename(0, 2), rename(1, 2), delete(2), List]),
        run(two, &[link(0, 1), link(1, 0), delete(0), delete(1)]),
        run(
            two,
            &[rename(0, 1), Update(0, 5), Update(1, 6), put(0, 1), Get(1)],
        ),
        alone(&[rename(0, 1), rename(1, 2), rename(2, 0), put(0, 1)]),
        alone(&[rename(0, 1), link(0, 2), Repair(0), delete(0)]),
        alone(&[link(0, 1), link(0, 2), link(1, 2), delete(0)]),
        with_directory(run(
            two,
            &[rename(0, 1), link(1, 0), RemoveDirectory, delete(1)],
        )),
        with_directory(alone(&[
            rename(0, 1),
            rename(1, 0),
            RemoveDirectory,
            MakeDirectory,
        ])),
        repeating(2, alone(&[rename(0, 1), put(0, 1), delete(1)])),
        repeating(1, run(two, &[rename(0, 1), rename(1, 0), delete(0)])),
        run(
            two,
            &[link(0, 1), rename(1, 0), put(0, 1), delete(1), Audit(0)],
        ),
        run(two, &[rename(0, 1), rename(1, 0), put(0, 1), List]),
        alone(&[rename(0, 1), rename(0, 2), link(0, 1), delete(1), Get(2)]),
        with_directory(run(
            two,
            &[rename(0, 1), rename(1, 2), RemoveDirectory, put(1, 1)],
        )),
        repeating(
            1,
            run(two, &[rename(0, 1), link(1, 0), put(0, 1), delete(1)]),
        ),
    ] {
        holds(model);
    }
}

// The simplifications. Each must be caught.

#[track_caller]
fn caught(mutation: Mutation, model: Names, by: &str) {
    let names = violated(mutation, model);
    assert!(names.iter().any(|name| name.starts_with(by)), "{names:?}");
}

#[test]
fn wrong_1_overwriting_a_source_without_a_cut_off() {
    let model = alone(&[rename(0, 1), delete(0), Get(1)]);
    caught(Mutation::OverwritePinned, model, "S5");
}

#[test]
fn wrong_2_forgetting_what_was_moved_before_its_name_is_erased() {
    let model = alone(&[rename(0, 1), delete(1), link(0, 2), Get(0)]);
    caught(Mutation::ForgetMovedAtOnce, model, "S5");
}

#[test]
fn wrong_3_no_record_is_unconfirmed() {
    let model = alone(&[link(0, 2), at(Place::Together, rename(0, 1))]);
    caught(Mutation::ConfirmAtOnce, model, "S1");
}

#[test]
fn wrong_4_a_cut_off_does_not_confirm() {
    let model = alone(&[link(0, 1), put(0, 1)]);
    caught(Mutation::CutOffUnconfirmed, model, "S3");
}

#[test]
fn wrong_5_a_promotion_with_old_copies() {
    let model = alone(&[link(0, 1), Repair(0)]);
    caught(Mutation::IgnoreVersion, model, "S1");
}

#[test]
fn wrong_6_a_commit_from_an_empty_source() {
    let model = alone(&[link(0, 2), rename(0, 1), Get(2)]);
    caught(Mutation::CommitWithoutSource, model, "S5");
}

#[test]
fn wrong_7_a_reader_that_does_not_look_again() {
    let model = run([Some(0), Some(2), None], &[link(0, 1), delete(1), Get(1)]);
    caught(Mutation::AbsentIsAborted, model, "S5");
}

#[test]
fn wrong_8_a_metadata_update_without_a_cut_off() {
    let model = alone(&[rename(0, 1), Update(0, 5), Get(1)]);
    caught(Mutation::UpdatePinned, model, "S5");
}

#[test]
fn wrong_9_entering_twice() {
    let model = repeating(1, alone(&[link(0, 1), delete(1), Get(1)]));
    caught(Mutation::ResendEnter, model, "S5");
}

#[test]
fn wrong_10_preparing_twice() {
    let model = repeating(1, alone(&[rename(0, 1), delete(0), Get(1)]));
    caught(Mutation::ResendPrepare, model, "S");
}

#[test]
fn wrong_11_pinning_twice() {
    let model = repeating(1, alone(&[link(0, 1), delete(0), delete(1)]));
    caught(Mutation::ResendPin, model, "S5");
}

/// An operation that has stopped would keep the directory for ever.
#[test]
fn wrong_12_believing_the_count_of_a_directory() {
    let model = with_directory(alone(&[link(0, 1), RemoveDirectory]));
    caught(Mutation::BelieveTheCount, model, "S6");
}
