//! What is typed for us and not for the session: an escape character right after a newline, and one more.

/// What the user wants of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    End,
    Information,
    Help,
}

/// Finds escapes in what is typed, however it is cut into pieces.
#[derive(Debug)]
pub(super) struct Escapes {
    /// `None`: there are none.
    character: Option<u8>,
    after_newline: bool,
    escaped: bool,
}

impl Escapes {
    pub(super) fn new(character: Option<u8>) -> Self {
        Self {
            character,
            after_newline: false,
            escaped: false,
        }
    }

    /// What goes to the session, and what the user wants of us. An escape that is none is dropped.
    pub(super) fn sort(&mut self, typed: &[u8]) -> (Vec<u8>, Vec<Escape>) {
        let Some(character) = self.character else {
            return (typed.to_vec(), Vec::new());
        };
        let mut passed = Vec::with_capacity(typed.len());
        let mut wanted = Vec::new();
        for &byte in typed {
            if std::mem::take(&mut self.escaped) {
                match byte {
                    b'.' => wanted.push(Escape::End),
                    b'i' => wanted.push(Escape::Information),
                    b'?' => wanted.push(Escape::Help),
                    _ if byte == character => {
                        passed.push(byte);
                        self.after_newline = false;
                    }
                    _ => {}
                }
            } else if self.after_newline && byte == character {
                self.escaped = true;
            } else {
                self.after_newline = matches!(byte, b'\r' | b'\n');
                passed.push(byte);
            }
        }
        (passed, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(character: Option<u8>, pieces: &[&str]) -> (String, Vec<Escape>) {
        let mut escapes = Escapes::new(character);
        let (mut all, mut wanted) = (Vec::new(), Vec::new());
        for piece in pieces {
            let (passed, more) = escapes.sort(piece.as_bytes());
            all.extend(passed);
            wanted.extend(more);
        }
        (String::from_utf8(all).unwrap(), wanted)
    }

    #[test]
    fn escapes_count_only_after_a_newline() {
        for (pieces, passed, wanted) in [
            (&["~.ls ~.\r"][..], "~.ls ~.\r", &[][..]),
            (&["\r~."], "\r", &[Escape::End]),
            (&["a\n~?b"], "a\nb", &[Escape::Help]),
            (&["\r", "~", "i"], "\r", &[Escape::Information]),
            (&["\r~~.x"], "\r~.x", &[]),
            (&["\r~i~?"], "\r", &[Escape::Information, Escape::Help]),
            (&["\r~q~."], "\r", &[Escape::End]),
        ] {
            let expected = (passed.to_owned(), wanted.to_vec());
            assert_eq!(sorted(Some(b'~'), pieces), expected, "{pieces:?}");
        }
        let other = sorted(Some(b'%'), &["\r~.\r%."]);
        assert_eq!(other, ("\r~.\r".to_owned(), vec![Escape::End]));
        assert_eq!(sorted(None, &["\r~."]).0, "\r~.");
    }
}
