//! Copies that are not what was written must never be handed out.

use std::os::unix::fs::FileExt;

use rustix::fs::XattrFlags;

use super::*;
use crate::checksums::ATTRIBUTE;

/// Makes a file writable, changes it, and makes it look untouched again, as a bad disk would.
fn tamper(path: &Path, change: impl FnOnce(&File)) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = File::options().read(true).write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    change(&file);
    file.set_modified(modified).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
}

fn flip(path: &Path, at: u64) {
    tamper(path, |file| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    });
}

/// Every way of reading says that the copy is damaged, for a reason that contains `reason`.
async fn assert_damaged(fixture: &Fixture, creator: AccountId, object_id: ObjectId, reason: &str) {
    let local = fixture.shark.local().unwrap();
    let opened = local.open_file(creator, object_id).await.map(drop);
    let read = get(&fixture.shark, creator, object_id, 0..u64::MAX)
        .await
        .map(drop);
    for result in [opened, read] {
        match result {
            Err(SharkError::Damaged { reason: found, .. }) => {
                assert!(found.contains(reason), "{found:?} instead of {reason:?}");
            }
            other => panic!("{other:?} instead of damage: {reason}"),
        }
    }
    assert_eq!(fixture.store.stats().damaged.get(), 2);
    assert!(
        fixture.shark.capacity().writable,
        "one bad copy is no bad node"
    );
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_found() {
    for size in [1, 4096, 128 * 1024 + 1, 1_000_000] {
        for at in [0, size / 2, size - 1] {
            let fixture = Fixture::new();
            let bytes = content(1, usize::try_from(size).unwrap());
            let (creator, object_id) = fixture.put(&bytes).await;
            // Read and verified once, so that caches cannot hide it later.
            let local = fixture.shark.local().unwrap();
            local.open_file(creator, object_id).await.unwrap();
            flip(&fixture.copy(creator, object_id), at);
            assert_damaged(&fixture, creator, object_id, "does not match its checksum").await;
        }
    }
}

#[tokio::test]
async fn bytes_before_the_damage_are_good_and_none_come_after_it() {
    let fixture = Fixture::new();
    let bytes = content(1, 1_000_000);
    let (creator, object_id) = fixture.put(&bytes).await;
    flip(&fixture.copy(creator, object_id), 600_000);
    let whole = 0..u64::MAX;
    let mut reader = fixture.shark.open(creator, object_id, whole).await.unwrap();
    let mut good = Vec::new();
    let error = loop {
        match reader.read().await {
            Ok(Some(chunk)) => good.extend(chunk),
            Ok(None) => panic!("the damage was not seen"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SharkError::Damaged { .. }), "{error}");
    assert!(good.len() >= 256 * 1024 && bytes.starts_with(&good));
    assert!(reader.read().await.unwrap().is_none());

    // A range beside the damage can still be read, and one that begins in it fails at once.
    let range = 900_000..900_010;
    let mut reader = fixture.shark.open(creator, object_id, range).await.unwrap();
    assert_eq!(
        read_all(&mut reader).await.unwrap(),
        &bytes[900_000..900_010]
    );
    let range = 600_000..600_001;
    assert!(fixture.shark.open(creator, object_id, range).await.is_err());
}

#[tokio::test]
async fn a_copy_of_another_length_is_damaged() {
    for length in [0, 999, 1001, 200_000] {
        let fixture = Fixture::new();
        let (creator, object_id) = fixture.put(&content(1, 1000)).await;
        tamper(&fixture.copy(creator, object_id), |file| {
            file.set_len(length).unwrap();
        });
        assert_damaged(&fixture, creator, object_id, "bytes instead of 1000").await;
    }
}

#[tokio::test]
async fn a_copy_that_shrinks_while_it_is_read_is_damaged() {
    let fixture = Fixture::new();
    let (creator, object_id) = fixture.put(&content(1, 2_000_000)).await;
    let whole = 0..u64::MAX;
    let mut reader = fixture.shark.open(creator, object_id, whole).await.unwrap();
    tamper(&fixture.copy(creator, object_id), |file| {
        file.set_len(1_000_000).unwrap();
    });
    let error = read_all(&mut reader).await.unwrap_err();
    assert!(matches!(error, SharkError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_copy_without_its_checksums_is_damaged() {
    let fixture = Fixture::new();
    let (creator, object_id) = fixture.put(&content(1, 1000)).await;
    tamper(&fixture.copy(creator, object_id), |file| {
        rustix::fs::fremovexattr(file, ATTRIBUTE).unwrap();
    });
    assert_damaged(&fixture, creator, object_id, "checksums are gone").await;

    let fixture = Fixture::without_attributes(Faults::default());
    let (creator, object_id) = fixture.put(&content(1, 1000)).await;
    fs::remove_file(fixture.sidecar(creator, object_id)).unwrap();
    assert_damaged(&fixture, creator, object_id, "checksums are gone").await;
}

#[tokio::test]
async fn checksums_that_are_nonsense_are_damage() {
    for table in [&b""[..], &[1; 32], &[0; 200]] {
        let fixture = Fixture::new();
        let (creator, object_id) = fixture.put(&content(1, 1000)).await;
        tamper(&fixture.copy(creator, object_id), |file| {
            rustix::fs::fsetxattr(file, ATTRIBUTE, table, XattrFlags::empty()).unwrap();
        });
        assert_damaged(&fixture, creator, object_id, "checksum table").await;
    }
    let fixture = Fixture::without_attributes(Faults::default());
    let (creator, object_id) = fixture.put(&content(1, 1000)).await;
    flip(&fixture.sidecar(creator, object_id), 33);
    assert_damaged(&fixture, creator, object_id, "checksum table").await;
}

#[tokio::test]
async fn a_copy_under_the_name_of_another_is_damaged() {
    let fixture = Fixture::new();
    let (creator, object_id) = fixture.put(&content(1, 1000)).await;
    let (other_creator, other) = fixture.put(&content(2, 1000)).await;
    fs::rename(
        fixture.copy(other_creator, other),
        fixture.copy(creator, object_id),
    )
    .unwrap();
    assert_damaged(&fixture, creator, object_id, &other.to_string()).await;
}

#[tokio::test]
async fn a_directory_where_a_copy_should_be_is_an_error_and_no_panic() {
    let fixture = Fixture::new();
    let (creator, object_id) = fixture.put(&content(1, 1000)).await;
    let path = fixture.copy(creator, object_id);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(get(&fixture.shark, creator, object_id, 0..1).await.is_err());
    assert!(fixture.shark.delete(creator, object_id).await.is_err());
}
