//! How fast is the store itself, without HTTP and metadata?
//!
//! `cargo run --profile fast -p mako --example store_rates -- DIR [SECONDS] [CLIENTS]` opens two nodes
//! below DIR and prints: durable writes of 4 KiB to both, reads of 4 KiB, and one large object in and out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use libmanta::mako::{Shark, SizeHint};
use libmanta::{AccountId, ObjectId, StorageId};
use mako::{Config, Store};

const LARGE_BYTES: usize = 1 << 30;
const PIECE_BYTES: usize = 64 * 1024;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(
        args.next()
            .ok_or("usage: store_rates DIR [SECONDS] [CLIENTS]")?,
    );
    let seconds: f64 = args.next().map_or(Ok(3.0), |s| s.parse())?;
    let clients: usize = args.next().map_or(Ok(64), |s| s.parse())?;
    let root = dir.join("store-rates");
    let mut sharks: Vec<Arc<dyn Shark>> = Vec::new();
    for name in ["1.stor.bench", "2.stor.bench"] {
        sharks.push(Store::open(Config::new(
            StorageId::new(name),
            "dc",
            root.join(name),
        ))?);
    }
    let creator = AccountId::random();
    let time = Duration::from_secs_f64(seconds);

    let mut objects = Vec::new();
    for round in 0..3 {
        let (ids, mut latencies) = puts(&sharks, creator, time, clients).await?;
        latencies.sort();
        println!(
            "put 4 KiB twice, {clients} clients, round {round}: {:.0}/s, p50 {:.1} ms, p99 {:.1} ms",
            ids.len() as f64 / seconds,
            latencies[latencies.len() / 2].as_secs_f64() * 1e3,
            latencies[latencies.len() * 99 / 100].as_secs_f64() * 1e3,
        );
        objects.extend(ids);
    }
    let begun = Instant::now();
    let reads = gets(&sharks[0], creator, &objects, time, 16).await?;
    println!(
        "get 4 KiB, 16 clients: {:.0}/s",
        reads as f64 / begun.elapsed().as_secs_f64()
    );
    let begun = Instant::now();
    for id in &objects {
        for shark in &sharks {
            shark.delete(creator, *id).await?;
        }
    }
    println!(
        "delete, one at a time: {:.0} copies/s",
        2.0 * objects.len() as f64 / begun.elapsed().as_secs_f64()
    );
    large(&sharks[0], creator).await?;
    drop(sharks);
    std::fs::remove_dir_all(root)?;
    Ok(())
}

async fn puts(
    sharks: &[Arc<dyn Shark>],
    creator: AccountId,
    time: Duration,
    clients: usize,
) -> Result<(Vec<ObjectId>, Vec<Duration>)> {
    let deadline = Instant::now() + time;
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let sharks = sharks.to_vec();
            tokio::spawn(async move {
                let bytes = Bytes::from(vec![7; 4096]);
                let (mut ids, mut latencies) = (Vec::new(), Vec::new());
                while Instant::now() < deadline {
                    let id = ObjectId::random();
                    let begun = Instant::now();
                    let (one, two) = tokio::join!(
                        put(&sharks[0], creator, id, &bytes),
                        put(&sharks[1], creator, id, &bytes)
                    );
                    one?;
                    two?;
                    latencies.push(begun.elapsed());
                    ids.push(id);
                }
                Result::Ok((ids, latencies))
            })
        })
        .collect();
    let (mut ids, mut latencies) = (Vec::new(), Vec::new());
    for task in tasks {
        let done = task.await??;
        ids.extend(done.0);
        latencies.extend(done.1);
    }
    Ok((ids, latencies))
}

async fn put(
    shark: &Arc<dyn Shark>,
    creator: AccountId,
    id: ObjectId,
    bytes: &Bytes,
) -> Result<()> {
    let size = SizeHint::Exactly(bytes.len() as u64);
    let mut writer = shark.create(creator, id, size).await?;
    writer.write(bytes.clone()).await?;
    writer.commit().await?;
    Ok(())
}

async fn gets(
    shark: &Arc<dyn Shark>,
    creator: AccountId,
    ids: &[ObjectId],
    time: Duration,
    clients: usize,
) -> Result<u64> {
    let deadline = Instant::now() + time;
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (shark, ids) = (Arc::clone(shark), ids.to_vec());
            tokio::spawn(async move {
                let mut count = 0;
                let mut ids = ids.iter().cycle().skip(client * 97);
                while Instant::now() < deadline {
                    let id = ids.next().ok_or("nothing was written")?;
                    let mut reader = shark.open(creator, *id, 0..u64::MAX).await?;
                    while reader.read().await?.is_some() {}
                    count += 1;
                    tokio::task::yield_now().await;
                }
                Result::Ok(count)
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await??;
    }
    Ok(count)
}

async fn large(shark: &Arc<dyn Shark>, creator: AccountId) -> Result<()> {
    let id = ObjectId::random();
    let piece = Bytes::from(vec![7; PIECE_BYTES]);
    let rate = |begun: Instant| LARGE_BYTES as f64 / 1e6 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let mut writer = shark
        .create(creator, id, SizeHint::Exactly(LARGE_BYTES as u64))
        .await?;
    for _ in 0..LARGE_BYTES / PIECE_BYTES {
        writer.write(piece.clone()).await?;
    }
    println!("large in, before the fsync: {:.0} MB/s", rate(begun));
    writer.commit().await?;
    println!("large in, durable: {:.0} MB/s", rate(begun));
    let begun = Instant::now();
    let mut reader = shark.open(creator, id, 0..u64::MAX).await?;
    while reader.read().await?.is_some() {}
    println!("large out: {:.0} MB/s", rate(begun));
    if let Some(local) = shark.local() {
        let begun = Instant::now();
        local.open_file(creator, id).await?;
        println!("large verified for a zone: {:.0} MB/s", rate(begun));
    }
    shark.delete(creator, id).await?;
    Ok(())
}
