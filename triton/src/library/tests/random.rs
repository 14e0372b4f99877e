//! Archives and layers made of what is dangerous, at random: none of them reaches anything outside. Were one to, as root, it
//! would be inside of the test's own directory, or at names where nothing is: no more than three steps up, and no
//! absolute name of the machine's.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::layouts::Layout;
use super::*;

const PARTS: &[&str] = &[
    "a",
    "b",
    "x",
    "usr",
    "bin",
    "bash",
    "dev",
    "victim",
    "file",
    "..",
    "..",
    ".",
    "",
    ".wh.a",
    ".wh.x",
    ".wh.victim",
    ".wh...",
    ".wh..wh..opq",
];
const ROUNDS: usize = 300;

fn path(random: &mut StdRng, victim: &str) -> String {
    let parts: Vec<&str> = (0..random.random_range(1..4))
        .map(|_| *PARTS.choose(random).unwrap())
        .collect();
    match random.random_range(0..8) {
        0 => format!("/nowhere/{}", parts[0].trim_matches('.')),
        1 => victim.to_owned(),
        2 => format!("{victim}/file"),
        _ => parts.join("/"),
    }
}

fn member(random: &mut StdRng, victim: &str) -> M {
    let name = path(random, victim);
    match random.random_range(0..12) {
        0..3 => M::directory(&name),
        3..6 => M::link(&name, &path(random, victim)),
        6..8 => M::hard(&name, &path(random, victim)),
        8 => M::of(*b"346".choose(random).unwrap(), &name),
        _ => M::file(&name, "theirs"),
    }
}

#[test]
fn nothing_reaches_outside_whatever_is_in_an_archive() {
    let seed = std::env::var("MANTA_TEST_SEED")
        .map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    eprintln!("MANTA_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let site = Site::new();
    let victim = site.top.path().join("victim").display().to_string();
    let mut imported = 0;
    for round in 0..ROUNDS {
        let mut some = |most: usize| -> Vec<M> {
            let count = random.random_range(1..most);
            (0..count).map(|_| member(&mut random, &victim)).collect()
        };
        let outcome = if round % 2 == 0 {
            site.import(&archive(&image(&some(6))))
        } else {
            // With a link outside to begin with, for whatever follows it.
            let first = image(&[M::link("x", &victim), M::link("a", "/nowhere")]);
            let layout = Layout::new().layer(&first).layer(&some(5)).finish();
            site.import_path(layout.directory.path())
        };
        if outcome.is_ok() {
            imported += 1;
            let modes = all_below(&site.at("")).into_iter().map(|path| {
                let metadata = path.symlink_metadata().unwrap();
                (path, metadata.mode() & 0o6000)
            });
            modes.for_each(|(path, bits)| assert_eq!(bits, 0, "{}", path.display()));
            site.library.remove(&id("one", "1.0.0")).unwrap();
        }
        site.assert_untouched(&format!("round {round}: {outcome:?}"));
    }
    // Most are refused; if all were, little would be tried.
    assert!(imported > ROUNDS / 50, "{imported}");
}
