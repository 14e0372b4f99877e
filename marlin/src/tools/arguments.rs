//! Options of a tool, read like POSIX getopt does, but for one thing: options may stand behind operands.

use std::vec::IntoIter;

/// The arguments of a tool: options one after the other, then the operands.
pub(super) struct Arguments {
    /// Letters that are options, each followed by `:` if it takes a value.
    options: &'static str,
    rest: IntoIter<String>,
    /// What is left of a cluster of options, as in `-pr3`.
    cluster: String,
    operands: Vec<String>,
}

impl Arguments {
    pub(super) fn new(options: &'static str, args: Vec<String>) -> Self {
        Self {
            options,
            rest: args.into_iter(),
            cluster: String::new(),
            operands: Vec::new(),
        }
    }

    /// The next option and its value, which is empty for one that takes none.
    pub(super) fn option(&mut self) -> Result<Option<(char, String)>, String> {
        while self.cluster.is_empty() {
            let Some(arg) = self.rest.next() else {
                return Ok(None);
            };
            if arg == "--" {
                self.operands.extend(self.rest.by_ref());
                return Ok(None);
            }
            match arg.strip_prefix('-') {
                Some(cluster) if !cluster.is_empty() => cluster.clone_into(&mut self.cluster),
                _ => self.operands.push(arg),
            }
        }
        let letter = self.cluster.remove(0);
        let known = self.options.find(letter).filter(|_| letter != ':');
        let Some(at) = known else {
            return Err(format!("illegal option -- {letter}"));
        };
        if !self.options[at..].starts_with(&format!("{letter}:")) {
            return Ok(Some((letter, String::new())));
        }
        let attached = std::mem::take(&mut self.cluster);
        let value = if attached.is_empty() {
            let next = self.rest.next();
            next.ok_or_else(|| format!("option requires an argument -- {letter}"))?
        } else {
            attached
        };
        Ok(Some((letter, value)))
    }

    /// What is no option. To be asked when there are no more options.
    pub(super) fn operands(self) -> Vec<String> {
        self.operands
    }

    /// At most one operand, `what`.
    pub(super) fn operand(mut self, what: &str) -> Result<Option<String>, String> {
        let last = self.operands.pop();
        if self.operands.is_empty() {
            Ok(last)
        } else {
            Err(format!("more than one {what}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (Vec<(char, String)>, Vec<String>);

    fn read(args: &[&str]) -> Result<Read, String> {
        let args = args.iter().map(ToString::to_string).collect();
        let mut arguments = Arguments::new("pf:r:", args);
        let mut options = Vec::new();
        while let Some(option) = arguments.option()? {
            options.push(option);
        }
        Ok((options, arguments.operands()))
    }

    #[test]
    fn options_are_read_like_getopt_does() {
        let (options, operands) = read(&["-pr3", "a", "-f", "-x", "-", "--", "-p"]).unwrap();
        let expected = [('p', ""), ('r', "3"), ('f', "-x")];
        assert_eq!(
            options,
            expected.map(|(letter, value)| (letter, value.to_owned()))
        );
        assert_eq!(operands, ["a", "-", "-p"]);
    }

    #[test]
    fn unknown_options_and_missing_values_are_refused() {
        for bad in ["-x", "-:", "-pé", "-f", "-pr"] {
            assert!(read(&[bad]).is_err(), "{bad}");
        }
    }
}
