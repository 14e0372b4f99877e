//! The SSH wire encoding (RFC 4251): lengths of four bytes, strings, and big numbers.
//!
//! Written here because the format is small and the `ssh-key` crate (0.6) refuses a private scalar that is
//! shorter than its curve, which is every second P-521 key that `ssh-keygen` makes.

/// Reads fields from the front of a slice. Every method is `None` when the bytes run out.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { rest: bytes }
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn number(&mut self) -> Option<u32> {
        let (bytes, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.bytes(length)
    }

    /// A positive number without leading zeros; `None` also for a negative one and for zero.
    pub(crate) fn positive(&mut self) -> Option<&'a [u8]> {
        let bytes = self.string()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let digits = &bytes[zeros..];
        let first = *digits.first()?;
        // A set top bit without a zero in front is the sign.
        (zeros > 0 || first < 0x80).then_some(digits)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// `Some` when nothing is left.
    pub(crate) fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("keys are short: sizes are bounded when read");
    out.extend(length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Writes a positive number given without leading zeros.
pub(crate) fn put_positive(out: &mut Vec<u8>, digits: &[u8]) {
    if digits.first().is_some_and(|first| *first >= 0x80) {
        let mut padded = vec![0];
        padded.extend_from_slice(digits);
        put_string(out, &padded);
    } else {
        put_string(out, digits);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signs_and_zeros_are_understood() {
        let read = |bytes: &[u8]| {
            let mut out = Vec::new();
            put_string(&mut out, bytes);
            Fields::new(&out).positive().map(<[u8]>::to_vec)
        };
        assert_eq!(read(&[0x80]), None);
        assert_eq!(read(&[0, 0x80]), Some(vec![0x80]));
        assert_eq!(read(&[0, 0, 7]), Some(vec![7]));
        assert_eq!(read(&[0]), None);
        assert_eq!(read(&[]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(text: Vec<u8>, tail in 1u8.., digits: Vec<u8>) {
            let digits = [vec![tail], digits].concat();
            let mut out = Vec::new();
            put_string(&mut out, &text);
            put_positive(&mut out, &digits);
            let mut fields = Fields::new(&out);
            prop_assert_eq!(fields.string(), Some(text.as_slice()));
            prop_assert_eq!(fields.positive(), Some(digits.as_slice()));
            prop_assert_eq!(fields.end(), Some(()));
        }
    }
}
