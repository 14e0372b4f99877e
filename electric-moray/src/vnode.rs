//! From a key to its vnode on the ring.

/// A SHA-256 as an unsigned number: eight 32-bit limbs, most significant first.
type Limbs = [u32; 8];

/// Cuts the space of SHA-256 into equal vnodes. Source: metadata-auth-naming.md section 2.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vnodes {
    count: u32,
    /// `floor((2^256 - 1) / count)`.
    interval: Limbs,
}

impl Vnodes {
    /// `None` when `count` is zero.
    pub(crate) fn new(count: u32) -> Option<Self> {
        if count == 0 {
            return None;
        }
        let mut interval = [0; 8];
        let mut rest = 0_u64;
        for limb in &mut interval {
            let dividend = (rest << 32) | u64::from(u32::MAX);
            *limb = low(dividend / u64::from(count));
            rest = dividend % u64::from(count);
        }
        Some(Self { count, interval })
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Hexadecimal, without leading zeros.
    pub(crate) fn interval_hex(&self) -> String {
        let digits: String = self.interval.iter().map(|l| format!("{l:08x}")).collect();
        digits.trim_start_matches('0').to_owned()
    }

    /// The vnode of a key: `floor(SHA-256(key) / interval)`, at most `count - 1`.
    pub(crate) fn of(&self, key: &str) -> u32 {
        let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        let mut hash = [0; 8];
        for (limb, bytes) in hash.iter_mut().zip(digest.as_ref().as_chunks::<4>().0) {
            *limb = u32::from_be_bytes(*bytes);
        }
        self.of_hash(&hash)
    }

    fn of_hash(&self, hash: &Limbs) -> u32 {
        // The interval is just below 2^256 / count, so this guess is the quotient or one less; a top sliver
        // of the space belongs to no vnode and goes to the last one.
        let guess = low((u64::from(hash[0]) * u64::from(self.count)) >> 32);
        let mut vnode = guess;
        while vnode + 1 < self.count && self.start_of(vnode + 1) <= widen(hash) {
            vnode += 1;
        }
        vnode
    }

    /// `vnode * interval`: nine limbs, because it may exceed 256 bits for a vnode past the end.
    fn start_of(&self, vnode: u32) -> [u32; 9] {
        let mut product = [0; 9];
        let mut carry = 0_u64;
        for (out, limb) in product[1..].iter_mut().zip(&self.interval).rev() {
            let sum = u64::from(*limb) * u64::from(vnode) + carry;
            *out = low(sum);
            carry = sum >> 32;
        }
        product[0] = low(carry);
        product
    }
}

fn widen(hash: &Limbs) -> [u32; 9] {
    let mut wide = [0; 9];
    wide[1..].copy_from_slice(hash);
    wide
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half of a product is what is wanted"
)]
const fn low(n: u64) -> u32 {
    n as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vnode(key: &str, count: u32) -> u32 {
        Vnodes::new(count).unwrap().of(key)
    }

    #[test]
    fn the_published_vectors_hold() {
        assert_eq!(vnode("/yunong/yunong.txt", 6), 4);
        assert_eq!(vnode("yunong", 1_000_000), 83_565);
        let owner = "/a3829ca2-0966-60ce-9dc3-e4e9060f0950";
        assert_eq!(vnode(&format!("{owner}/stor/mydir"), 1_000_000), 328_878);
        assert_eq!(vnode(&format!("{owner}/stor"), 100_000), 76_570);
        assert_eq!(
            Vnodes::new(1_000_000).unwrap().interval_hex(),
            "10c6f7a0b5ed8d36b4c7f34938583621fafc8b0079a2834d26fa3fcc9ea9"
        );
    }

    #[test]
    fn the_ends_of_the_space_are_in_the_first_and_last_vnode() {
        for count in [1, 2, 3, 6, 1_000, 1_000_000, u32::MAX] {
            let vnodes = Vnodes::new(count).unwrap();
            assert_eq!(vnodes.of_hash(&[0; 8]), 0);
            assert_eq!(vnodes.of_hash(&[u32::MAX; 8]), count - 1, "{count}");
        }
    }

    #[test]
    fn a_vnode_begins_exactly_at_its_interval() {
        for count in [3, 6, 1_000, 1_000_000] {
            let vnodes = Vnodes::new(count).unwrap();
            for vnode in [1, 2, count / 2, count - 1] {
                let mut start = [0; 8];
                start.copy_from_slice(&vnodes.start_of(vnode)[1..]);
                assert_eq!(vnodes.of_hash(&start), vnode);
                // One less is the vnode before.
                for limb in start.iter_mut().rev() {
                    let (less, borrows) = limb.overflowing_sub(1);
                    *limb = less;
                    if !borrows {
                        break;
                    }
                }
                assert_eq!(vnodes.of_hash(&start), vnode - 1);
            }
        }
    }

    #[test]
    fn no_vnodes_are_no_ring() {
        assert_eq!(Vnodes::new(0), None);
    }
}
