//! Which way of publishing a small durable file is fastest on this file system?
//!
//! `cargo run --profile fast -p mako --example publish_ways -- DIR [SECONDS] [THREADS] [WAY]` writes 4 KiB
//! copies with a checksum attribute in every way we considered, one after the other, five rounds, and
//! prints the median of each. With `CHURN=1` in the environment each round first writes and deletes as
//! much again, which is the ordinary state of a store. Whoever wants to change the write path of mako runs
//! this first, in both forms, and on a file system with a journal as well as on one without.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, XattrFlags};

const COPY_BYTES: usize = 4096;
const FAN_OUT: usize = 256;
const ROUNDS: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Temporary in one directory, fsync, rename, fsync of the target directory.
    Rename,
    /// The same with fdatasync; the attribute may then be lost in a crash on some file systems.
    RenameDatasync,
    /// The same, with the temporary in the target directory.
    RenameInPlace,
    /// The same as `Rename` with one of 256 directories for temporaries, 64 in a row in each, and those
    /// directories spread over the disk.
    RenameSpread,
    /// A file without a name, made in the target directory, then linked.
    LinkTmpfile,
    /// A file without a name, made in one directory, linked into the target.
    LinkTmpfileElsewhere,
    /// `Rename`, with concurrent fsyncs of one directory shared.
    RenameSharedSync,
    /// A leader takes all that wait: writes all, fsyncs all, renames all, fsyncs each directory.
    Leader,
    /// A leader as above that calls syncfs twice instead.
    LeaderSyncfs,
}

const WAYS: [Way; 9] = [
    Way::Rename,
    Way::RenameDatasync,
    Way::RenameInPlace,
    Way::RenameSpread,
    Way::LinkTmpfile,
    Way::LinkTmpfileElsewhere,
    Way::RenameSharedSync,
    Way::Leader,
    Way::LeaderSyncfs,
];

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(
        args.next()
            .expect("usage: publish_ways DIR [SECONDS] [THREADS]"),
    );
    let seconds: f64 = args.next().map_or(2.0, |s| s.parse().expect("seconds"));
    let threads: usize = args.next().map_or(128, |s| s.parse().expect("threads"));
    let only = args.next();
    let wanted = |way: &Way| only.as_ref().is_none_or(|only| format!("{way:?}") == *only);
    let ways: Vec<Way> = WAYS.into_iter().filter(wanted).collect();
    let mut rates = vec![Vec::new(); ways.len()];
    let root = dir.join("publish-ways");
    for round in 0..ROUNDS {
        for (way, rates) in ways.iter().copied().zip(&mut rates) {
            // Nothing is deleted before the end: ext4 looks at every recently freed inode before it takes
            // a new one, so that one way would pay for the clean-up of the way before it.
            let root = root.join(format!("{round}-{way:?}"));
            rates.push(measure(
                &root,
                way,
                Duration::from_secs_f64(seconds),
                threads,
            )?);
        }
    }
    fs::remove_dir_all(&root)?;
    println!(
        "{COPY_BYTES} bytes a copy, {threads} threads, median of {ROUNDS} rounds of {seconds} s"
    );
    for (way, mut rates) in ways.into_iter().zip(rates) {
        rates.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (rate, cpu_us, p99) = rates[ROUNDS / 2];
        println!(
            "{:<24} {rate:>8.0} copies/s {cpu_us:>8.0} us of cpu a copy   p99 {p99:>6.1} ms",
            format!("{way:?}")
        );
    }
    Ok(())
}

/// Copies a second, microseconds of CPU for each, and the 99th percentile of their latency in ms.
fn measure(root: &Path, way: Way, time: Duration, threads: usize) -> io::Result<(f64, f64, f64)> {
    let bench = Arc::new(Bench::new(root, way)?);
    if std::env::var_os("CHURN").is_some() {
        // What was deleted a moment ago is the ordinary state of a store, and some file systems mind.
        run(&bench, time, threads)?;
        for dir in &bench.dirs {
            for entry in fs::read_dir(&dir.path)? {
                fs::remove_file(entry?.path())?;
            }
        }
    }
    run(&bench, time, threads)
}

fn run(bench: &Arc<Bench>, time: Duration, threads: usize) -> io::Result<(f64, f64, f64)> {
    let stop = Arc::new(AtomicBool::new(false));
    let cpu_before = cpu_seconds();
    let start = Instant::now();
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let (bench, stop) = (Arc::clone(bench), Arc::clone(&stop));
            std::thread::spawn(move || -> io::Result<Vec<Duration>> {
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    bench.put()?;
                    latencies.push(begun.elapsed());
                }
                Ok(latencies)
            })
        })
        .collect();
    std::thread::sleep(time);
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.join().expect("worker panicked")?);
    }
    let elapsed = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - cpu_before;
    latencies.sort();
    let done = latencies.len() as f64;
    let p99 = latencies[latencies.len() * 99 / 100].as_secs_f64() * 1e3;
    Ok((done / elapsed, cpu / done * 1e6, p99))
}

struct Bench {
    way: Way,
    root: PathBuf,
    next: AtomicU64,
    dirs: Vec<SharedDir>,
    queue: Mutex<Vec<Arc<Waiting>>>,
    leading: Mutex<()>,
}

struct SharedDir {
    path: PathBuf,
    file: File,
    /// Generation that runs, generation that is done.
    state: Mutex<(u64, u64)>,
    done: Condvar,
}

#[derive(Default)]
struct Waiting {
    number: u64,
    done: AtomicBool,
}

impl Bench {
    fn new(root: &Path, way: Way) -> io::Result<Self> {
        fs::create_dir_all(root.join("tmp0"))?;
        fs::create_dir(root.join("tmp"))?;
        spread_children(&root.join("tmp"))?;
        for number in 0..256 {
            fs::create_dir(root.join(format!("tmp/{number:02x}")))?;
        }
        let mut dirs = Vec::new();
        for number in 0..FAN_OUT {
            let path = root.join(format!("{number:02x}"));
            fs::create_dir(&path)?;
            let file = File::open(&path)?;
            file.sync_all()?;
            dirs.push(SharedDir {
                path,
                file,
                state: Mutex::default(),
                done: Condvar::new(),
            });
        }
        Ok(Self {
            way,
            root: root.to_owned(),
            next: AtomicU64::new(0),
            dirs,
            queue: Mutex::default(),
            leading: Mutex::default(),
        })
    }

    fn put(&self) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Multiplicative hashing spreads consecutive numbers over the directories as object ids would.
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        let dir = &self.dirs[spread as usize];
        let name = format!("{number:032x}");
        let target = dir.path.join(&name);
        match self.way {
            Way::Rename | Way::RenameDatasync | Way::RenameSharedSync => {
                let temporary = self.root.join("tmp0").join(&name);
                let file = write_named(&temporary)?;
                if self.way == Way::RenameDatasync {
                    file.sync_data()?;
                } else {
                    file.sync_all()?;
                }
                fs::rename(&temporary, &target)?;
                if self.way == Way::RenameSharedSync {
                    dir.sync_shared()
                } else {
                    File::open(&dir.path)?.sync_all()
                }
            }
            Way::RenameInPlace => {
                let temporary = dir.path.join(format!("{name}.tmp"));
                write_named(&temporary)?.sync_all()?;
                fs::rename(&temporary, &target)?;
                File::open(&dir.path)?.sync_all()
            }
            Way::RenameSpread => {
                let home = format!("tmp/{:02x}", number / 64 % 256);
                let temporary = self.root.join(home).join(&name);
                write_named(&temporary)?.sync_all()?;
                fs::rename(&temporary, &target)?;
                File::open(&dir.path)?.sync_all()
            }
            Way::LinkTmpfile | Way::LinkTmpfileElsewhere => {
                let home = if self.way == Way::LinkTmpfile {
                    dir.path.clone()
                } else {
                    self.root.join("tmp0")
                };
                let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
                let file = File::from(rustix::fs::open(&home, flags, Mode::from(0o444))?);
                fill(&file)?;
                file.sync_all()?;
                let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
                rustix::fs::linkat(CWD, &opened, CWD, &target, AtFlags::SYMLINK_FOLLOW)?;
                File::open(&dir.path)?.sync_all()
            }
            Way::Leader | Way::LeaderSyncfs => self.put_by_leader(number),
        }
    }

    fn put_by_leader(&self, number: u64) -> io::Result<()> {
        let mine = Arc::new(Waiting {
            number,
            done: AtomicBool::new(false),
        });
        self.queue.lock().expect("poisoned").push(Arc::clone(&mine));
        let _leading = self.leading.lock().expect("poisoned");
        if mine.done.load(Ordering::Acquire) {
            return Ok(());
        }
        let group = std::mem::take(&mut *self.queue.lock().expect("poisoned"));
        let place = |number: u64| {
            let name = format!("{number:032x}");
            let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
            (self.root.join("tmp0").join(&name), spread as usize, name)
        };
        let mut files = Vec::new();
        for waiting in &group {
            let file = write_named(&place(waiting.number).0)?;
            if self.way == Way::Leader {
                start_writeback(&file);
            }
            files.push(file);
        }
        if self.way == Way::Leader {
            for file in &files {
                file.sync_all()?;
            }
        } else {
            rustix::fs::syncfs(&files[0])?;
        }
        let mut dirs = Vec::new();
        for waiting in &group {
            let (temporary, dir, name) = place(waiting.number);
            fs::rename(temporary, self.dirs[dir].path.join(name))?;
            dirs.push(dir);
        }
        if self.way == Way::Leader {
            dirs.sort_unstable();
            dirs.dedup();
            for dir in dirs {
                self.dirs[dir].file.sync_all()?;
            }
        } else {
            rustix::fs::syncfs(&files[0])?;
        }
        for waiting in group {
            waiting.done.store(true, Ordering::Release);
        }
        Ok(())
    }
}

impl SharedDir {
    /// One fsync serves everybody who asked before it began.
    fn sync_shared(&self) -> io::Result<()> {
        let mut state = self.state.lock().expect("poisoned");
        let wanted = state.0 + 1;
        loop {
            if state.1 >= wanted {
                return Ok(());
            }
            if state.0 == state.1 {
                state.0 += 1;
                let generation = state.0;
                drop(state);
                self.file.sync_all()?;
                state = self.state.lock().expect("poisoned");
                state.1 = generation;
                self.done.notify_all();
                continue;
            }
            state = self.done.wait(state).expect("poisoned");
        }
    }
}

/// Asks ext4 to place the directories below this one far from each other (`chattr +T`).
fn spread_children(path: &Path) -> io::Result<()> {
    let dir = File::open(path)?;
    let flags = rustix::fs::ioctl_getflags(&dir)?;
    rustix::fs::ioctl_setflags(&dir, flags | rustix::fs::IFlags::TOPDIR)?;
    Ok(())
}

fn write_named(path: &Path) -> io::Result<File> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::from(0o444))?);
    fill(&file)?;
    Ok(file)
}

fn fill(file: &File) -> io::Result<()> {
    let bytes = [7_u8; COPY_BYTES];
    rustix::io::write(file, &bytes)?;
    rustix::fs::fsetxattr(file, "user.manta.crc32c", &[0_u8; 20], XattrFlags::CREATE)?;
    Ok(())
}

#[cfg(target_os = "linux")]
fn start_writeback(file: &File) {
    // POSIX_FADV_DONTNEED starts writeback of dirty pages without waiting for it.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks = |index: usize| fields.get(index).and_then(|t| t.parse::<f64>().ok());
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}
