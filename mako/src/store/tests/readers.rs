//! Many readers that stand still.

use super::reader::READ_AHEAD_BYTES;
use super::*;

const PIECE: usize = 128 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stand_still_pin_no_more_than_the_budget() {
    let fixture = Fixture::new();
    let bytes = content(1, 1_500_000);
    let (creator, object_id) = fixture.put(&bytes).await;
    let budget = &fixture.store.node.read_ahead;
    assert_eq!(budget.available_permits(), READ_AHEAD_BYTES);

    let chunks = READ_AHEAD_BYTES / (2 * PIECE);
    let mut still = Vec::new();
    for number in 0..chunks + 50 {
        let mut reader = fixture
            .shark
            .open(creator, object_id, 0..u64::MAX)
            .await
            .unwrap();
        let first = reader.read().await.unwrap().unwrap();
        let (begun, piece) = if number < chunks {
            (number + 1, 2 * PIECE)
        } else {
            (chunks, PIECE)
        };
        assert_eq!(first.len(), piece, "reader {number}");
        assert_eq!(
            budget.available_permits(),
            READ_AHEAD_BYTES - begun * 2 * PIECE,
            "reader {number}"
        );
        still.push((reader, first));
    }

    // Without a budget a reader gets single blocks, and all of the bytes.
    let (mut last, first) = still.pop().unwrap();
    let mut read = first.to_vec();
    while let Some(piece) = last.read().await.unwrap() {
        assert!(piece.len() <= PIECE, "{}", piece.len());
        read.extend(piece);
    }
    assert!(read == bytes);

    // One that goes away makes room for one that stood still without.
    let (mut waiting, first) = still.pop().unwrap();
    drop(still.swap_remove(0));
    eventually("its budget is free", || budget.available_permits() > 0).await;
    let mut read = first.to_vec();
    read.extend(read_all(&mut waiting).await.unwrap());
    assert!(read == bytes);

    drop(still);
    eventually("everything is free", || {
        budget.available_permits() == READ_AHEAD_BYTES
    })
    .await;
    fixture.store.close().await;
}

#[tokio::test]
async fn ranges_without_a_budget_are_exact() {
    let fixture = Fixture::new();
    let bytes = content(2, 700_000);
    let (creator, object_id) = fixture.put(&bytes).await;
    let all = u32::try_from(READ_AHEAD_BYTES).unwrap();
    let _spent = fixture
        .store
        .node
        .read_ahead
        .acquire_many(all)
        .await
        .unwrap();
    for range in [0..700_000, 1..PIECE + 1, PIECE..PIECE, 300_000..699_999] {
        let wanted = range.start as u64..range.end as u64;
        let mut reader = fixture
            .shark
            .open(creator, object_id, wanted)
            .await
            .unwrap();
        assert!(read_all(&mut reader).await.unwrap() == bytes[range]);
    }
}
