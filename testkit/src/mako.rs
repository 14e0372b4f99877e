//! What every storage node must do, whatever stands behind [`Shark`].
//!
//! Call [`conformance`] with an empty node from a test of the adapter. It panics at the first difference
//! and leaves the node as empty as it was.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use libmanta::mako::{Segment, Shark, SharkError, SizeHint};
use libmanta::{AccountId, ObjectId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Sizes around everything a store may treat differently: nothing, a page, a checksum block, a buffer.
const SIZES: [usize; 12] = [
    0,
    1,
    4096,
    128 * 1024 - 1,
    128 * 1024,
    128 * 1024 + 1,
    256 * 1024,
    256 * 1024 + 1,
    512 * 1024,
    512 * 1024 + 1,
    1024 * 1024 + 4097,
    3 * 1024 * 1024,
];

/// Runs every check. `shark` must be empty and have some 100 MB of space.
///
/// # Panics
/// When the node does not do what the port says.
pub async fn conformance(shark: Arc<dyn Shark>) {
    let shark = &shark;
    what_was_written_is_read_back(shark).await;
    ranges_are_clamped_and_exact(shark).await;
    a_copy_is_there_only_after_commit(shark).await;
    sizes_must_be_as_announced(shark).await;
    what_is_not_there_is_said_to_be_missing(shark).await;
    copies_are_listed_in_order(shark).await;
    many_at_a_time_do_not_meet(shark).await;
    local_files_are_the_bytes(shark).await;
    copies_are_made_of_copies(shark).await;
    what_cannot_be_assembled_leaves_nothing(shark).await;
    space_is_finite(shark).await;
    assert_eq!(list(shark, 7).await, [], "the suite leaves nothing behind");
}

/// `size` bytes that differ from those of any other seed.
#[must_use]
pub fn content(seed: u64, size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    StdRng::seed_from_u64(seed).fill(&mut bytes[..]);
    bytes.into()
}

/// Writes a copy in pieces of `piece` bytes.
///
/// # Errors
/// What the node says.
pub async fn put(
    shark: &Arc<dyn Shark>,
    creator: AccountId,
    object_id: ObjectId,
    bytes: &Bytes,
    piece: usize,
) -> Result<(), SharkError> {
    let size = SizeHint::Exactly(bytes.len() as u64);
    let mut writer = shark.create(creator, object_id, size).await?;
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        writer.write(rest.split_to(piece.min(rest.len()))).await?;
    }
    writer.commit().await
}

/// Reads a range of a copy, and the size of the whole.
///
/// # Errors
/// What the node says.
pub async fn get(
    shark: &Arc<dyn Shark>,
    creator: AccountId,
    object_id: ObjectId,
    range: Range<u64>,
) -> Result<(Vec<u8>, u64), SharkError> {
    let mut reader = shark.open(creator, object_id, range).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.read().await? {
        assert!(!chunk.is_empty(), "an empty chunk says nothing");
        bytes.extend(chunk);
    }
    assert!(
        reader.read().await?.is_none(),
        "after the end comes the end"
    );
    Ok((bytes, reader.size_bytes()))
}

/// Every copy of the node, in pages of `limit`.
async fn list(shark: &Arc<dyn Shark>, limit: usize) -> Vec<(ObjectId, u64)> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = shark.copies(after, limit).await.expect("copies");
        assert!(page.len() <= limit);
        let Some(last) = page.last() else {
            return all;
        };
        after = Some(last.object_id);
        all.extend(page.iter().map(|copy| (copy.object_id, copy.size_bytes)));
    }
}

async fn what_was_written_is_read_back(shark: &Arc<dyn Shark>) {
    let creator = AccountId::random();
    for (seed, size) in (0..).zip(SIZES) {
        let bytes = content(seed, size);
        for piece in [1000, 64 * 1024, 5_000_000] {
            let object_id = ObjectId::random();
            put(shark, creator, object_id, &bytes, piece)
                .await
                .unwrap_or_else(|error| panic!("put {size} bytes by {piece}: {error}"));
            let (read, whole) = get(shark, creator, object_id, 0..u64::MAX)
                .await
                .unwrap_or_else(|error| panic!("get {size} bytes: {error}"));
            assert_eq!(whole, size as u64);
            assert!(read == bytes, "{size} bytes written by {piece} differ");
            assert!(shark.delete(creator, object_id).await.expect("delete"));
        }
    }
}

async fn ranges_are_clamped_and_exact(shark: &Arc<dyn Shark>) {
    let (creator, object_id) = (AccountId::random(), ObjectId::random());
    let size = 700_001_u64;
    let bytes = content(100, 700_001);
    put(shark, creator, object_id, &bytes, 30_000)
        .await
        .expect("put");
    let mut rng = StdRng::seed_from_u64(101);
    let mut ranges = vec![
        0..0,
        0..1,
        size - 1..size,
        size..size,
        size..u64::MAX,
        u64::MAX..u64::MAX,
        131_071..131_073,
        131_072..262_144,
        0..u64::MAX,
    ];
    for _ in 0..30 {
        let start = rng.random_range(0..size + 10);
        ranges.push(start..start + rng.random_range(0..300_000));
    }
    for range in ranges {
        let within = range.start.min(size) as usize..range.end.min(size) as usize;
        let (read, whole) = get(shark, creator, object_id, range.clone())
            .await
            .unwrap_or_else(|error| panic!("range {range:?}: {error}"));
        assert_eq!(whole, size);
        assert!(read == bytes[within], "range {range:?} differs");
    }
    assert!(shark.delete(creator, object_id).await.expect("delete"));
}

async fn a_copy_is_there_only_after_commit(shark: &Arc<dyn Shark>) {
    let creator = AccountId::random();
    for size in [10, 2_000_000] {
        let object_id = ObjectId::random();
        let hint = SizeHint::AtMost(size * 2);
        let mut writer = shark
            .create(creator, object_id, hint)
            .await
            .expect("create");
        let bytes = content(200, usize::try_from(size).expect("small"));
        writer.write(bytes).await.expect("write");
        let early = get(shark, creator, object_id, 0..1).await;
        assert!(
            matches!(early, Err(SharkError::NoSuchCopy { .. })),
            "{early:?}"
        );
        drop(writer);
        let dropped = get(shark, creator, object_id, 0..1).await;
        assert!(
            matches!(dropped, Err(SharkError::NoSuchCopy { .. })),
            "{dropped:?}"
        );
    }
    assert_eq!(list(shark, 10).await, []);
}

async fn sizes_must_be_as_announced(shark: &Arc<dyn Shark>) {
    let (creator, object_id) = (AccountId::random(), ObjectId::random());
    for hint in [SizeHint::Exactly(10), SizeHint::AtMost(10)] {
        let mut writer = shark
            .create(creator, object_id, hint)
            .await
            .expect("create");
        writer.write(content(300, 10)).await.expect("10 of 10");
        writer
            .write(content(301, 1))
            .await
            .expect_err("the eleventh byte");
        writer
            .commit()
            .await
            .expect_err("a writer that failed cannot commit");
    }
    let hint = SizeHint::Exactly(10);
    let mut writer = shark
        .create(creator, object_id, hint)
        .await
        .expect("create");
    writer.write(content(302, 9)).await.expect("9 of 10");
    writer.commit().await.expect_err("a byte is missing");
    assert_eq!(list(shark, 10).await, []);

    let hint = SizeHint::AtMost(10);
    let mut writer = shark
        .create(creator, object_id, hint)
        .await
        .expect("create");
    writer
        .write(content(303, 9))
        .await
        .expect("9 of at most 10");
    writer.commit().await.expect("fewer are fine");
    assert_eq!(list(shark, 10).await, [(object_id, 9)]);
    assert!(shark.delete(creator, object_id).await.expect("delete"));
}

/// Writes copies of these sizes and names them as segments; returns also what they are together.
async fn segments(
    shark: &Arc<dyn Shark>,
    creator: AccountId,
    sizes: &[usize],
) -> (Vec<Segment>, Vec<u8>) {
    let (mut segments, mut all) = (Vec::new(), Vec::new());
    for (seed, size) in (700..).zip(sizes) {
        let (object_id, bytes) = (ObjectId::random(), content(seed, *size));
        put(shark, creator, object_id, &bytes, 100_000)
            .await
            .expect("put");
        all.extend(&bytes);
        segments.push(Segment {
            object_id,
            size_bytes: bytes.len() as u64,
        });
    }
    (segments, all)
}

async fn copies_are_made_of_copies(shark: &Arc<dyn Shark>) {
    let creator = AccountId::random();
    for sizes in [
        vec![],
        vec![7],
        vec![0, 0],
        vec![100_000, 131_072, 1],
        vec![6_000_000],
        vec![3_000_000, 0, 131_072, 2_000_001, 1],
    ] {
        let (segments, bytes) = segments(shark, creator, &sizes).await;
        let object_id = ObjectId::random();
        shark
            .assemble(creator, object_id, segments.clone())
            .await
            .unwrap_or_else(|error| panic!("assemble {sizes:?}: {error}"));
        let whole = (object_id, bytes.len() as u64);
        assert!(list(shark, 3).await.contains(&whole), "{sizes:?}");
        for segment in &segments {
            let deleted = shark.delete(creator, segment.object_id).await;
            assert!(deleted.expect("delete"));
        }
        assert_eq!(list(shark, 3).await, [whole]);
        let mut ranges = vec![0..u64::MAX, 0..1, whole.1..u64::MAX];
        let mut rng = StdRng::seed_from_u64(103);
        for _ in 0..20 {
            let start = rng.random_range(0..whole.1 + 10);
            ranges.push(start..start + rng.random_range(0..400_000));
        }
        for range in ranges {
            let (read, size) = get(shark, creator, object_id, range.clone())
                .await
                .unwrap_or_else(|error| panic!("range {range:?} of {sizes:?}: {error}"));
            assert_eq!(size, whole.1);
            let within = range.start.min(size) as usize..range.end.min(size) as usize;
            assert!(read == bytes[within], "range {range:?} of {sizes:?}");
        }
        let mut reader = shark
            .open(creator, object_id, 0..u64::MAX)
            .await
            .expect("open");
        assert!(shark.delete(creator, object_id).await.expect("delete"));
        assert_eq!(list(shark, 3).await, []);
        let mut read = Vec::new();
        while let Some(chunk) = reader.read().await.expect("a reader of a deleted copy") {
            read.extend(chunk);
        }
        assert!(read == bytes, "a deleted copy is read to its end");
        let gone = get(shark, creator, object_id, 0..1).await;
        assert!(
            matches!(gone, Err(SharkError::NoSuchCopy { .. })),
            "{gone:?}"
        );
    }
}

async fn what_cannot_be_assembled_leaves_nothing(shark: &Arc<dyn Shark>) {
    let creator = AccountId::random();
    for sizes in [[10, 20], [5_000_000, 10]] {
        let (segments, _) = segments(shark, creator, &sizes).await;
        let object_id = ObjectId::random();
        let mut wrong = segments.clone();
        wrong[1].size_bytes += 1;
        let refused = shark.assemble(creator, object_id, wrong).await;
        assert!(
            matches!(refused, Err(SharkError::Damaged { object_id, .. }) if object_id == segments[1].object_id),
            "{refused:?}"
        );
        assert!(
            shark
                .delete(creator, segments[1].object_id)
                .await
                .expect("delete")
        );
        let refused = shark.assemble(creator, object_id, segments.clone()).await;
        assert!(
            matches!(refused, Err(SharkError::NoSuchCopy { object_id, .. }) if object_id == segments[1].object_id),
            "{refused:?}"
        );
        // Not one of this account's.
        let stranger = AccountId::random();
        let refused = shark.assemble(stranger, object_id, segments.clone()).await;
        assert!(
            matches!(refused, Err(SharkError::NoSuchCopy { .. })),
            "{refused:?}"
        );
        assert!(
            shark
                .delete(creator, segments[0].object_id)
                .await
                .expect("delete")
        );
        assert_eq!(list(shark, 3).await, []);
    }
}

async fn what_is_not_there_is_said_to_be_missing(shark: &Arc<dyn Shark>) {
    let (creator, object_id) = (AccountId::random(), ObjectId::random());
    let missing = get(shark, creator, object_id, 0..1).await;
    assert!(
        matches!(missing, Err(SharkError::NoSuchCopy { .. })),
        "{missing:?}"
    );
    assert!(!shark.delete(creator, object_id).await.expect("delete"));
    put(shark, creator, object_id, &content(400, 5), 5)
        .await
        .expect("put");
    let other = get(shark, AccountId::random(), object_id, 0..1).await;
    assert!(
        matches!(other, Err(SharkError::NoSuchCopy { .. })),
        "copies of different accounts are different: {other:?}"
    );
    assert!(shark.delete(creator, object_id).await.expect("delete"));
    assert!(!shark.delete(creator, object_id).await.expect("again"));
    let deleted = get(shark, creator, object_id, 0..1).await;
    assert!(
        matches!(deleted, Err(SharkError::NoSuchCopy { .. })),
        "{deleted:?}"
    );
}

async fn copies_are_listed_in_order(shark: &Arc<dyn Shark>) {
    let creators = [AccountId::random(), AccountId::random()];
    let mut expected = BTreeMap::new();
    for number in 0..40 {
        let object_id = ObjectId::random();
        let creator = creators[number % 2];
        put(shark, creator, object_id, &content(500, number), 100)
            .await
            .expect("put");
        expected.insert(object_id, (number as u64, creator));
    }
    let sizes: Vec<_> = expected
        .iter()
        .map(|(id, (size, _))| (*id, *size))
        .collect();
    for limit in [1, 3, 39, 40, 41, 1000] {
        assert_eq!(list(shark, limit).await, sizes, "pages of {limit}");
    }
    let middle = sizes[17].0;
    let page = shark.copies(Some(middle), 3).await.expect("copies");
    let ids: Vec<_> = page.iter().map(|copy| copy.object_id).collect();
    assert_eq!(ids, [sizes[18].0, sizes[19].0, sizes[20].0]);
    assert_eq!(shark.copies(None, 0).await.expect("copies"), []);
    for (object_id, (_, creator)) in expected {
        assert!(shark.delete(creator, object_id).await.expect("delete"));
    }
    assert_eq!(list(shark, 10).await, []);
}

async fn many_at_a_time_do_not_meet(shark: &Arc<dyn Shark>) {
    let creator = AccountId::random();
    let tasks: Vec<_> = (0..32_u64)
        .map(|number| {
            let shark = Arc::clone(shark);
            tokio::spawn(async move {
                let size = if number % 8 == 0 { 1_500_000 } else { 3000 };
                let bytes = content(600 + number, size);
                let object_id = ObjectId::random();
                put(&shark, creator, object_id, &bytes, 10_000)
                    .await
                    .expect("put");
                let (read, _) = get(&shark, creator, object_id, 0..u64::MAX)
                    .await
                    .expect("get");
                assert!(read == bytes, "copy {number} differs");
                assert!(shark.delete(creator, object_id).await.expect("delete"));
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task failed");
    }
}

async fn local_files_are_the_bytes(shark: &Arc<dyn Shark>) {
    let Some(local) = shark.local() else {
        return;
    };
    let creator = AccountId::random();
    let missing = local.open_file(creator, ObjectId::random()).await;
    assert!(
        matches!(missing, Err(SharkError::NoSuchCopy { .. })),
        "{missing:?}"
    );
    for size in [0, 1, 700_000] {
        let object_id = ObjectId::random();
        let bytes = content(700, size);
        put(shark, creator, object_id, &bytes, 100_000)
            .await
            .expect("put");
        let mut file = local.open_file(creator, object_id).await.expect("open");
        let mut read = Vec::new();
        file.read_to_end(&mut read).expect("read");
        assert!(read == bytes, "the file of {size} bytes differs");
        assert!(shark.delete(creator, object_id).await.expect("delete"));
    }
}

async fn space_is_finite(shark: &Arc<dyn Shark>) {
    let capacity = shark.capacity();
    assert!(capacity.writable);
    assert!(capacity.available_bytes <= capacity.total_bytes);
    for hint in [
        SizeHint::Exactly(capacity.total_bytes + 1),
        SizeHint::AtMost(capacity.total_bytes + 1),
    ] {
        let refused = shark
            .create(AccountId::random(), ObjectId::random(), hint)
            .await;
        assert!(
            matches!(refused, Err(SharkError::NotEnoughSpace { .. })),
            "a node of {} bytes admitted {hint:?}",
            capacity.total_bytes
        );
    }
    assert!(shark.capacity().writable, "a refusal is no failure");
}
