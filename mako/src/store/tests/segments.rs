//! Copies put together of others: faults at every step, damage, readers, and one file for compute.

use std::io::Read;

use super::*;

const SIZES: [usize; 3] = [5_000_000, 131_072, 77];

pub(super) fn whole() -> Vec<u8> {
    let parts = (40..).zip(SIZES).map(|(seed, size)| content(seed, size));
    parts.flatten().collect()
}

/// An id whose copies lie in the directory of this name.
fn id_in(first: u8) -> ObjectId {
    let mut id = *ObjectId::random().as_uuid().as_bytes();
    id[0] = first;
    ObjectId::from_uuid(uuid::Uuid::from_bytes(id))
}

/// Copies that make [`whole`] together. They lie in one directory, `ab`, so that what is made of them in another
/// takes the steps that make a directory.
pub(super) async fn parts(shark: &Arc<dyn Shark>, creator: AccountId) -> Vec<Segment> {
    let mut segments = Vec::new();
    for (seed, size) in (40..).zip(SIZES) {
        let object_id = id_in(0xab);
        put(shark, creator, object_id, &content(seed, size), 300_000)
            .await
            .unwrap();
        segments.push(Segment {
            object_id,
            size_bytes: size as u64,
        });
    }
    segments
}

/// A copy in segments, whose parts are no copies any more.
pub(super) async fn assembled(fixture: &Fixture) -> (AccountId, ObjectId) {
    let (creator, object_id) = (AccountId::random(), ObjectId::random());
    let segments = parts(&fixture.shark, creator).await;
    let assembled = fixture.shark.assemble(creator, object_id, segments.clone());
    assembled.await.unwrap();
    for segment in segments {
        fixture
            .shark
            .delete(creator, segment.object_id)
            .await
            .unwrap();
    }
    (creator, object_id)
}

fn directory(fixture: &Fixture, creator: AccountId, object_id: ObjectId) -> PathBuf {
    fixture.store.node.disk.layout.segments(creator, object_id)
}

async fn open_file(fixture: &Fixture, copy: (AccountId, ObjectId)) -> Result<Vec<u8>, SharkError> {
    let local = fixture.shark.local().unwrap();
    let mut file = local.open_file(copy.0, copy.1).await?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    Ok(bytes)
}

#[tokio::test]
async fn the_steps_of_links_are_in_the_order_that_makes_them_durable() {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&steps);
    let fixture = Fixture::with(Faults::plan(move |step| {
        log.lock().unwrap().push(step);
        Ok(())
    }));
    let creator = AccountId::random();
    let segments = parts(&fixture.shark, creator).await;
    let object_id = id_in(7);
    steps.lock().unwrap().clear();
    let assembled = fixture.shark.assemble(creator, object_id, segments).await;
    assembled.unwrap();
    let mut taken = Vec::new();
    for step in steps.lock().unwrap().iter() {
        if !taken.contains(step) {
            taken.push(*step);
        }
    }
    assert_eq!(taken, Step::OF_SEGMENTS);
}

#[tokio::test]
async fn an_error_at_any_step_leaves_the_segments_and_nothing_else() {
    for attributes in [true, false] {
        for step in Step::OF_SEGMENTS {
            let broken = Arc::new(AtomicBool::new(false));
            let switch = Arc::clone(&broken);
            let faults = Faults::plan(move |at| {
                if at == step && switch.load(Ordering::SeqCst) {
                    return Err(io::Error::from_raw_os_error(libc::EIO));
                }
                Ok(())
            });
            let fixture = if attributes {
                Fixture::with(faults)
            } else {
                Fixture::without_attributes(faults)
            };
            let creator = AccountId::random();
            let segments = parts(&fixture.shark, creator).await;
            let before = fixture.shark.copies(None, 10).await.unwrap().len();
            let object_id = id_in(7);
            broken.store(true, Ordering::SeqCst);
            let failed = fixture
                .shark
                .assemble(creator, object_id, segments.clone())
                .await;
            assert!(matches!(failed, Err(SharkError::Io { .. })), "{step:?}");
            assert!(fixture.store.fault().is_some(), "{step:?}");
            assert_eq!(fixture.shark.copies(None, 10).await.unwrap().len(), before);
            assert_eq!(files(&fixture.root().join("tmp")), [] as [PathBuf; 0]);
            broken.store(false, Ordering::SeqCst);
            eventually("it is probed", || fixture.shark.capacity().writable).await;
            let again = fixture.shark.assemble(creator, object_id, segments).await;
            again.unwrap();
            let (bytes, _) = get(&fixture.shark, creator, object_id, 0..u64::MAX)
                .await
                .unwrap();
            assert!(bytes == whole(), "{step:?}");
        }
    }
}

#[tokio::test]
async fn no_byte_is_moved_when_segments_are_large() {
    let fixture = Fixture::new();
    let creator = AccountId::random();
    let segments = parts(&fixture.shark, creator).await;
    let used = |path: PathBuf| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let first = used(fixture.copy(creator, segments[0].object_id));
    let object_id = ObjectId::random();
    let assembled = fixture.shark.assemble(creator, object_id, segments).await;
    assembled.unwrap();
    assert_eq!(
        used(directory(&fixture, creator, object_id).join("0")),
        first
    );
}

#[tokio::test]
async fn damage_of_a_segment_is_noticed_where_it_is() {
    for (name, damage) in [
        ("0", b"damage".as_slice()),
        ("1", b""),
        ("manifest", b"damage"),
        ("manifest", b"gone"),
        ("2", b"gone"),
    ] {
        let fixture = Fixture::new();
        let (creator, object_id) = assembled(&fixture).await;
        let path = directory(&fixture, creator, object_id).join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        match damage {
            b"gone" => fs::remove_file(&path).unwrap(),
            b"" => fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(1000))
                .unwrap(),
            bytes => {
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                std::os::unix::fs::FileExt::write_all_at(&file, bytes, 5).unwrap();
            }
        }
        let read = get(&fixture.shark, creator, object_id, 0..u64::MAX).await;
        assert!(
            matches!(read, Err(SharkError::Damaged { .. })),
            "{name}: {read:?}"
        );
        let opened = open_file(&fixture, (creator, object_id)).await;
        assert!(
            matches!(opened, Err(SharkError::Damaged { .. })),
            "{name}: {opened:?}"
        );
        assert!(directory(&fixture, creator, object_id).exists());
        if name == "2" {
            // What is before it is still good.
            let (start, _) = get(&fixture.shark, creator, object_id, 0..5_000_000)
                .await
                .unwrap();
            assert!(start == whole()[..5_000_000]);
        }
        assert!(fixture.shark.delete(creator, object_id).await.unwrap());
        assert_eq!(files(&fixture.root()), [] as [PathBuf; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compute_gets_one_file_and_the_segments_are_gone() {
    let fixture = Fixture::new();
    let copy = assembled(&fixture).await;
    let before = fixture.shark.copies(None, 10).await.unwrap();
    let reader = fixture.shark.open(copy.0, copy.1, 0..u64::MAX).await;
    let mut reader = reader.unwrap();
    let opened = futures_util::future::join_all((0..4).map(|_| open_file(&fixture, copy))).await;
    for bytes in opened {
        assert!(bytes.unwrap() == whole());
    }
    assert!(!directory(&fixture, copy.0, copy.1).exists());
    assert!(fixture.copy(copy.0, copy.1).exists());
    let now = fixture.shark.copies(None, 10).await.unwrap();
    assert_eq!(
        before
            .iter()
            .map(|c| (c.object_id, c.size_bytes))
            .collect::<Vec<_>>(),
        now.iter()
            .map(|c| (c.object_id, c.size_bytes))
            .collect::<Vec<_>>()
    );
    // Whoever read the segments reads on.
    let mut read = Vec::new();
    while let Some(chunk) = reader.read().await.unwrap() {
        read.extend(chunk);
    }
    assert!(read == whole());
    drop(reader);
    let (bytes, _) = get(&fixture.shark, copy.0, copy.1, 0..u64::MAX)
        .await
        .unwrap();
    assert!(bytes == whole());
    fixture.store.close().await;
    assert_eq!(files(&fixture.root()).len(), 1);
}

#[tokio::test]
async fn a_disk_that_fails_while_one_file_is_made_loses_no_segments() {
    for step in Step::WITH_ATTRIBUTE {
        let broken = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&broken);
        let fixture = Fixture::with(Faults::plan(move |at| {
            if at == step && switch.load(Ordering::SeqCst) {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            Ok(())
        }));
        let (creator, object_id) = assembled(&fixture).await;
        // Directories that are durable already are no step again.
        fixture.store.node.disk.forget_durable();
        broken.store(true, Ordering::SeqCst);
        let opened = open_file(&fixture, (creator, object_id)).await;
        if step != Step::MakeDirectories {
            assert!(
                matches!(opened, Err(SharkError::Io { .. })),
                "{step:?}: {opened:?}"
            );
        }
        broken.store(false, Ordering::SeqCst);
        let (bytes, _) = get(&fixture.shark, creator, object_id, 0..u64::MAX)
            .await
            .unwrap();
        assert!(bytes == whole(), "{step:?}");
        let bytes = open_file(&fixture, (creator, object_id)).await.unwrap();
        assert!(bytes == whole(), "{step:?}");
        assert_eq!(files(&fixture.root()).len(), 1, "{step:?}");
    }
}

#[tokio::test]
async fn what_a_crash_left_beside_the_one_file_is_removed_with_the_next_open() {
    let fixture = Fixture::new();
    let copy = assembled(&fixture).await;
    put(&fixture.shark, copy.0, copy.1, &whole().into(), 1 << 20)
        .await
        .unwrap();
    assert!(directory(&fixture, copy.0, copy.1).exists());
    assert!(open_file(&fixture, copy).await.unwrap() == whole());
    assert_eq!(files(&fixture.root()).len(), 1);
}

#[tokio::test]
async fn a_full_disk_refuses_one_file_and_keeps_the_segments() {
    let full = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&full);
    let fixture = Fixture::with(Faults::plan(move |at| {
        if at == Step::Write && switch.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        Ok(())
    }));
    let copy = assembled(&fixture).await;
    full.store(true, Ordering::SeqCst);
    let refused = open_file(&fixture, copy).await;
    assert!(
        matches!(refused, Err(SharkError::NotEnoughSpace { .. })),
        "{refused:?}"
    );
    let (bytes, _) = get(&fixture.shark, copy.0, copy.1, 0..u64::MAX)
        .await
        .unwrap();
    assert!(bytes == whole());
}

#[tokio::test]
async fn deleted_segments_wait_for_their_last_reader_and_then_go() {
    let fixture = Fixture::new();
    let (creator, object_id) = assembled(&fixture).await;
    let open = || fixture.shark.open(creator, object_id, 0..u64::MAX);
    let (mut one, other) = (open().await.unwrap(), open().await.unwrap());
    assert!(fixture.shark.delete(creator, object_id).await.unwrap());
    drop(other);
    let mut read = Vec::new();
    while let Some(chunk) = one.read().await.unwrap() {
        read.extend(chunk);
    }
    assert!(read == whole());
    assert!(!files(&fixture.root()).is_empty());
    drop(one);
    let root = fixture.root();
    eventually("nothing is left", || files(&root).is_empty()).await;
}
