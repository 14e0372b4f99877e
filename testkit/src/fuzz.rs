//! Hostile input by the million: a corpus that is kept, and mutations of it.
//!
//! A target says in a word what became of its input (which error, say). An input with an outcome that was
//! not seen before is mutated further, which is a poor man's coverage: it needs no instrumented compiler,
//! so it runs wherever tests run.

use std::collections::HashSet;
use std::fmt::Debug;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How long, in seconds, unless `MANTA_FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 20;
/// Longer inputs than a request line can have find nothing that shorter ones do not.
const INPUT_BYTES_MAX: usize = 8 << 10;
/// Inputs kept for mutation.
const POOL_MAX: usize = 4096;
/// Far above what any of these takes, also on a busy machine: an input that takes longer is an attack.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that mean something to somebody.
const WORDS: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"%",
    b"%00",
    b"%2F",
    b"%ff",
    b"/",
    b"//",
    b"..",
    b",",
    b"=",
    b"&",
    b"(",
    b")",
    b"*",
    b"\0",
    b"\r\n",
    b"-1",
    b"0",
    b"18446744073709551616",
    b"\xff\xfe",
    "\u{202e}".as_bytes(),
    b"[",
    b"{",
];

/// Replays `corpus`, a directory of inputs, then mutates them until the time is over.
///
/// # Panics
/// When `target` does, or takes too long: the input is kept beside the temporary files, and the seed printed.
pub fn run(corpus: &Path, target: fn(&[u8]) -> String) {
    let seed = variable("MANTA_TEST_SEED").unwrap_or_else(rand::random);
    let seconds = variable("MANTA_FUZZ_SECONDS").unwrap_or(SECONDS);
    println!("MANTA_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pool = read(corpus);
    assert!(!pool.is_empty(), "no corpus in {}", corpus.display());
    let mut outcomes = HashSet::new();
    for input in &pool {
        outcomes.insert(try_one(target, input));
    }
    let (begun, mut count) = (Instant::now(), 0_u64);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let input = mutate(&mut rng, &pool);
        if outcomes.insert(try_one(target, &input)) && pool.len() < POOL_MAX {
            pool.push(input);
        }
        count += 1;
    }
    println!("{count} inputs, {} outcomes", outcomes.len());
}

/// What a result is called by: its variant, without what it holds.
pub fn outcome(result: &impl Debug) -> String {
    let text = format!("{result:?}");
    let words = text.split(|c: char| !c.is_ascii_alphabetic());
    words.filter(|word| !word.is_empty()).take(2).collect()
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number")),
    )
}

fn read(corpus: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(corpus).unwrap_or_else(|e| panic!("{}: {e}", corpus.display()));
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    // The same order everywhere, so that a seed repeats a run.
    paths.sort();
    let inputs = paths.iter().map(fs::read);
    inputs
        .collect::<Result<_, _>>()
        .expect("the corpus is readable")
}

fn try_one(target: fn(&[u8]) -> String, input: &[u8]) -> String {
    let begun = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    let took = begun.elapsed();
    match outcome {
        Ok(outcome) if took < PATIENCE => outcome,
        result => {
            let kept = std::env::temp_dir().join(format!("manta-fuzz-{}", std::process::id()));
            let kept = match fs::write(&kept, input) {
                Ok(()) => kept.display().to_string(),
                Err(error) => format!("nowhere: {error}"),
            };
            let what = if result.is_err() {
                "a panic"
            } else {
                "too slow"
            };
            panic!(
                "{what} after {took:?}; the input ({} bytes) is in {kept}",
                input.len()
            );
        }
    }
}

fn mutate(rng: &mut StdRng, pool: &[Vec<u8>]) -> Vec<u8> {
    let mut input = pool[rng.random_range(0..pool.len())].clone();
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=input.len());
        let end = rng.random_range(at..=input.len().min(at + 64));
        match rng.random_range(0..8) {
            0 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
            1 if at < input.len() => input[at] = rng.random(),
            2 => drop(input.drain(at..end)),
            3 => {
                let again = input[at..end].repeat(rng.random_range(1..20));
                input.splice(at..at, again);
            }
            4 => {
                let other = &pool[rng.random_range(0..pool.len())];
                let from = rng.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            5 => {
                let byte: u8 = rng.random();
                input.insert(at, byte);
            }
            _ => {
                let word = WORDS[rng.random_range(0..WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}
