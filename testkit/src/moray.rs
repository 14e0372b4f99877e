//! The conformance suite of the metadata port: whatever stands behind [`Moray`] must pass all of it, on a
//! store that may hold other accounts already. Each function makes an account of its own and panics, naming
//! what it saw, when the port breaks its contract.

use libmanta::moray::{
    BatchError, DIRECTORY_ENTRIES_MAX, Expect, List, LogCursor, MakeDirectory, Moray,
    NamespaceError, Only, Order, Parent, PutObject, Record, RecordKey, Update, Write,
};
use libmanta::{
    AREAS, AccountId, Condition, Entry, EntryKind, EtagList, Judged, Object, ObjectId, ObjectKey,
    PreconditionFailed, StorageId, Timestamp,
};
use uuid::Uuid;

/// Runs everything.
pub async fn conforms(moray: &dyn Moray) {
    objects_are_written_read_and_removed(moray).await;
    parents_must_be_directories(moray).await;
    roots_always_exist(moray).await;
    job_outputs_exist_and_can_be_removed(moray).await;
    mkdir_is_idempotent_and_replaces_objects(moray).await;
    conditions_are_checked_against_the_entry(moray).await;
    updates_change_what_is_said_about_an_entry(moray).await;
    only_empty_directories_are_removed(moray).await;
    directories_go_as_they_were_judged(moray).await;
    listings_are_ordered_paged_and_filtered(moray).await;
    full_directories_take_no_more(moray).await;
    a_record_is_written_with_an_object_or_neither(moray).await;
    the_delete_log_keeps_what_nobody_needs(moray).await;
    records_are_kept_with_their_etags(moray).await;
    records_are_scanned_in_order(moray).await;
}

/// A key below an account: `key(owner, "stor/a/b")`.
#[must_use]
pub fn key(owner: AccountId, path: &str) -> ObjectKey {
    ObjectKey::new(owner, path.split('/')).expect("a test uses valid keys")
}

/// An object of 3 bytes with two copies, everything else empty.
#[must_use]
pub fn object(key: ObjectKey) -> Entry {
    let creator = key.owner();
    Entry {
        key,
        mtime: Timestamp::from_millis(1_000),
        headers: Vec::new(),
        roles: Vec::new(),
        kind: EntryKind::Object(Object {
            object_id: ObjectId::random(),
            size_bytes: 3,
            md5: [7; 16],
            content_type: "text/plain".to_owned(),
            content_disposition: None,
            creator,
            copies: vec![
                StorageId::new("1.stor.local"),
                StorageId::new("2.stor.local"),
            ],
        }),
    }
}

/// An unconditional PUT of `entry`.
#[must_use]
pub fn put(entry: Entry) -> PutObject {
    PutObject {
        entry,
        condition: Condition::default(),
        directory_entries_max: DIRECTORY_ENTRIES_MAX,
        also: None,
    }
}

/// A plain mkdir.
#[must_use]
pub fn mkdir(key: ObjectKey) -> MakeDirectory {
    MakeDirectory {
        key,
        mtime: Timestamp::from_millis(2_000),
        headers: Vec::new(),
        roles: Vec::new(),
        judged: None,
    }
}

/// A whole directory by name.
#[must_use]
pub fn listing(directory: ObjectKey) -> List {
    List {
        directory,
        order: Order::Name {
            from: None,
            reverse: false,
        },
        limit: 1_000,
        only: None,
    }
}

fn id(entry: &Entry) -> ObjectId {
    entry.object().expect("a test asks objects only").object_id
}

async fn names(moray: &dyn Moray, list: &List) -> Vec<String> {
    let page = moray.list(list).await.expect("list");
    page.entries
        .iter()
        .map(|entry| entry.key.name().to_owned())
        .collect()
}

pub async fn objects_are_written_read_and_removed(moray: &dyn Moray) {
    let owner = AccountId::random();
    let name = key(owner, "stor/with space, ü and ..");
    let mut first = object(name.clone());
    first.headers = vec![
        ("m-colour".into(), "blue".into()),
        ("m-empty".into(), String::new()),
    ];
    first.roles = vec![Uuid::new_v4(), Uuid::new_v4()];
    if let EntryKind::Object(object) = &mut first.kind {
        object.creator = AccountId::random();
        object.content_disposition = Some("attachment".into());
    }

    let written = moray.put_object(put(first.clone())).await.expect("put");
    assert_eq!((written.before, &written.after), (None, &first));
    let lookup = moray.lookup(&name).await.expect("lookup");
    assert_eq!(
        lookup.entry.as_ref(),
        Some(&first),
        "every field comes back"
    );
    assert_eq!(lookup.parent, Parent::Directory);

    let second = object(name.clone());
    let written = moray.put_object(put(second.clone())).await.expect("put");
    assert_eq!(written.before.as_ref(), Some(&first));
    let page = moray
        .list(&listing(key(owner, "stor")))
        .await
        .expect("list");
    assert_eq!(page.entries, std::slice::from_ref(&second));
    assert_eq!(page.entries_total, 1, "an overwrite is not counted");

    let none = Condition::default();
    assert_eq!(moray.remove_object(&name, &none).await, Ok(second));
    assert_eq!(
        moray.remove_object(&name, &none).await,
        Err(NamespaceError::NotFound)
    );
    assert_eq!(moray.lookup(&name).await.expect("lookup").entry, None);
    let page = moray
        .list(&listing(key(owner, "stor")))
        .await
        .expect("list");
    assert_eq!((page.entries.len(), page.entries_total), (0, 0));
}

pub async fn parents_must_be_directories(moray: &dyn Moray) {
    let owner = AccountId::random();
    let file = key(owner, "stor/file");
    moray
        .put_object(put(object(file.clone())))
        .await
        .expect("put");

    for (path, parent, error) in [
        ("stor/no/x", Parent::Missing, NamespaceError::ParentNotFound),
        (
            "stor/no/x/y",
            Parent::Missing,
            NamespaceError::ParentNotFound,
        ),
        (
            "stor/file/x",
            Parent::Object,
            NamespaceError::ParentNotDirectory,
        ),
    ] {
        let child = key(owner, path);
        for _ in 0..2 {
            let lookup = moray.lookup(&child).await.expect("lookup");
            assert_eq!((lookup.entry, lookup.parent), (None, parent), "{path}");
            assert_eq!(
                moray.put_object(put(object(child.clone()))).await,
                Err(error.clone()),
                "{path}"
            );
            assert_eq!(
                moray.make_directory(mkdir(child.clone())).await,
                Err(error.clone()),
                "{path}"
            );
        }
    }
    assert_eq!(
        moray.list(&listing(key(owner, "stor/no"))).await.map(drop),
        Err(NamespaceError::NotFound)
    );
    assert_eq!(
        moray.list(&listing(file.clone())).await.map(drop),
        Err(NamespaceError::NotDirectory)
    );
    assert_eq!(
        moray.remove_directory(&file, None).await,
        Err(NamespaceError::NotDirectory)
    );
    // A probe that was answered "no" is no obstacle later.
    moray
        .make_directory(mkdir(key(owner, "stor/no")))
        .await
        .expect("mkdir");
    moray
        .put_object(put(object(key(owner, "stor/no/x"))))
        .await
        .expect("put");
}

pub async fn roots_always_exist(moray: &dyn Moray) {
    let owner = AccountId::random();
    for area in AREAS {
        let root = key(owner, area);
        let page = moray.list(&listing(root.clone())).await.expect("list");
        assert_eq!((page.directory, page.entries_total), (None, 0));
        let lookup = moray.lookup(&root).await.expect("lookup");
        assert_eq!((lookup.entry, lookup.parent), (None, Parent::Directory));
        assert_eq!(
            moray.put_object(put(object(root.clone()))).await,
            Err(NamespaceError::IsDirectory)
        );
        assert_eq!(
            moray.remove_object(&root, &Condition::default()).await,
            Err(NamespaceError::IsDirectory)
        );
        assert_eq!(
            moray.remove_directory(&root, None).await,
            Err(NamespaceError::IsRoot)
        );
        let child = object(root.child("x").expect("a valid name"));
        moray.put_object(put(child)).await.expect("put");
        let made = moray
            .make_directory(mkdir(root.clone()))
            .await
            .expect("mkdir");
        assert!(made.before.is_none() && made.after.is_directory());
        let made = moray
            .make_directory(mkdir(root.clone()))
            .await
            .expect("mkdir");
        assert!(made.before.is_some());
        let page = moray.list(&listing(root)).await.expect("list");
        assert_eq!((page.directory, page.entries_total), (made.before, 1));
    }
    let unknown = key(owner, "elsewhere");
    assert_eq!(
        moray.make_directory(mkdir(unknown.clone())).await,
        Err(NamespaceError::ParentNotFound)
    );
    assert_eq!(
        moray.put_object(put(object(unknown))).await,
        Err(NamespaceError::ParentNotFound)
    );
}

pub async fn job_outputs_exist_and_can_be_removed(moray: &dyn Moray) {
    let owner = AccountId::random();
    let job = key(owner, &format!("jobs/{}", Uuid::new_v4()));
    let output = job.child("stor").expect("a valid name");
    let file = output.child("x").expect("a valid name");

    // It exists without being recorded, also when the job's own directory does not.
    let lookup = moray.lookup(&file).await.expect("lookup");
    assert_eq!((lookup.entry, lookup.parent), (None, Parent::Directory));
    moray
        .put_object(put(object(file.clone())))
        .await
        .expect("put");
    moray
        .make_directory(mkdir(job.clone()))
        .await
        .expect("mkdir");
    moray
        .make_directory(mkdir(output.clone()))
        .await
        .expect("mkdir");

    assert_eq!(
        moray.remove_directory(&output, None).await,
        Err(NamespaceError::NotEmpty)
    );
    moray
        .remove_object(&file, &Condition::default())
        .await
        .expect("remove");
    assert_eq!(
        moray.remove_directory(&job, None).await,
        Err(NamespaceError::NotEmpty)
    );
    let removed = moray.remove_directory(&output, None).await.expect("rmdir");
    assert_eq!(removed.key, output);
    assert_eq!(
        moray.remove_directory(&output, None).await,
        Err(NamespaceError::NotFound)
    );
    moray.remove_directory(&job, None).await.expect("rmdir");
}

pub async fn mkdir_is_idempotent_and_replaces_objects(moray: &dyn Moray) {
    let owner = AccountId::random();
    let directory = key(owner, "stor/d");
    let file = object(directory.clone());
    moray.put_object(put(file.clone())).await.expect("put");
    let made = moray
        .make_directory(mkdir(directory.clone()))
        .await
        .expect("mkdir");
    assert_eq!(made.before, Some(file));

    let mut later = mkdir(directory.clone());
    later.mtime = Timestamp::from_millis(9_000);
    let again = moray.make_directory(later.clone()).await.expect("mkdir");
    assert_eq!(again.before.as_ref(), Some(&again.after));
    assert_eq!(again.after, made.after, "unchanged, so not written");

    later.headers = vec![("m-a".into(), "b".into())];
    let changed = moray.make_directory(later.clone()).await.expect("mkdir");
    assert_eq!(changed.before, Some(made.after));
    assert_eq!(changed.after.headers, later.headers);
    assert_eq!(changed.after.mtime, later.mtime);
    assert_eq!(
        moray.put_object(put(object(directory.clone()))).await,
        Err(NamespaceError::IsDirectory)
    );
    assert_eq!(
        moray.remove_object(&directory, &Condition::default()).await,
        Err(NamespaceError::IsDirectory)
    );
    let page = moray
        .list(&listing(key(owner, "stor")))
        .await
        .expect("list");
    assert_eq!((page.entries, page.entries_total), (vec![changed.after], 1));
}

pub async fn conditions_are_checked_against_the_entry(moray: &dyn Moray) {
    let owner = AccountId::random();
    let name = key(owner, "stor/x");
    let matches = |tag: String| Condition {
        if_match: Some(EtagList(tag)),
        ..Condition::default()
    };
    let create_only = || Condition {
        if_none_match: Some(EtagList("*".into())),
        ..Condition::default()
    };
    let with = |entry: &Entry, condition| PutObject {
        condition,
        ..put(entry.clone())
    };
    let (first, second) = (object(name.clone()), object(name.clone()));

    // The first child of its directory as well as a later one.
    let stale = moray
        .put_object(with(&first, matches(Uuid::new_v4().to_string())))
        .await;
    assert!(
        matches!(stale, Err(NamespaceError::Precondition(_))),
        "{stale:?}"
    );
    assert_eq!(
        moray
            .list(&listing(key(owner, "stor")))
            .await
            .map(|p| p.entries_total),
        Ok(0)
    );
    moray
        .put_object(with(&first, create_only()))
        .await
        .expect("put");
    let exists = moray.put_object(with(&second, create_only())).await;
    assert!(
        matches!(exists, Err(NamespaceError::Precondition(_))),
        "{exists:?}"
    );
    moray
        .put_object(with(&second, matches(id(&first).to_string())))
        .await
        .expect("put");

    let condition = matches(id(&first).to_string());
    let removed = moray.remove_object(&name, &condition).await;
    assert!(
        matches!(removed, Err(NamespaceError::Precondition(_))),
        "{removed:?}"
    );
    let condition = matches(id(&second).to_string());
    assert_eq!(moray.remove_object(&name, &condition).await, Ok(second));
}

pub async fn updates_change_what_is_said_about_an_entry(moray: &dyn Moray) {
    let owner = AccountId::random();
    let name = key(owner, "stor/x");
    let update = |key: ObjectKey| Update {
        key,
        mtime: Timestamp::from_millis(5_000),
        headers: vec![("m-a".into(), "1".into())],
        roles: vec![Uuid::from_u128(7)],
        content_type: None,
        content_disposition: Some("inline".into()),
        condition: Condition::default(),
    };
    assert_eq!(
        moray.update(update(name.clone())).await,
        Err(NamespaceError::NotFound)
    );
    let file = object(name.clone());
    moray.put_object(put(file.clone())).await.expect("put");
    let updated = moray.update(update(name.clone())).await.expect("update");
    assert_eq!(updated.before.as_ref(), Some(&file));
    let (before, after) = (
        file.object().expect("an object"),
        updated.after.object().expect("an object"),
    );
    assert_eq!(after.object_id, before.object_id);
    assert_eq!(after.content_type, before.content_type);
    assert_eq!(after.content_disposition.as_deref(), Some("inline"));
    assert_eq!(updated.after.headers, update(name.clone()).headers);
    assert_eq!(updated.after.mtime, Timestamp::from_millis(5_000));
    assert_eq!(
        moray.lookup(&name).await.expect("lookup").entry,
        Some(updated.after)
    );
    // Nothing went to the delete log: the bytes are the same.
    assert_eq!(logged(moray, &[before.object_id]).await, 0);

    let area = moray
        .update(update(key(owner, "stor")))
        .await
        .expect("update");
    assert!(area.before.is_none() && area.after.is_directory());
    assert_eq!(area.after.roles, [Uuid::from_u128(7)]);
}

pub async fn only_empty_directories_are_removed(moray: &dyn Moray) {
    let owner = AccountId::random();
    let (outer, inner) = (key(owner, "stor/a"), key(owner, "stor/a/b"));
    assert_eq!(
        moray.remove_directory(&outer, None).await,
        Err(NamespaceError::NotFound)
    );
    for round in 0..3 {
        moray
            .make_directory(mkdir(outer.clone()))
            .await
            .expect("mkdir");
        moray
            .make_directory(mkdir(inner.clone()))
            .await
            .expect("mkdir");
        assert_eq!(
            moray.remove_directory(&outer, None).await,
            Err(NamespaceError::NotEmpty),
            "round {round}"
        );
        let removed = moray.remove_directory(&inner, None).await.expect("rmdir");
        assert_eq!(removed.key, inner);
        let removed = moray.remove_directory(&outer, None).await.expect("rmdir");
        assert_eq!(removed.key, outer);
        assert_eq!(
            moray.put_object(put(object(inner.clone()))).await,
            Err(NamespaceError::ParentNotFound)
        );
        assert_eq!(
            moray.list(&listing(outer.clone())).await.map(drop),
            Err(NamespaceError::NotFound)
        );
    }
}

pub async fn directories_go_as_they_were_judged(moray: &dyn Moray) {
    let directory = key(AccountId::random(), "stor/judged");
    let child = object(key(directory.owner(), "stor/judged/child"));
    let roles = vec![Uuid::from_u128(7)];
    let tagged = MakeDirectory {
        roles: roles.clone(),
        ..mkdir(directory.clone())
    };
    moray.make_directory(tagged).await.expect("mkdir");
    for outdated in [
        Judged::Missing,
        Judged::Directory { roles: Vec::new() },
        Judged::of(Some(&child)),
    ] {
        assert_eq!(
            moray.remove_directory(&directory, Some(&outdated)).await,
            Err(PreconditionFailed::Judged.into())
        );
        // It is as it was.
        moray.put_object(put(child.clone())).await.expect("put");
        let all = Condition::default();
        moray.remove_object(&child.key, &all).await.expect("remove");
    }
    let judged = Judged::Directory { roles };
    let removed = moray.remove_directory(&directory, Some(&judged)).await;
    assert_eq!(removed.expect("rmdir").key, directory);
    assert_eq!(
        moray.remove_directory(&directory, Some(&judged)).await,
        Err(NamespaceError::NotFound)
    );
}

pub async fn listings_are_ordered_paged_and_filtered(moray: &dyn Moray) {
    let owner = AccountId::random();
    let directory = key(owner, "stor/list");
    moray
        .make_directory(mkdir(directory.clone()))
        .await
        .expect("mkdir");
    // Names in byte order; times in another.
    for (name, mtime, is_directory) in [
        ("B", 30, false),
        ("a", 10, true),
        ("a.b", 50, false),
        ("ab", 20, false),
        ("z", 40, true),
        ("é", 60, false),
    ] {
        let child = directory.child(name).expect("a valid name");
        let mtime = Timestamp::from_millis(mtime);
        if is_directory {
            let make = MakeDirectory {
                mtime,
                ..mkdir(child)
            };
            moray.make_directory(make).await.expect("mkdir");
        } else {
            let entry = Entry {
                mtime,
                ..object(child)
            };
            moray.put_object(put(entry)).await.expect("put");
        }
    }
    // A sibling whose name has this one as its beginning must not appear.
    let sibling = key(owner, "stor/list2");
    moray
        .make_directory(mkdir(sibling.clone()))
        .await
        .expect("mkdir");
    moray
        .put_object(put(object(sibling.child("no").expect("a valid name"))))
        .await
        .expect("put");

    let list = |order| List {
        order,
        ..listing(directory.clone())
    };
    let by_name = |from: Option<&str>, reverse| {
        list(Order::Name {
            from: from.map(str::to_owned),
            reverse,
        })
    };
    let by_mtime = |from: Option<u64>, reverse| {
        list(Order::Mtime {
            from: from.map(Timestamp::from_millis),
            reverse,
        })
    };
    for (list, expected) in [
        (by_name(None, false), &["B", "a", "a.b", "ab", "z", "é"][..]),
        (by_name(None, true), &["é", "z", "ab", "a.b", "a", "B"]),
        (by_name(Some("a.b"), false), &["a.b", "ab", "z", "é"]),
        (by_name(Some("a.c"), false), &["ab", "z", "é"]),
        (by_name(Some("a.b"), true), &["a.b", "a", "B"]),
        (by_mtime(None, false), &["é", "a.b", "z", "B", "ab", "a"]),
        (by_mtime(None, true), &["a", "ab", "B", "z", "a.b", "é"]),
        (by_mtime(Some(30), false), &["B", "ab", "a"]),
        (by_mtime(Some(30), true), &["B", "z", "a.b", "é"]),
    ] {
        assert_eq!(names(moray, &list).await, expected, "{list:?}");
        let first = List {
            limit: 2,
            ..list.clone()
        };
        assert_eq!(names(moray, &first).await, expected[..2], "{first:?}");
        for (only, names_of_kind) in [
            (Only::Directories, ["a", "z", "", ""]),
            (Only::Objects, ["B", "a.b", "ab", "é"]),
        ] {
            let filtered = List {
                only: Some(only),
                ..list.clone()
            };
            let expected: Vec<_> = expected
                .iter()
                .copied()
                .filter(|name| names_of_kind.contains(name))
                .collect();
            assert_eq!(names(moray, &filtered).await, expected, "{filtered:?}");
        }
    }
    let page = moray.list(&by_name(None, false)).await.expect("list");
    assert_eq!(page.entries_total, 6);
    assert_eq!(page.directory.map(|entry| entry.key), Some(directory));
}

pub async fn full_directories_take_no_more(moray: &dyn Moray) {
    let owner = AccountId::random();
    let put_at_most = |name: &str, directory_entries_max| PutObject {
        directory_entries_max,
        ..put(object(key(owner, name)))
    };
    for name in ["stor/1", "stor/2"] {
        moray.put_object(put_at_most(name, 1)).await.expect("put");
    }
    assert_eq!(
        moray.put_object(put_at_most("stor/3", 1)).await,
        Err(NamespaceError::DirectoryFull)
    );
    // Overwrites are refused too: the reference counts before it looks at the name.
    assert_eq!(
        moray.put_object(put_at_most("stor/2", 1)).await,
        Err(NamespaceError::DirectoryFull)
    );
    moray
        .put_object(put_at_most("stor/3", 2))
        .await
        .expect("put");
}

pub async fn a_record_is_written_with_an_object_or_neither(moray: &dyn Moray) {
    let owner = AccountId::random();
    let create_only = Condition {
        if_none_match: Some(EtagList("*".into())),
        ..Condition::default()
    };
    // The first child of its directory, and one of a directory that has some.
    for (n, path) in ["stor/x", "stor/x2", "stor/d/x"].into_iter().enumerate() {
        if n == 2 {
            let made = moray.make_directory(mkdir(key(owner, "stor/d"))).await;
            made.expect("mkdir");
        }
        let name = key(owner, path);
        let also = record_key("suite", name.entry_route(), &name.to_string());
        let with = |entry: &Entry, value: Option<&[u8]>, expect| PutObject {
            also: Some(write(&also, value, expect)),
            ..put(entry.clone())
        };
        let (first, second) = (object(name.clone()), object(name.clone()));

        let refused = moray
            .put_object(with(&first, Some(b"1"), Expect::Etag(7)))
            .await;
        assert_eq!(refused, Err(NamespaceError::AlsoConflict), "{path}");
        assert_eq!(moray.lookup(&name).await.expect("lookup").entry, None);
        assert_eq!(record(moray, &also).await, None);

        moray
            .put_object(with(&first, Some(b"1"), Expect::Absent))
            .await
            .expect("put");
        let kept = record(moray, &also).await.expect("the record is there");
        assert_eq!(kept.value, b"1");

        // A record that is not as expected keeps the entry, and logs nothing.
        let refused = moray
            .put_object(with(&second, Some(b"2"), Expect::Absent))
            .await;
        assert_eq!(refused, Err(NamespaceError::AlsoConflict), "{path}");
        // An entry that is not as expected keeps the record.
        let refused = moray
            .put_object(PutObject {
                condition: create_only.clone(),
                ..with(&second, Some(b"2"), Expect::Etag(kept.etag))
            })
            .await;
        assert!(
            matches!(refused, Err(NamespaceError::Precondition(_))),
            "{refused:?}"
        );
        let entry = moray.lookup(&name).await.expect("lookup").entry;
        assert_eq!(entry.as_ref(), Some(&first), "{path}");
        assert_eq!(record(moray, &also).await, Some(kept.clone()), "{path}");
        assert_eq!(logged(moray, &[id(&first), id(&second)]).await, 0);

        let replaced = moray
            .put_object(with(&second, None, Expect::Etag(kept.etag)))
            .await
            .expect("put");
        assert_eq!(replaced.before, Some(first));
        assert_eq!(record(moray, &also).await, None);

        // A record that might lie in another shard is never written.
        let elsewhere = record_key("suite", name.row_route(), "x");
        let stray = PutObject {
            also: Some(write(&elsewhere, Some(b"1"), Expect::Anything)),
            ..put(object(name.clone()))
        };
        let refused = moray.put_object(stray).await;
        assert_eq!(refused, Err(NamespaceError::AlsoConflict), "{path}");
        let entry = moray.lookup(&name).await.expect("lookup").entry;
        assert_eq!(entry, Some(second));
        assert_eq!(record(moray, &elsewhere).await, None);
    }
}

/// How many log entries there are for `objects`; shards are shared with other tests.
async fn logged(moray: &dyn Moray, objects: &[ObjectId]) -> usize {
    let deleted = moray
        .deleted(
            Timestamp::from_millis(u64::MAX),
            &LogCursor::default(),
            1_000_000,
        )
        .await
        .expect("deleted");
    deleted
        .iter()
        .filter(|deleted| objects.contains(&deleted.object_id))
        .count()
}

pub async fn the_delete_log_keeps_what_nobody_needs(moray: &dyn Moray) {
    let owner = AccountId::random();
    let name = key(owner, "stor/x");
    let (first, second, third) = (
        object(name.clone()),
        object(name.clone()),
        object(key(owner, "stor/y")),
    );
    let ids = [id(&first), id(&second), id(&third), ObjectId::random()];
    for entry in [&first, &second, &third] {
        moray.put_object(put(entry.clone())).await.expect("put");
    }
    assert_eq!(
        moray.referenced(&ids).await,
        Ok(vec![true, true, true, false])
    );
    assert_eq!(logged(moray, &ids).await, 1, "the overwritten one");
    // Written again as it is: still needed.
    moray.put_object(put(second.clone())).await.expect("put");
    assert_eq!(logged(moray, &ids).await, 1);
    moray.make_directory(mkdir(name)).await.expect("mkdir");
    moray
        .remove_object(&third.key, &Condition::default())
        .await
        .expect("remove");
    let all = moray
        .deleted(
            Timestamp::from_millis(u64::MAX),
            &LogCursor::default(),
            1_000_000,
        )
        .await
        .expect("deleted");
    let ours: Vec<_> = all
        .into_iter()
        .filter(|deleted| ids.contains(&deleted.object_id))
        .collect();
    assert_eq!(ours.len(), 3);
    for deleted in &ours {
        assert_eq!(deleted.creator, owner);
        assert_eq!(
            deleted.copies,
            [
                StorageId::new("1.stor.local"),
                StorageId::new("2.stor.local")
            ]
        );
    }
    let too_early = moray
        .deleted(Timestamp::from_millis(0), &LogCursor::default(), 1_000_000)
        .await
        .expect("deleted");
    assert!(too_early.is_empty());
    // Page by page, past what nobody forgets.
    let (mut cursor, mut paged) = (LogCursor::default(), Vec::new());
    loop {
        let page = moray
            .deleted(Timestamp::from_millis(u64::MAX), &cursor, 1)
            .await
            .expect("deleted");
        if page.is_empty() {
            break;
        }
        page.iter().for_each(|deleted| cursor.pass(deleted));
        paged.extend(page);
    }
    for deleted in &ours {
        let times = paged.iter().filter(|other| *other == deleted).count();
        assert_eq!(times, 1, "{deleted:?}");
    }
    for _ in 0..2 {
        moray.forget(&ours).await.expect("forget");
        assert_eq!(logged(moray, &ids).await, 0);
    }
    assert_eq!(
        moray.referenced(&ids).await,
        Ok(vec![false, false, false, false])
    );
}

fn record_key(bucket: &str, route: &str, key: &str) -> RecordKey {
    RecordKey {
        bucket: bucket.to_owned(),
        route: route.to_owned(),
        key: key.to_owned(),
    }
}

fn write(key: &RecordKey, value: Option<&[u8]>, expect: Expect) -> Write {
    Write {
        key: key.clone(),
        value: value.map(<[u8]>::to_vec),
        expect,
    }
}

async fn record(moray: &dyn Moray, key: &RecordKey) -> Option<Record> {
    moray.get(key).await.expect("get")
}

pub async fn records_are_kept_with_their_etags(moray: &dyn Moray) {
    let route = Uuid::new_v4().to_string();
    let (a, b) = (
        record_key("suite", &route, "a"),
        record_key("suite", &route, "b"),
    );
    assert_eq!(record(moray, &a).await, None);
    moray.batch(Vec::new()).await.expect("nothing");
    moray
        .batch(vec![
            write(&a, Some(b"1"), Expect::Absent),
            write(&b, Some(b""), Expect::Anything),
        ])
        .await
        .expect("batch");
    let first = record(moray, &a).await.expect("a is there");
    assert_eq!((&first.key, &first.value[..]), (&a, &b"1"[..]));
    assert_eq!(record(moray, &b).await.expect("b is there").value, b"");

    // All or nothing.
    let conflict = moray
        .batch(vec![
            write(&b, Some(b"2"), Expect::Anything),
            write(&a, Some(b"2"), Expect::Absent),
        ])
        .await;
    assert_eq!(conflict, Err(BatchError::Conflict(a.clone())));
    assert_eq!(record(moray, &b).await.expect("b is there").value, b"");

    let expect = Expect::Etag(first.etag);
    moray
        .batch(vec![write(&a, Some(b"1"), expect)])
        .await
        .expect("the etag matches");
    assert_ne!(
        record(moray, &a).await.expect("a is there").etag,
        first.etag
    );
    assert_eq!(
        moray.batch(vec![write(&a, Some(b"3"), expect)]).await,
        Err(BatchError::Conflict(a.clone()))
    );
    assert_eq!(
        moray.batch(vec![write(&a, None, expect)]).await,
        Err(BatchError::Conflict(a.clone()))
    );
    for _ in 0..2 {
        moray
            .batch(vec![write(&a, None, Expect::Anything)])
            .await
            .expect("delete");
        assert_eq!(record(moray, &a).await, None);
    }
    let elsewhere = record_key("suite", "another route", "a");
    assert_eq!(
        moray
            .batch(vec![
                write(&a, None, Expect::Anything),
                write(&elsewhere, None, Expect::Anything),
            ])
            .await,
        Err(BatchError::Routes)
    );
}

pub async fn records_are_scanned_in_order(moray: &dyn Moray) {
    let bucket = format!("suite-{}", Uuid::new_v4());
    let mut all = Vec::new();
    for route in 0..8 {
        let route = format!("route {route}");
        let keys: Vec<_> = ["a", "b", "c", "B"]
            .iter()
            .map(|key| record_key(&bucket, &route, key))
            .collect();
        let writes = keys
            .iter()
            .map(|key| write(key, Some(b"x"), Expect::Absent))
            .collect();
        moray.batch(writes).await.expect("batch");
        all.extend(keys);
    }
    all.sort();
    let keys = |records: Vec<Record>| -> Vec<RecordKey> {
        records.into_iter().map(|record| record.key).collect()
    };
    let page = moray.scan(&bucket, "route 3", "a", 2).await.expect("scan");
    assert_eq!(
        keys(page),
        [
            record_key(&bucket, "route 3", "a"),
            record_key(&bucket, "route 3", "b")
        ]
    );
    let page = moray.scan(&bucket, "route 3", "", 9).await.expect("scan");
    assert_eq!(keys(page).len(), 4);

    let mut seen: Vec<RecordKey> = Vec::new();
    loop {
        let after = seen.last().map(|k| (k.route.as_str(), k.key.as_str()));
        let page = moray.scan_all(&bucket, after, 5).await.expect("scan");
        assert!(page.len() <= 5);
        if page.is_empty() {
            break;
        }
        seen.extend(keys(page));
    }
    assert_eq!(seen, all);
}
