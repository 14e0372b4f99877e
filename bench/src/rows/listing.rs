//! A large directory, listed completely, page after page.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::connection::{Connection, Request};
use crate::load::{self, Length, Load};
use crate::processes::own_thread_time;
use crate::report::{Floor, Sample};
use crate::signer::Signer;
use crate::store::Store;

pub(crate) const METHOD: &str = "A directory of 100,000 empty objects, listed completely by one client, one \
    page of 1,024 after the other (the marker is inclusive, so a page after the first brings 1,023 new \
    entries); 5 times after one time that is not counted and in which every name is checked.";

const ENTRIES: u64 = 100_000;
const LISTINGS: usize = 5;
const CONNECTIONS: usize = 64;
const PAGE: usize = 1024;

/// Makes the directory, and checks that a listing shows each of its entries once.
pub(crate) async fn prepare(store: &Store) -> Result<()> {
    let root = store.path("stor/list");
    store.make_directory(&root).await?;
    let load = Load {
        address: store.address(),
        signer: Arc::clone(store.signer()),
        connections: CONNECTIONS,
        length: Length::Requests(ENTRIES),
        method: "PUT",
        content_type: None,
        is_signed: true,
        body: Arc::from([]),
        status: 204,
        answer_bytes: 0,
    };
    let path = root.clone();
    load::run(&load, move |target, connection, number| {
        let _ = write!(
            target,
            "{path}/{}",
            name(number * CONNECTIONS as u64 + connection as u64)
        );
    })
    .await?;
    let mut names = BTreeSet::new();
    let mut connection = store.connect().await?;
    list(store.signer(), &mut connection, &root, |page| {
        for line in page
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            names.insert(entry_name(line)?);
        }
        Ok(())
    })
    .await?;
    let expected: BTreeSet<String> = (0..ENTRIES).map(name).collect();
    ensure!(
        names == expected,
        "a listing shows {} of {ENTRIES} entries",
        names.len()
    );
    Ok(())
}

pub(crate) async fn run(store: &Store) -> Result<Vec<Sample>> {
    let root = store.path("stor/list");
    let mut connection = store.connect().await?;
    list(store.signer(), &mut connection, &root, |_| Ok(())).await?;
    let busy_before = own_thread_time()?;
    let started = Instant::now();
    for _ in 0..LISTINGS {
        let entries = list(store.signer(), &mut connection, &root, |_| Ok(())).await?;
        ensure!(entries == ENTRIES, "a listing has {entries} entries");
    }
    let took = started.elapsed().as_secs_f64();
    let busy = own_thread_time()?.saturating_sub(busy_before).as_secs_f64();
    let rate = (LISTINGS as u64 * ENTRIES) as f64 / took;
    Ok(vec![
        Sample::new(
            "list 100,000 entries, complete",
            "entries/s",
            Floor::AtLeast(200_000.0),
            rate,
        ),
        Sample::new(
            "one complete listing",
            "ms",
            Floor::Nothing,
            1000.0 * took / LISTINGS as f64,
        ),
        Sample::new(
            "load generator, of one core",
            "%",
            Floor::Nothing,
            100.0 * busy / took,
        ),
    ])
}

/// Lists a directory to its end and returns the number of entries. `page` sees each answer.
pub(crate) async fn list(
    signer: &Signer,
    connection: &mut Connection,
    directory: &str,
    mut page: impl FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let mut entries = 0;
    let mut target = format!("{directory}?limit={PAGE}");
    loop {
        let answer = connection
            .call(signer, &Request::new("GET", &target))
            .await?
            .expect(200)?;
        page(answer.body)?;
        // Counting ends of lines is all that is done with an entry, for the sake of the measurement.
        let lines = answer.body.iter().filter(|byte| **byte == b'\n').count();
        let is_first = entries == 0;
        entries += (lines - usize::from(!is_first && lines > 0)) as u64;
        if lines < PAGE {
            return Ok(entries);
        }
        let last = answer
            .body
            .trim_ascii_end()
            .rsplit(|byte| *byte == b'\n')
            .next();
        let marker = entry_name(last.context("a page has a last line")?)?;
        target = format!("{directory}?limit={PAGE}&marker={}", escape(&marker));
    }
}

fn name(number: u64) -> String {
    format!("entry-{number:06}")
}

fn entry_name(line: &[u8]) -> Result<String> {
    let entry: Value = serde_json::from_slice(line).context("understand an entry")?;
    Ok(entry["name"]
        .as_str()
        .context("an entry has a name")?
        .to_owned())
}

/// Percent-encodes what has a meaning in a query.
fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_survive_a_query() {
        assert_eq!(escape("entry-000001"), "entry-000001");
        assert_eq!(escape("a b&c=ä/%"), "a%20b%26c%3D%C3%A4%2F%25");
    }

    #[test]
    fn the_name_of_an_entry_is_found() {
        assert_eq!(
            entry_name(br#"{"type":"object","name":"x\"y"}"#).unwrap(),
            "x\"y"
        );
        assert!(entry_name(b"{}").is_err());
    }
}
