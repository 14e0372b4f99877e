//! Content of objects: the same in every run, and nothing that could be compressed or shared away.

use std::sync::LazyLock;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

/// Random bytes.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Text of exactly `length` bytes: words of 1 to 12 letters, some of them not ASCII, in lines of about 70
/// characters.
pub(crate) fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut random = SmallRng::seed_from_u64(seed);
    let letters: Vec<char> = "eeeetttaaaooinnshrdlucmfwypvbgkqjxzäöé".chars().collect();
    let mut text = String::with_capacity(length + 64);
    let mut column = 0;
    while text.len() < length {
        let word = random.random_range(1..=12);
        for _ in 0..word {
            text.push(*letters.choose(&mut random).unwrap_or(&'e'));
        }
        column += word + 1;
        text.push(if column > 70 { '\n' } else { ' ' });
        if column > 70 {
            column = 0;
        }
    }
    // Cut at a character, filled up with what counts as nothing but a blank.
    let mut end = length.saturating_sub(1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut bytes = text.into_bytes();
    bytes.truncate(end);
    while bytes.len() + 1 < length {
        bytes.push(b' ');
    }
    bytes.push(b'\n');
    bytes
}

/// Words that there are in [`prose`].
const VOCABULARY: usize = 20_000;

/// About `length` bytes of text as people write it: few words make up most of it, and many come now and then.
/// Lower-case ASCII letters, lines of about 70 characters, the last one complete.
pub(crate) fn prose(seed: u64, length: usize) -> Vec<u8> {
    static WORDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(vocabulary);
    let mut random = SmallRng::seed_from_u64(seed);
    let mut text = Vec::with_capacity(length + 32);
    let mut column = 0;
    while text.len() < length {
        // Ranks spread evenly over a logarithmic scale follow Zipf's law.
        let rank = (VOCABULARY as f64).powf(random.random::<f64>());
        let word = &WORDS[(rank as usize).min(VOCABULARY) - 1];
        text.extend_from_slice(word);
        column += word.len() + 1;
        text.push(if column > 70 { b'\n' } else { b' ' });
        if column > 70 {
            column = 0;
        }
    }
    if let Some(last) = text.last_mut() {
        *last = b'\n';
    }
    text
}

/// All different, the frequent ones short.
fn vocabulary() -> Vec<Vec<u8>> {
    let digits = b"etaoinshrdlucmfwypvbgkqjxz";
    let word = |mut rank: usize| {
        let mut word = Vec::new();
        loop {
            word.push(digits[rank % digits.len()]);
            rank /= digits.len();
            if rank == 0 {
                return word;
            }
            rank -= 1;
        }
    };
    (0..VOCABULARY).map(word).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn text_is_text_of_the_length_asked_for() {
        for (seed, length) in [(1, 1 << 20), (2, 1000), (3, 7)] {
            let bytes = text(seed, length);
            assert_eq!(bytes.len(), length);
            assert!(String::from_utf8(bytes).unwrap().ends_with('\n'));
        }
    }

    #[test]
    fn content_repeats_with_its_seed_only() {
        assert_eq!(text(1, 4096), text(1, 4096));
        assert_ne!(text(1, 4096), text(2, 4096));
        assert_eq!(noise(1, 64), noise(1, 64));
        assert_ne!(noise(1, 64), noise(2, 64));
    }

    #[test]
    fn prose_repeats_its_words() {
        assert_eq!(
            vocabulary().iter().collect::<HashSet<_>>().len(),
            VOCABULARY
        );
        let text = String::from_utf8(prose(1, 1 << 20)).unwrap();
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let different: HashSet<&str> = words.iter().copied().collect();
        assert!(text.len() - (1 << 20) < 32 && text.ends_with('\n'));
        assert!((10_000..=VOCABULARY).contains(&different.len()));
        assert!(words.len() > 10 * different.len());
    }
}
