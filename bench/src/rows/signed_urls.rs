//! Reading by signed URLs, against reading with signed headers.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::small_objects::{GET_CONNECTIONS, GET_OBJECTS, GET_STEP, OBJECT_BYTES};
use crate::load::{self, Length, Load};
use crate::report::{Floor, Sample};
use crate::store::Store;

pub(crate) const METHOD: &str = "The load of the row `get`, 5 s after 1 s that is not counted, once with signed \
    headers and once with signed URLs, each object having one that is used again and again, as a page would; the \
    two take turns at going first.";

const LENGTH: Length = Length::Time {
    warm_up: Duration::from_secs(1),
    measured: Duration::from_secs(5),
};

pub(crate) async fn run(store: &Store, round: usize) -> Result<Vec<Sample>> {
    let root = store.path("stor/get");
    let host = "localhost";
    let urls: Arc<[String]> = (0..GET_OBJECTS)
        .map(|object| store.signer().url("GET", host, &format!("{root}/{object}")))
        .collect::<Result<Vec<_>>>()?
        .into();
    let mut rates = [0.0; 2];
    for turn in 0..2 {
        let is_signed = (turn + round).is_multiple_of(2);
        let load = Load {
            address: store.address(),
            signer: Arc::clone(store.signer()),
            connections: GET_CONNECTIONS,
            length: LENGTH,
            method: "GET",
            content_type: None,
            is_signed,
            body: Arc::from([]),
            status: 200,
            answer_bytes: OBJECT_BYTES,
        };
        let (root, urls) = (root.clone(), Arc::clone(&urls));
        let outcome = load::run(&load, move |target, connection, number| {
            let object = (connection as u64 * 61 + number * GET_STEP) % GET_OBJECTS;
            if is_signed {
                let _ = write!(target, "{root}/{object}");
            } else if let Some(url) = usize::try_from(object).ok().and_then(|n| urls.get(n)) {
                target.push_str(url);
            }
        });
        rates[usize::from(!is_signed)] = outcome.await?.rate();
    }
    let [headers, urls] = rates;
    Ok(vec![
        Sample::new(
            "GET 4 KiB by signed URL, against signed headers",
            "×",
            Floor::AtLeast(0.9),
            urls / headers,
        ),
        Sample::new("GET 4 KiB by signed URL", "/s", Floor::Nothing, urls),
    ])
}
