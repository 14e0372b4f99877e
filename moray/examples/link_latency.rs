//! How long one caller waits for a put, a link and a rename, each durable, with names in random directories.
//!
//! `cargo run --profile fast -p moray --example link_latency [directory] [shards] [calls]`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use electric_moray::{Ring, Router, Upkeeper, UpkeeperConfig};
use libmanta::moray::Namespace;
use libmanta::moray::links::Links;
use libmanta::moray::shard::Shard;
use libmanta::{AccountId, ObjectKey, SystemClock};
use testkit::links::{link, rename};
use testkit::moray::{key, mkdir, object, put};

const DIRECTORIES: usize = 16;

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
    let calls: usize = argument(3, 1_000);
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
    let ports = shards
        .iter()
        .map(|s| Arc::clone(s) as Arc<dyn Shard>)
        .collect();
    let router = Arc::new(Router::new(ring, ports).expect("a router"));
    let upkeeper = Upkeeper::start(
        Arc::clone(&router),
        UpkeeperConfig::default(),
        Arc::new(SystemClock),
    );

    let owner = AccountId::random();
    for n in 0..DIRECTORIES {
        let made = router.make_directory(mkdir(key(owner, &format!("stor/d{n}"))));
        made.await.expect("mkdir");
    }
    let name = |what: &str, n: usize, spread: usize| -> ObjectKey {
        key(
            owner,
            &format!("stor/d{}/{what}{n}", n * spread % DIRECTORIES),
        )
    };
    let (mut puts, mut links, mut renames) = (Vec::new(), Vec::new(), Vec::new());
    // In turns, so that all of them meet the same disk.
    for n in 0..calls {
        let (first, second, third) = (name("a", n, 1), name("b", n, 5), name("c", n, 3));
        let begun = Instant::now();
        let entry = object(first.clone());
        router.put_object(put(entry)).await.expect("put");
        puts.push(begun.elapsed());
        let begun = Instant::now();
        router
            .rename(rename(&first, &second))
            .await
            .expect("rename");
        renames.push(begun.elapsed());
        let other = object(first.clone());
        router.put_object(put(other)).await.expect("put");
        let begun = Instant::now();
        router.link(link(&first, &third)).await.expect("link");
        links.push(begun.elapsed());
    }
    for (what, times) in [("put", puts), ("rename", renames), ("link", links)] {
        report(what, times);
    }
    upkeeper.shutdown().await;
    for shard in &shards {
        shard.close().await;
    }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_micros();
    println!("{what}: half within {} us, 90 % {} us", at(50), at(90));
}
