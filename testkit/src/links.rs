//! The conformance suite of links and renames: whatever stands behind [`Moray`] must pass all of it, on a store
//! that may hold other accounts already. Each function panics, naming what it saw, when the port breaks its
//! contract.
//!
//! Names of an object may lie in one shard or in several, beside its record or not, so everything is done with
//! directories of many accounts.

use std::collections::BTreeSet;

use libmanta::moray::links::{AuditCursor, Link, Rename};
use libmanta::moray::{
    DIRECTORY_ENTRIES_MAX, Deleted, LogCursor, Moray, NamespaceError, Parent, Update,
};
use libmanta::{
    AccountId, Condition, Entry, EtagList, Judged, ObjectId, ObjectKey, PreconditionFailed,
    StorageId, Timestamp,
};
use uuid::Uuid;

use crate::moray::{key, listing, mkdir, object, put};

/// With five shards, most ways to lie are among so many accounts.
const ACCOUNTS: usize = 24;

/// Runs everything.
pub async fn conforms(moray: &dyn Moray) {
    for _ in 0..ACCOUNTS {
        names_of_an_object_come_and_go(moray).await;
        a_rename_leaves_nothing_behind(moray).await;
        what_had_the_name_loses_it(moray).await;
        pinned_names_are_written_like_others(moray).await;
        what_is_refused_changes_nothing(moray).await;
        conditions_are_those_of_both_names(moray).await;
        what_was_judged_is_what_is_transferred(moray).await;
        an_object_goes_round(moray).await;
    }
    many_names_share_an_object(moray).await;
    listings_have_links_where_they_belong(moray).await;
}

/// An unconditional link.
#[must_use]
pub fn link(source: &ObjectKey, target: &ObjectKey) -> Link {
    Link {
        source: source.clone(),
        target: target.clone(),
        mtime: Timestamp::from_millis(3_000),
        roles: Vec::new(),
        source_condition: Condition::default(),
        target_condition: Condition::default(),
        directory_entries_max: DIRECTORY_ENTRIES_MAX,
    }
}

/// An unconditional rename that keeps what there is.
#[must_use]
pub fn rename(source: &ObjectKey, target: &ObjectKey) -> Rename {
    Rename {
        source: source.clone(),
        target: target.clone(),
        mtime: None,
        roles: None,
        source_condition: Condition::default(),
        target_condition: Condition::default(),
        directory_entries_max: DIRECTORY_ENTRIES_MAX,
    }
}

/// Does what links and renames have left to be done, including what a crash has left.
pub async fn tidy(moray: &dyn Moray) {
    let end = Timestamp::from_millis(u64::MAX);
    while moray.run_errands(end, 7).await.expect("errands") > 0 {}
    let mut cursor = AuditCursor::default();
    loop {
        moray.audit(&mut cursor, end, 5).await.expect("audit");
        if cursor == AuditCursor::default() {
            break;
        }
    }
    // What the audit dropped may have logged more.
    while moray.run_errands(end, 7).await.expect("errands") > 0 {}
}

/// What the delete log says about `objects`.
pub async fn logged(moray: &dyn Moray, objects: &[ObjectId]) -> Vec<Deleted> {
    let end = Timestamp::from_millis(u64::MAX);
    let mut deleted = moray
        .deleted(end, &LogCursor::default(), 1_000_000)
        .await
        .expect("deleted");
    deleted.retain(|deleted| objects.contains(&deleted.object_id));
    deleted
}

/// Each object is in the delete log exactly once, with these copies, and nothing else is left of it.
pub async fn all_gone(moray: &dyn Moray, entries: &[&Entry]) {
    tidy(moray).await;
    let ids: Vec<ObjectId> = entries.iter().map(|entry| id(entry)).collect();
    let deleted = logged(moray, &ids).await;
    for entry in entries {
        let object = entry.object().expect("an object");
        let rows: Vec<_> = deleted
            .iter()
            .filter(|deleted| deleted.object_id == object.object_id)
            .collect();
        assert_eq!(rows.len(), 1, "{}: {rows:?}", entry.key);
        assert_eq!(rows[0].creator, object.creator);
        assert_eq!(rows[0].copies, object.copies);
    }
    moray.forget(&deleted).await.expect("forget");
    let referenced = moray.referenced(&ids).await.expect("referenced");
    assert_eq!(referenced, vec![false; ids.len()]);
}

#[must_use]
pub fn id(entry: &Entry) -> ObjectId {
    entry.object().expect("a test asks objects only").object_id
}

async fn put_at(moray: &dyn Moray, name: &ObjectKey) -> Entry {
    let entry = object(name.clone());
    moray.put_object(put(entry.clone())).await.expect("put");
    entry
}

async fn remove(moray: &dyn Moray, name: &ObjectKey) -> Result<Entry, NamespaceError> {
    moray.remove_object(name, &Condition::default()).await
}

async fn at(moray: &dyn Moray, name: &ObjectKey) -> Option<Entry> {
    moray.lookup(name).await.expect("lookup").entry
}

/// Two directories of a new account.
async fn two_directories(moray: &dyn Moray) -> (ObjectKey, ObjectKey) {
    let owner = AccountId::random();
    let (a, b) = (key(owner, "stor/a"), key(owner, "stor/b"));
    for directory in [&a, &b] {
        moray
            .make_directory(mkdir(directory.clone()))
            .await
            .expect("mkdir");
    }
    (a, b)
}

fn child(directory: &ObjectKey, name: &str) -> ObjectKey {
    directory.child(name).expect("a valid name")
}

/// The names in a directory. The count agrees with what is listed once everything is tidy.
async fn names(moray: &dyn Moray, directory: &ObjectKey) -> Vec<String> {
    let page = moray.list(&listing(directory.clone())).await.expect("list");
    page.entries
        .iter()
        .map(|entry| entry.key.name().to_owned())
        .collect()
}

async fn counts_are_exact(moray: &dyn Moray, directories: &[&ObjectKey]) {
    tidy(moray).await;
    for directory in directories {
        let page = moray
            .list(&listing((*directory).clone()))
            .await
            .expect("list");
        assert_eq!(page.entries_total, page.entries.len() as u64, "{directory}");
    }
}

pub async fn names_of_an_object_come_and_go(moray: &dyn Moray) {
    let (a, b) = two_directories(moray).await;
    let (first, second, third) = (child(&a, "x"), child(&b, "x"), child(&a, "y"));
    let mut entry = object(first.clone());
    entry.headers = vec![("m-a".into(), "b".into())];
    entry.roles = vec![Uuid::from_u128(1)];
    moray.put_object(put(entry.clone())).await.expect("put");

    let mut asked = link(&first, &second);
    asked.roles = vec![Uuid::from_u128(2)];
    let linked = moray.link(asked).await.expect("link");
    assert_eq!((&linked.source, &linked.before), (&entry, &None));
    assert_eq!(linked.after.key, second);
    assert_eq!(linked.after.mtime, Timestamp::from_millis(3_000));
    assert_eq!(linked.after.roles, [Uuid::from_u128(2)]);
    assert_eq!(linked.after.headers, entry.headers);
    assert_eq!(linked.after.kind, entry.kind);
    assert_eq!(at(moray, &first).await, Some(entry.clone()));
    assert_eq!(at(moray, &second).await, Some(linked.after.clone()));
    assert_eq!(names(moray, &b).await, ["x"]);

    // A link of a link, then without the first name.
    moray.link(link(&second, &third)).await.expect("link");
    assert_eq!(
        remove(moray, &first).await.map(|e| e.kind),
        Ok(entry.kind.clone())
    );
    assert_eq!(at(moray, &first).await, None);
    for name in [&second, &third] {
        let there = at(moray, name).await.expect("it has other names");
        assert_eq!(there.kind, entry.kind);
    }
    assert_eq!(remove(moray, &second).await.map(|e| e.key), Ok(second));
    counts_are_exact(moray, &[&a, &b]).await;
    assert_eq!(logged(moray, &[id(&entry)]).await, []);
    assert_eq!(moray.referenced(&[id(&entry)]).await, Ok(vec![true]));
    assert_eq!(names(moray, &a).await, ["y"]);
    remove(moray, &third).await.expect("remove");
    all_gone(moray, &[&entry]).await;
    counts_are_exact(moray, &[&a, &b]).await;
    for directory in [&a, &b] {
        moray
            .remove_directory(directory, None)
            .await
            .expect("rmdir");
    }
}

pub async fn a_rename_leaves_nothing_behind(moray: &dyn Moray) {
    let (a, b) = two_directories(moray).await;
    for target in [child(&b, "y"), child(&a, "y")] {
        let source = child(&a, "x");
        let entry = put_at(moray, &source).await;
        let renamed = moray
            .rename(rename(&source, &target))
            .await
            .expect("rename");
        assert_eq!((&renamed.source, &renamed.before), (&entry, &None));
        let expected = Entry {
            key: target.clone(),
            ..entry.clone()
        };
        assert_eq!(renamed.after, expected);
        assert_eq!(at(moray, &source).await, None);
        assert_eq!(at(moray, &target).await, Some(expected));
        assert_eq!(
            moray.rename(rename(&source, &target)).await,
            Err(NamespaceError::SourceNotFound)
        );
        assert_eq!(remove(moray, &source).await, Err(NamespaceError::NotFound));
        // The old name may be used at once, and the directory is empty at once.
        assert!(!names(moray, &a).await.contains(&"x".to_owned()));
        counts_are_exact(moray, &[&a, &b]).await;
        assert_eq!(logged(moray, &[id(&entry)]).await, []);

        // Again, of an object that may have been promoted, with its own date and roles.
        let third = child(&b, "z");
        let renamed = moray
            .rename(Rename {
                mtime: Some(Timestamp::from_millis(9_000)),
                roles: Some(vec![Uuid::from_u128(3)]),
                ..rename(&target, &third)
            })
            .await
            .expect("rename");
        assert_eq!(renamed.after.mtime, Timestamp::from_millis(9_000));
        assert_eq!(renamed.after.roles, [Uuid::from_u128(3)]);
        assert_eq!(at(moray, &target).await, None);
        assert_eq!(at(moray, &third).await, Some(renamed.after));
        remove(moray, &third).await.expect("remove");
        all_gone(moray, &[&entry]).await;
    }
    // Into another directory, and the old one goes at once.
    let source = child(&a, "last");
    let entry = put_at(moray, &source).await;
    moray
        .rename(rename(&source, &child(&b, "last")))
        .await
        .expect("rename");
    moray.remove_directory(&a, None).await.expect("rmdir");
    assert_eq!(
        moray.remove_directory(&b, None).await,
        Err(NamespaceError::NotEmpty)
    );
    remove(moray, &child(&b, "last")).await.expect("remove");
    moray.remove_directory(&b, None).await.expect("rmdir");
    all_gone(moray, &[&entry]).await;
}

pub async fn what_had_the_name_loses_it(moray: &dyn Moray) {
    let (a, b) = two_directories(moray).await;
    for renames in [false, true] {
        // Over a sole object, then over a linked one, then over one that was linked from.
        let (source, target, other) = (child(&a, "x"), child(&b, "y"), child(&a, "other"));
        let lost = [put_at(moray, &target).await, put_at(moray, &other).await];
        let entry = put_at(moray, &source).await;
        let linked = moray.link(link(&source, &target)).await.expect("link");
        assert_eq!(linked.before.as_ref(), Some(&lost[0]));
        // Now `source` is pinned and `target` is linked.
        if renames {
            let renamed = moray.rename(rename(&other, &source)).await;
            assert_eq!(renamed.map(|r| r.before), Ok(Some(entry.clone())));
            assert_eq!(at(moray, &other).await, None);
        } else {
            let linked = moray.link(link(&other, &source)).await;
            assert_eq!(linked.map(|r| r.before), Ok(Some(entry.clone())));
            remove(moray, &other).await.expect("remove");
        }
        let there = at(moray, &source).await.expect("an object");
        assert_eq!(id(&there), id(&lost[1]));
        let renamed = moray
            .rename(rename(&source, &target))
            .await
            .expect("rename");
        assert_eq!(renamed.before.map(|e| id(&e)), Some(id(&entry)));
        remove(moray, &target).await.expect("remove");
        all_gone(moray, &[&lost[0], &lost[1], &entry]).await;
        counts_are_exact(moray, &[&a, &b]).await;
        assert!(names(moray, &a).await.is_empty());
        assert!(names(moray, &b).await.is_empty());
    }
}

pub async fn pinned_names_are_written_like_others(moray: &dyn Moray) {
    let (a, b) = two_directories(moray).await;
    let (source, target) = (child(&a, "x"), child(&b, "x"));
    let update = |key: &ObjectKey| Update {
        key: key.clone(),
        mtime: Timestamp::from_millis(5_000),
        headers: vec![("m-n".into(), "1".into())],
        roles: Vec::new(),
        content_type: None,
        content_disposition: None,
        condition: Condition::default(),
    };
    let entry = put_at(moray, &source).await;
    moray.link(link(&source, &target)).await.expect("link");
    // What is said about a name is said about this name only.
    for name in [&source, &target] {
        let updated = moray.update(update(name)).await.expect("update");
        assert_eq!(updated.after.headers, update(name).headers);
        assert_eq!(at(moray, name).await, Some(updated.after));
    }
    let last = child(&a, "last");
    let linked = moray.link(link(&source, &last)).await.expect("link");
    assert_eq!(linked.after.headers, update(&last).headers);

    let second = put_at(moray, &source).await;
    assert_eq!(at(moray, &source).await.map(|e| id(&e)), Some(id(&second)));
    assert_eq!(at(moray, &target).await.map(|e| id(&e)), Some(id(&entry)));
    moray.rename(rename(&last, &target)).await.expect("rename");
    // A directory takes the place of a link.
    let made = moray
        .make_directory(mkdir(target.clone()))
        .await
        .expect("mkdir");
    assert_eq!(made.before.map(|e| id(&e)), Some(id(&entry)));
    assert_eq!(names(moray, &b).await, ["x"]);
    remove(moray, &source).await.expect("remove");
    all_gone(moray, &[&entry, &second]).await;
    moray.remove_directory(&target, None).await.expect("rmdir");
    counts_are_exact(moray, &[&a, &b]).await;
}

pub async fn what_is_refused_changes_nothing(moray: &dyn Moray) {
    let (a, b) = two_directories(moray).await;
    let (source, target) = (child(&a, "x"), child(&b, "y"));
    let entry = put_at(moray, &source).await;
    let file = put_at(moray, &child(&b, "file")).await;
    let area = key(a.owner(), "stor");
    for (from, to, error) in [
        (
            child(&a, "no"),
            target.clone(),
            NamespaceError::SourceNotFound,
        ),
        (
            child(&child(&a, "no"), "no"),
            target.clone(),
            NamespaceError::SourceNotFound,
        ),
        (b.clone(), target.clone(), NamespaceError::SourceIsDirectory),
        (
            area.clone(),
            target.clone(),
            NamespaceError::SourceIsDirectory,
        ),
        (source.clone(), b.clone(), NamespaceError::IsDirectory),
        (source.clone(), area, NamespaceError::IsDirectory),
        (
            source.clone(),
            child(&child(&b, "no"), "y"),
            NamespaceError::ParentNotFound,
        ),
        (
            source.clone(),
            child(&file.key, "y"),
            NamespaceError::ParentNotDirectory,
        ),
    ] {
        let linked = moray.link(link(&from, &to)).await;
        assert_eq!(linked, Err(error.clone()), "link {from} {to}");
        let renamed = moray.rename(rename(&from, &to)).await;
        assert_eq!(renamed, Err(error), "rename {from} {to}");
    }
    let full = Link {
        directory_entries_max: 0,
        ..link(&source, &target)
    };
    assert_eq!(moray.link(full).await, Err(NamespaceError::DirectoryFull));
    assert_eq!(at(moray, &source).await, Some(entry.clone()));
    assert_eq!(names(moray, &a).await, ["x"]);
    assert_eq!(names(moray, &b).await, ["file"]);
    // To itself: nothing happens, successfully.
    for _ in 0..2 {
        let same = moray.link(link(&source, &source)).await.expect("link");
        assert_eq!(
            (same.before, same.after),
            (Some(entry.clone()), entry.clone())
        );
        let same = moray
            .rename(rename(&source, &source))
            .await
            .expect("rename");
        assert_eq!(
            (same.before, same.after),
            (Some(entry.clone()), entry.clone())
        );
    }
    counts_are_exact(moray, &[&a, &b]).await;
    assert_eq!(logged(moray, &[id(&entry), id(&file)]).await, []);
    for name in [&source, &file.key] {
        remove(moray, name).await.expect("remove");
    }
    all_gone(moray, &[&entry, &file]).await;
}

/// Why neither a link nor a rename is made under these conditions.
async fn both_refused(
    moray: &dyn Moray,
    (source, source_condition): (&ObjectKey, Condition),
    (target, target_condition): (&ObjectKey, Condition),
) -> [NamespaceError; 2] {
    let linked = moray.link(Link {
        source_condition: source_condition.clone(),
        target_condition: target_condition.clone(),
        ..link(source, target)
    });
    let linked = linked.await.expect_err("the link is refused");
    let renamed = moray.rename(Rename {
        source_condition,
        target_condition,
        ..rename(source, target)
    });
    [linked, renamed.await.expect_err("the rename is refused")]
}

pub async fn conditions_are_those_of_both_names(moray: &dyn Moray) {
    let (a, b) = two_directories(moray).await;
    let (source, target) = (child(&a, "x"), child(&b, "y"));
    let (entry, other) = (put_at(moray, &source).await, put_at(moray, &target).await);
    let matches = |entry: &Entry| Condition {
        if_match: Some(EtagList(id(entry).to_string())),
        ..Condition::default()
    };
    let create_only = || Condition {
        if_none_match: Some(EtagList("*".into())),
        ..Condition::default()
    };
    for (of_source, of_target) in [
        (matches(&other), Condition::default()),
        (Condition::default(), matches(&entry)),
        (Condition::default(), create_only()),
        (matches(&entry), create_only()),
    ] {
        for refused in both_refused(moray, (&source, of_source), (&target, of_target)).await {
            assert!(
                matches!(refused, NamespaceError::Precondition(_)),
                "{refused:?}"
            );
        }
    }
    tidy(moray).await;
    assert_eq!(at(moray, &source).await, Some(entry.clone()));
    assert_eq!(at(moray, &target).await, Some(other.clone()));
    let fresh = child(&b, "fresh");
    moray
        .link(Link {
            source_condition: matches(&entry),
            target_condition: create_only(),
            ..link(&source, &fresh)
        })
        .await
        .expect("link");
    moray
        .rename(Rename {
            source_condition: matches(&entry),
            target_condition: matches(&other),
            ..rename(&source, &target)
        })
        .await
        .expect("rename");
    // A name that was renamed away is missing, for conditions as well.
    let created = moray
        .put_object(libmanta::moray::PutObject {
            condition: create_only(),
            ..put(object(source.clone()))
        })
        .await
        .expect("put");
    assert_eq!(created.before, None);
    for name in [&source, &target, &fresh] {
        remove(moray, name).await.expect("remove");
    }
    all_gone(moray, &[&entry, &other, &created.after]).await;
}

pub async fn what_was_judged_is_what_is_transferred(moray: &dyn Moray) {
    let (a, b) = two_directories(moray).await;
    let (source, target) = (child(&a, "x"), child(&b, "y"));
    let (entry, other) = (put_at(moray, &source).await, put_at(moray, &target).await);
    let judged = |entry: Option<&Entry>| Condition {
        judged: Some(Judged::of(entry)),
        ..Condition::default()
    };
    let tagged = Entry {
        roles: vec![Uuid::from_u128(1)],
        ..entry.clone()
    };
    let outdated = NamespaceError::Precondition(PreconditionFailed::Judged);
    for (of_source, of_target) in [
        (judged(Some(&other)), Condition::default()),
        (judged(Some(&tagged)), Condition::default()),
        (judged(Some(&entry)), judged(Some(&entry))),
        (judged(Some(&entry)), judged(None)),
    ] {
        let refused = both_refused(moray, (&source, of_source), (&target, of_target)).await;
        assert_eq!(refused, [outdated.clone(), outdated.clone()]);
    }
    tidy(moray).await;
    assert_eq!(at(moray, &source).await, Some(entry.clone()));
    assert_eq!(at(moray, &target).await, Some(other.clone()));
    let fresh = child(&b, "fresh");
    moray
        .link(Link {
            source_condition: judged(Some(&entry)),
            target_condition: judged(None),
            ..link(&source, &fresh)
        })
        .await
        .expect("link");
    // Also of a name that shares its object.
    let removed = moray.remove_object(&fresh, &judged(Some(&other))).await;
    assert_eq!(removed, Err(outdated));
    let linked = at(moray, &fresh).await;
    moray
        .rename(Rename {
            source_condition: judged(linked.as_ref()),
            target_condition: judged(Some(&other)),
            ..rename(&fresh, &target)
        })
        .await
        .expect("rename");
    let now = at(moray, &target).await;
    for (name, condition) in [
        (&source, judged(Some(&entry))),
        (&target, judged(now.as_ref())),
    ] {
        let removed = moray.remove_object(name, &condition).await;
        removed.expect("remove");
    }
    all_gone(moray, &[&entry, &other]).await;
}

pub async fn an_object_goes_round(moray: &dyn Moray) {
    let (a, b) = two_directories(moray).await;
    let ring = [
        child(&a, "1"),
        child(&b, "2"),
        child(&a, "3"),
        child(&b, "4"),
    ];
    let entry = put_at(moray, &ring[0]).await;
    for step in 0..12 {
        let (from, to) = (&ring[step % 4], &ring[(step + 1) % 4]);
        moray.rename(rename(from, to)).await.expect("rename");
        for (n, name) in ring.iter().enumerate() {
            let expected = (n == (step + 1) % 4).then(|| id(&entry));
            assert_eq!(at(moray, name).await.map(|e| id(&e)), expected, "{step}");
        }
    }
    counts_are_exact(moray, &[&a, &b]).await;
    remove(moray, &ring[0]).await.expect("remove");
    all_gone(moray, &[&entry]).await;
    let lookup = moray.lookup(&child(&ring[0], "x")).await.expect("lookup");
    assert_eq!(lookup.parent, Parent::Missing, "nothing is there any more");
}

pub async fn many_names_share_an_object(moray: &dyn Moray) {
    const NAMES: usize = 60;
    let owners: Vec<AccountId> = (0..6).map(|_| AccountId::random()).collect();
    let name = |n: usize| key(owners[n % owners.len()], &format!("stor/{n}"));
    let entry = put_at(moray, &name(0)).await;
    for n in 1..NAMES {
        moray
            .link(link(&name(n / 2), &name(n)))
            .await
            .expect("link");
    }
    let mut left: BTreeSet<usize> = (0..NAMES).collect();
    while let Some(&n) = left.iter().nth(left.len() / 2) {
        if n % 3 == 0 {
            remove(moray, &name(n)).await.expect("remove");
        } else {
            let other = put_at(moray, &name(n)).await;
            remove(moray, &name(n)).await.expect("remove");
            all_gone(moray, &[&other]).await;
        }
        left.remove(&n);
        if let Some(&n) = left.first() {
            let there = at(moray, &name(n)).await.expect("it has names");
            assert_eq!(there.kind, entry.kind);
        }
    }
    all_gone(moray, &[&entry]).await;
}

pub async fn listings_have_links_where_they_belong(moray: &dyn Moray) {
    let (a, b) = two_directories(moray).await;
    let mut expected = Vec::new();
    for n in 0..40_u64 {
        let (from, to) = (child(&a, &format!("{n:02}")), child(&b, &format!("{n:02}")));
        let mut entry = object(from.clone());
        entry.mtime = Timestamp::from_millis(1_000 + n * 7 % 40);
        if let libmanta::EntryKind::Object(object) = &mut entry.kind {
            object.copies = vec![StorageId::new(&format!("{n}.stor.local"))];
        }
        moray.put_object(put(entry.clone())).await.expect("put");
        let target = match n % 4 {
            0 => continue,
            1 => moray.link(link(&from, &to)).await.expect("link").after,
            _ => {
                moray
                    .rename(rename(&from, &to))
                    .await
                    .expect("rename")
                    .after
            }
        };
        expected.push(target);
    }
    let page = moray.list(&listing(b.clone())).await.expect("list");
    assert_eq!(page.entries, expected);
    let mut by_mtime = expected.clone();
    by_mtime.sort_by_key(|entry| std::cmp::Reverse(entry.mtime));
    let page = moray
        .list(&libmanta::moray::List {
            order: libmanta::moray::Order::Mtime {
                from: None,
                reverse: false,
            },
            limit: 9,
            ..listing(b.clone())
        })
        .await
        .expect("list");
    let mtimes: Vec<_> = page.entries.iter().map(|entry| entry.mtime).collect();
    let first: Vec<_> = by_mtime.iter().take(9).map(|entry| entry.mtime).collect();
    assert_eq!(mtimes, first);
    let left: Vec<String> = (0..40)
        .filter(|n| n % 4 < 2)
        .map(|n| format!("{n:02}"))
        .collect();
    assert_eq!(names(moray, &a).await, left);
    counts_are_exact(moray, &[&a, &b]).await;
}
