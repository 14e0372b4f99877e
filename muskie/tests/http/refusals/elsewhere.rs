//! Refusals that take a store of their own: another surface, another door, parts that fail, limits that are reached.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use muskie::Config;

use super::{Row, asks, provoke, row};
use crate::client::Request;
use crate::faults::with_faults;
use crate::links::link;
use crate::store::{Door, Store, start_behind, start_between, start_m2, start_with};
use crate::stumbling::{Stumble, StumblingMoray, When};

const NO_LINKS: &str = "Manta v2 does not support SnapLinks.";
const TLS: &str = "Manta requires a secure transport (SSL/TLS)";
const FULL: &str = "/alice/stor/d cannot exceed 1,000,000 entries";
const STALLED: &str = "request took too long to send data";
const THROTTLED: &str = "manta throttled this request";
const UNABLE: &str = "manta is unable to serve this request";
const UNEXPECTED: &str = "an unexpected error occurred";

fn by_alice(store: &Store, request: Request) -> Request {
    request.signed_by(&store.alice)
}

const MANTA2: &[Row<Store>] = &[
    row(403, "SnaplinksDisabledError", NO_LINKS, |store| {
        let request = link("/alice/stor/o", "/alice/stor/n");
        vec![asks(by_alice(store, request), NO_LINKS)]
    }),
    row(416, "RangeNotSatisfiable", "(surface `manta2`)", |store| {
        let request = Request::new("GET", "/alice/stor/o").header("range", "bytes=9-");
        vec![asks(by_alice(store, request), "").told("content-range", "bytes */3")]
    }),
];

const INSECURE: &[Row<Store>] = &[row(403, "SecureTransportRequired", TLS, |store| {
    let mut all = Vec::new();
    for (method, path) in [
        ("GET", "/alice"),
        ("GET", "/alice/stor/o"),
        ("PUT", "/alice/public/o"),
        ("DELETE", "/alice/public/o"),
        ("GET", "/alice/jobs"),
        ("POST", "/alice/jobs"),
        ("GET", "/metrics"),
        ("GET", "/alice/stor/public"),
    ] {
        let request = Request::new(method, path);
        all.push(asks(request.clone(), TLS));
        all.push(asks(by_alice(store, request), TLS));
    }
    all
})];

const NARROW: &[Row<Store>] = &[
    row(
        409,
        "DirectoryLimitExceeded",
        "{directory} cannot exceed 1,000,000 entries",
        |store| {
            let put =
                |name: &str| Request::new("PUT", &format!("/alice/stor/d/{name}")).body("new");
            // Overwrites too.
            ["new", "a"]
                .map(|name| asks(by_alice(store, put(name)), FULL))
                .into()
        },
    ),
    row(408, "UploadTimeout", STALLED, |store| {
        let request = Request::new("PUT", "/alice/stor/o").header("content-length", "10");
        let stalls = asks(by_alice(store, request), STALLED).and_sends(b"hello");
        vec![stalls.told("connection", "close")]
    }),
];

const BUSY: &[Row<Store>] = &[row(
    503,
    "ThrottledError",
    "manta throttled this request (`Retry-After: 1`)",
    |store| {
        let request = Request::new("PUT", "/alice/stor/o").body("new");
        vec![asks(by_alice(store, request), THROTTLED)]
    },
)];

const DOWN: &[Row<Store>] = &[row(
    503,
    "ServiceUnavailable",
    "manta is unable to serve this request (`Retry-After: 1`)",
    |store| {
        let request = Request::new("DELETE", "/alice/stor/o");
        vec![asks(by_alice(store, request), UNABLE)]
    },
)];

const PANICKING: &[Row<Store>] = &[row(500, "InternalError", UNEXPECTED, |store| {
    vec![asks(
        by_alice(store, Request::new("GET", "/alice/stor/o")),
        UNEXPECTED,
    )]
})];

pub(super) fn tables() -> [&'static [Row<Store>]; 6] {
    [MANTA2, INSECURE, NARROW, BUSY, DOWN, PANICKING]
}

async fn with_object(store: Store) -> Store {
    store.put("/alice/stor/o", "old").await.is(204);
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_second_surface() {
    let store = with_object(start_m2().await).await;
    provoke(&store, &store, MANTA2).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_insecure_door() {
    let store = start_behind(Door::Insecure, |_| {}).await;
    provoke(&store, &store, INSECURE).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_limits() {
    let store = start_with(|config: &mut Config| {
        config.directory_entries_max = 3;
        config.upload_stall = Duration::from_millis(200);
    })
    .await;
    store.mkdir("/alice/stor/d").await.is(204);
    for name in ["a", "b", "c", "d"] {
        store
            .put(&format!("/alice/stor/d/{name}"), "old")
            .await
            .is(204);
    }
    provoke(&store, &store, NARROW).await;
    // Directories are made where there are too many entries already.
    store.mkdir("/alice/stor/d/new").await.is(204);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_place() {
    let store = start_with(|config| config.uploads_max = 0).await;
    provoke(&store, &store, BUSY).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_metadata() {
    let stumble = Arc::new(Stumble::default());
    let own = stumble.clone();
    let wrap = |inner| -> Arc<dyn libmanta::moray::Moray> {
        Arc::new(StumblingMoray {
            inner,
            stumble: own,
        })
    };
    let store = start_between(Door::Plain, |_| {}, |shark| shark, wrap).await;
    let store = with_object(store).await;
    // At the look-up, and at the removal itself.
    for call in 0..2 {
        stumble.at(call, When::Before);
        provoke(&store, &store, DOWN).await;
        assert!(stumble.happened(), "call {call}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_panic() {
    let (store, faults) = with_faults(&[]).await;
    let store = with_object(store).await;
    faults.panic_on_open.store(true, Ordering::SeqCst);
    provoke(&store, &store, PANICKING).await;
    store.stop().await;
}
