//! The MD5 of the whole object, computed while its parts arrive.
//!
//! MD5 goes through the bytes in order, so part *n* can be added only by whoever knows the state of the
//! computation after part *n - 1*. A part that is put after the part before it carries the state of both with
//! it, in a header of its entry that no client sees. The chain of states goes as far as every part began to
//! arrive after the one before it was complete; what lies behind is read again at the commit.
//!
//! A state is good for certain parts only. Each comes with a digest of the etags of all parts that are in it,
//! which the commit compares with the etags that it was given, so a part that was replaced invalidates the
//! states behind it and no others.

use std::ops::Deref as _;

use libmanta::{Entry, ObjectId};
use md5::digest::common::hazmat::{SerializableState as _, SerializedState};
use md5::{Digest as _, Md5};
use ring::digest;

/// Not one that a client can send: those begin with `m-` or are in a short list.
pub(crate) const HEADER: &str = "multipart-md5-chain";

/// Says which program wrote a state; another one may write states of another shape.
const VERSION: &str = "1";

/// Stands for the etags of the first parts, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Etags([u8; 32]);

impl Etags {
    pub(crate) fn none() -> Self {
        Self([0; 32])
    }

    pub(crate) fn and(self, etag: ObjectId) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.0);
        context.update(etag.as_uuid().as_bytes());
        let mut etags = [0; 32];
        etags.copy_from_slice(context.finish().as_ref());
        Self(etags)
    }
}

/// The state of the computation after some parts.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) etags: Etags,
    pub(crate) md5: Md5,
}

impl Link {
    /// Before the first part.
    pub(crate) fn start() -> Self {
        Self {
            etags: Etags::none(),
            md5: Md5::new(),
        }
    }

    /// What the entry of a part carries; `None` when it was put before the part before it, or by another
    /// version of this program.
    pub(crate) fn of(part: &Entry) -> Option<Self> {
        let (_, text) = part.headers.iter().find(|(name, _)| name == HEADER)?;
        Self::parse(text)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        if words.next()? != VERSION {
            return None;
        }
        let etags = from_hex(words.next()?)?.try_into().ok()?;
        let state = from_hex(words.next()?)?;
        let state = SerializedState::<Md5>::try_from(state.as_slice()).ok()?;
        let md5 = Md5::deserialize(&state).ok()?;
        words.next().is_none().then_some(Self {
            etags: Etags(etags),
            md5,
        })
    }

    pub(crate) fn header(&self) -> (String, String) {
        let etags = to_hex(&self.etags.0);
        let state = to_hex(self.md5.serialize().deref());
        (HEADER.to_owned(), format!("{VERSION} {etags} {state}"))
    }
}

/// How far the chain goes: the number of parts that are in the state, and the state. `parts` are etags, and
/// links where there are some.
pub(crate) fn longest<'a>(
    parts: impl Iterator<Item = (ObjectId, Option<&'a Link>)>,
) -> (usize, Md5) {
    let mut etags = Etags::none();
    let mut best = (0, Md5::new());
    for ((etag, link), number) in parts.zip(1..) {
        etags = etags.and(etag);
        if let Some(link) = link
            && link.etags == etags
        {
            best = (number, link.md5.clone());
        }
    }
    best
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect();
    let (pairs, rest) = digits.as_ref()?.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn states_come_back_as_they_were() {
        for size in [0, 1, 63, 64, 65, 1000] {
            let mut link = Link::start();
            link.md5.update(vec![7; size]);
            link.etags = link.etags.and(ObjectId::random());
            let (_, text) = link.header();
            let mut back = Link::parse(&text).unwrap();
            assert_eq!(back.etags, link.etags);
            back.md5.update(b"more");
            link.md5.update(b"more");
            assert_eq!(back.md5.finalize(), link.md5.finalize());
        }
    }

    #[test]
    fn what_is_no_state_is_none() {
        let (_, good) = Link::start().header();
        for bad in [
            String::new(),
            good.replacen('1', "2", 1),
            format!("{good}0"),
            format!("{good} 0"),
            good[..good.len() - 2].to_owned(),
            good.replacen(" 0", " x", 1),
        ] {
            assert!(Link::parse(&bad).is_none(), "{bad}");
        }
    }

    /// A part in a store: what the front door keeps of it.
    #[derive(Clone)]
    struct Part {
        etag: ObjectId,
        bytes: Vec<u8>,
        link: Option<Link>,
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Parts in any order, some of them more than once, some begun before the one before them was
        /// complete: the chain and what is read behind it give the MD5 of the whole.
        #[test]
        fn the_chain_gives_the_md5_of_the_whole(
            count in 1_usize..8,
            puts in prop::collection::vec((0_usize..8, 0_usize..200, any::<bool>()), 0..30),
        ) {
            let mut parts: Vec<Option<Part>> = vec![None; count];
            let put = |parts: &mut Vec<Option<Part>>, at: usize, size: usize, late: bool| {
                let before = match at {
                    0 => Some(Link::start()),
                    at => parts[at - 1].as_ref().and_then(|part| part.link.clone()),
                };
                let etag = ObjectId::random();
                let bytes: Vec<u8> = (0..size).map(|n| (n * 7 + at) as u8).collect();
                // Whoever is late did not find the part before when it began.
                let link = before.filter(|_| !late).map(|mut link| {
                    link.md5.update(&bytes);
                    link.etags = link.etags.and(etag);
                    // By way of the header, as in the store.
                    Link::parse(&link.header().1).unwrap()
                });
                parts[at] = Some(Part { etag, bytes, link });
            };
            for (at, size, late) in puts {
                put(&mut parts, at % count, size, late);
            }
            for at in 0..count {
                if parts[at].is_none() {
                    put(&mut parts, at, at * 3, false);
                }
            }
            let parts: Vec<Part> = parts.into_iter().flatten().collect();
            let (in_chain, mut md5) =
                longest(parts.iter().map(|part| (part.etag, part.link.as_ref())));
            for part in &parts[in_chain..] {
                md5.update(&part.bytes);
            }
            let whole: Vec<u8> = parts.iter().flat_map(|part| part.bytes.clone()).collect();
            prop_assert_eq!(md5.finalize(), Md5::digest(&whole));
        }

        /// Nothing is read again when every part came after the one before it.
        #[test]
        fn parts_in_order_are_all_in_the_chain(sizes in prop::collection::vec(0_usize..300, 1..20)) {
            let mut link = Link::start();
            let mut parts = Vec::new();
            for size in sizes {
                let etag = ObjectId::random();
                link.md5.update(vec![1; size]);
                link.etags = link.etags.and(etag);
                parts.push((etag, link.clone()));
            }
            let (in_chain, _) = longest(parts.iter().map(|(etag, link)| (*etag, Some(link))));
            prop_assert_eq!(in_chain, parts.len());
        }
    }
}
