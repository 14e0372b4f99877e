//! What one process gets out of the metadata tier: durable small puts, lookups, and a whole listing.
//!
//! `cargo run --profile fast -p moray --example small_puts [directory] [shards] [callers] [puts]`

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use electric_moray::{Ring, Router};
use libmanta::moray::shard::Shard;
use libmanta::moray::{List, Namespace, Order};
use libmanta::{AccountId, ObjectKey};
use testkit::moray::{key, listing, mkdir, object, put};

fn argument<T: std::str::FromStr>(n: usize, default: T) -> T {
    std::env::args()
        .nth(n)
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[tokio::main]
async fn main() {
    let base: PathBuf = argument(1, PathBuf::from("target"));
    let shards: usize = argument(2, 2);
    let callers: usize = argument(3, 64);
    let puts: usize = argument(4, 100_000);
    let directory = tempfile::tempdir_in(base).expect("a temporary directory");
    let shards: Vec<Arc<moray::Shard>> = (1..=shards)
        .map(|n| {
            let name = format!("{n}.moray.local");
            let path = directory.path().join(&name);
            moray::Shard::open(moray::Config::new(name, path)).expect("open a shard")
        })
        .collect();
    let names: Vec<_> = shards.iter().map(|s| s.name().to_owned()).collect();
    let ring = Ring::new(Ring::VNODES_DEFAULT, &names).expect("a ring");
    let as_ports = shards
        .iter()
        .map(|s| Arc::clone(s) as Arc<dyn Shard>)
        .collect();
    let router = Arc::new(Router::new(ring, as_ports).expect("a router"));

    let owner = AccountId::random();
    let directories: Vec<ObjectKey> = (0..16).map(|n| key(owner, &format!("stor/d{n}"))).collect();
    for directory in &directories {
        router
            .make_directory(mkdir(directory.clone()))
            .await
            .expect("mkdir");
    }
    let name_of = move |n: usize| {
        format!(
            "stor/d{}/{:08x}",
            n % 16,
            n.wrapping_mul(0x9e37_79b9) & 0xffff_ffff
        )
    };

    let slowest = Arc::new(AtomicU64::new(0));
    let spent = spread(callers, puts, {
        let (router, slowest) = (Arc::clone(&router), Arc::clone(&slowest));
        move |n| {
            let (router, slowest) = (Arc::clone(&router), Arc::clone(&slowest));
            async move {
                let begun = Instant::now();
                router
                    .put_object(put(object(key(owner, &name_of(n)))))
                    .await
                    .expect("put");
                let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                slowest.fetch_max(took, Ordering::Relaxed);
            }
        }
    })
    .await;
    report("puts", puts, spent);
    println!("  slowest {} us", slowest.load(Ordering::Relaxed));
    for shard in &shards {
        let stats = shard.stats();
        println!(
            "  {}: {} operations, {} commits, largest group {}, {} checkpoints",
            shard.name(),
            moray::Stats::get(&stats.operations),
            moray::Stats::get(&stats.commits),
            moray::Stats::get(&stats.group_operations_max),
            moray::Stats::get(&stats.checkpoints),
        );
    }

    let lookups = puts.max(200_000);
    let spent = spread(callers, lookups, {
        let router = Arc::clone(&router);
        move |n| {
            let router = Arc::clone(&router);
            async move {
                let found = router
                    .lookup(&key(owner, &name_of(n % puts)))
                    .await
                    .expect("lookup");
                assert!(found.entry.is_some());
            }
        }
    })
    .await;
    report("lookups", lookups, spent);

    let begun = Instant::now();
    let mut listed = 0;
    for directory in &directories {
        let mut list = List {
            limit: 1_024,
            ..listing(directory.clone())
        };
        loop {
            let page = router.list(&list).await.expect("list");
            let again = usize::from(matches!(&list.order, Order::Name { from: Some(_), .. }));
            listed += page.entries.len() - again;
            match page.entries.last() {
                Some(last) if page.entries.len() > again => {
                    list.order = Order::Name {
                        from: Some(last.key.name().to_owned()),
                        reverse: false,
                    };
                }
                _ => break,
            }
        }
    }
    assert_eq!(listed, puts);
    report("entries listed", listed, begun.elapsed());
    for shard in &shards {
        shard.close().await;
    }
}

/// Runs `work(0..count)` from `callers` tasks.
async fn spread<F, W>(callers: usize, count: usize, work: F) -> Duration
where
    F: Fn(usize) -> W + Clone + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let work = work.clone();
        tasks.spawn(async move {
            for n in (caller..count).step_by(callers) {
                work(n).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a caller");
    }
    begun.elapsed()
}

fn report(what: &str, count: usize, spent: Duration) {
    println!("{what}: {:.0}/s", count as f64 / spent.as_secs_f64());
}
