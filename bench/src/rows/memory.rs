//! Resident memory of the store's own processes: at rest, and while large objects stream through it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::connection::{Framing, Head, Request};
use crate::processes::{outside_zones, resident};
use crate::report::{Floor, Sample};
use crate::store::{Origin, Store};

pub(crate) const METHOD: &str = "A store of its own for each run. Counted are all of its processes but those \
    in zones (other process namespaces). A peak is the larger of two values: the sum over processes of the \
    highest resident size the kernel remembers (VmHWM, so the start is included), and the largest sum of \
    current sizes seen every 20 ms. Idle is read when no size has grown for a second; then 8 objects of 1 GiB \
    are put at once, then got at once, every byte compared. MB are 1,000,000 bytes.";

const STREAMS: usize = 8;
const OBJECT_BYTES: u64 = 1 << 30;
const BLOCK_BYTES: usize = 1 << 20;
/// Two copies and something to spare.
const DISK_BYTES: u64 = 2 * STREAMS as u64 * OBJECT_BYTES + (4 << 30);
const LOOK: Duration = Duration::from_millis(20);
const QUIET: Duration = Duration::from_secs(1);
const QUIET_PATIENCE: Duration = Duration::from_secs(30);

/// Why this row cannot run below this directory, if so.
pub(crate) fn obstacle(origin: &Origin) -> Result<Option<String>> {
    let disk = rustix::fs::statvfs(&origin.below).context("ask for free space")?;
    let free = disk.f_bavail * disk.f_frsize;
    Ok((free < DISK_BYTES).then(|| {
        format!(
            "needs {} GiB below {}, and {} are free",
            DISK_BYTES >> 30,
            origin.below.display(),
            free >> 30
        )
    }))
}

pub(crate) async fn run(origin: &Origin) -> Result<Vec<Sample>> {
    let store = Store::start(origin, "memory").await?;
    let mut peak = Peak::from_start(&store);
    peak.settle().await?;
    let idle = peak.highest;
    let started = Instant::now();
    watched(&mut peak, LOOK, all_streams(&store, Direction::In)).await?;
    let inwards = started.elapsed();
    watched(&mut peak, LOOK, all_streams(&store, Direction::Out)).await?;
    let outwards = started.elapsed() - inwards;
    store.stop().await?;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let rate = |took: Duration| mb(STREAMS as u64 * OBJECT_BYTES) / took.as_secs_f64();
    Ok(vec![
        Sample::new(
            "peak resident memory, idle",
            "MB",
            Floor::Below(100.0),
            mb(idle),
        ),
        Sample::new(
            "peak resident memory, 8 × 1 GiB in and out",
            "MB",
            Floor::Below(250.0),
            mb(peak.highest),
        ),
        Sample::new("8 × 1 GiB in", "MB/s", Floor::Nothing, rate(inwards)),
        Sample::new("8 × 1 GiB out", "MB/s", Floor::Nothing, rate(outwards)),
    ])
}

/// The largest sum of resident sizes of a store's own processes.
pub(super) struct Peak {
    pid: u32,
    pub(super) highest: u64,
    /// The largest sizes that the kernel remembers count too.
    from_start: bool,
}

impl Peak {
    /// Of a store from its start.
    fn from_start(store: &Store) -> Self {
        Self {
            pid: store.pid(),
            highest: 0,
            from_start: true,
        }
    }

    /// Of a store from now on.
    pub(super) fn now(store: &Store) -> Self {
        let mut peak = Self {
            from_start: false,
            ..Self::from_start(store)
        };
        peak.look();
        peak
    }

    /// What a store has when it has not grown for a while.
    pub(super) async fn quiet(store: &Store) -> Result<u64> {
        let mut peak = Self::now(store);
        peak.settle().await?;
        Ok(peak.highest)
    }

    async fn settle(&mut self) -> Result<()> {
        let started = Instant::now();
        let mut grown = started;
        while grown.elapsed() < QUIET {
            if self.look() {
                grown = Instant::now();
            }
            ensure!(
                started.elapsed() < QUIET_PATIENCE,
                "an idle store goes on growing"
            );
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Whether there is more than ever before.
    fn look(&mut self) -> bool {
        let all = outside_zones(self.pid).into_iter().map(resident);
        let (now, highest) = all.fold((0, 0), |(now, peak), each| {
            (now + each.now, peak + each.peak)
        });
        let most = if self.from_start {
            now.max(highest)
        } else {
            now
        };
        let grew = most > self.highest;
        self.highest = self.highest.max(most);
        grew
    }
}

/// Looks at memory every so often until `work` is done, and once more.
pub(super) async fn watched<T>(
    peak: &mut Peak,
    every: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut looks = interval(every);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => {
                peak.look();
                return result;
            }
            _ = looks.tick() => {
                peak.look();
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    In,
    Out,
}

async fn all_streams(store: &Store, direction: Direction) -> Result<()> {
    let mut streams = JoinSet::new();
    for number in 0..STREAMS {
        let path = store.path(&format!("stor/large-{number}"));
        let request = match direction {
            Direction::In => Request::new("PUT", &path),
            Direction::Out => Request::new("GET", &path),
        };
        let mut head = Vec::new();
        request.write_head(store.signer(), OBJECT_BYTES, &mut head)?;
        let stream = TcpStream::connect(store.address())
            .await
            .context("connect")?;
        // The streams differ, and so do neighbouring blocks, whose length is not that of the pattern.
        let pattern = Pattern::new(number as u64);
        match direction {
            Direction::In => streams.spawn(upload(stream, head, pattern)),
            Direction::Out => streams.spawn(download(stream, head, pattern)),
        };
    }
    while let Some(stream) = streams.join_next().await {
        stream.context("a stream panicked")??;
    }
    Ok(())
}

async fn upload(mut stream: TcpStream, head: Vec<u8>, pattern: Pattern) -> Result<()> {
    stream.write_all(&head).await.context("send a head")?;
    let mut sent = 0;
    while sent < OBJECT_BYTES {
        let block = pattern.at(sent);
        let length = block.len().min((OBJECT_BYTES - sent) as usize);
        stream
            .write_all(&block[..length])
            .await
            .context("send a block")?;
        sent += length as u64;
    }
    let mut answer = Vec::new();
    let head = read_head(&mut stream, &mut answer).await?;
    ensure!(
        head.status == 204,
        "an upload was answered {}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

async fn download(mut stream: TcpStream, head: Vec<u8>, pattern: Pattern) -> Result<()> {
    stream.write_all(&head).await.context("send a head")?;
    let mut answer = Vec::new();
    let head = read_head(&mut stream, &mut answer).await?;
    ensure!(
        head.status == 200 && head.framing == Framing::Length(OBJECT_BYTES as usize),
        "a download was answered {}",
        String::from_utf8_lossy(&answer)
    );
    let mut block = vec![0; 256 << 10];
    let mut received = 0;
    while received < OBJECT_BYTES {
        let wanted = block.len().min((OBJECT_BYTES - received) as usize);
        let read = stream
            .read(&mut block[..wanted])
            .await
            .context("receive a block")?;
        ensure!(read > 0, "a download ended after {received} bytes");
        ensure!(
            pattern.matches(received, &block[..read]),
            "a download is damaged near {received}"
        );
        received += read as u64;
    }
    Ok(())
}

/// Byte by byte, which is slow, so that nothing of the body is taken.
async fn read_head(stream: &mut TcpStream, head: &mut Vec<u8>) -> Result<Head> {
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) => bail!("receive an answer: {error}"),
        }
    }
    Head::parse(head)
}

/// Endless noise with a period that is no multiple of any block, so that bytes in a wrong place show.
struct Pattern(Vec<u8>);

impl Pattern {
    fn new(seed: u64) -> Self {
        Self(crate::content::noise(seed, BLOCK_BYTES - 13))
    }

    /// What lies at `offset`, up to the end of the period.
    fn at(&self, offset: u64) -> &[u8] {
        &self.0[(offset % self.0.len() as u64) as usize..]
    }

    fn matches(&self, mut offset: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let expected = self.at(offset);
            let length = expected.len().min(bytes.len());
            if expected[..length] != bytes[..length] {
                return false;
            }
            bytes = &bytes[length..];
            offset += length as u64;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_in_the_wrong_place_shows() {
        let pattern = Pattern::new(3);
        let offset = BLOCK_BYTES as u64 - 20;
        let mut bytes = pattern.at(offset).to_vec();
        bytes.extend_from_slice(&pattern.at(0)[..100]);
        assert!(pattern.matches(offset, &bytes));
        assert!(!pattern.matches(offset + 1, &bytes));
        bytes[50] ^= 1;
        assert!(!pattern.matches(offset, &bytes));
    }
}
