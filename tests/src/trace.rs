//! Reading what `strace` saw.
//!
//! Time is the number of a line: a call that is begun on line 7 and resumed on line 12 was under way
//! between them, a call on one line happened while nothing else that is traced did. `strace` stops a
//! thread at the entry and at the exit of each call, so the order of lines is the order of events.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Calls that change files, make them durable, move descriptors about, or send an answer.
const CALLS: &str = "open,openat,openat2,creat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,writev,\
pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,syncfs,sync,rename,renameat,\
renameat2,link,linkat,unlink,unlinkat,symlink,symlinkat,mkdir,mkdirat,rmdir,setxattr,lsetxattr,fsetxattr,\
removexattr,fremovexattr,copy_file_range,sendfile,splice,sendto,sendmsg,sendmmsg,clone,clone3,mmap,bind,\
io_uring_setup";

/// The command to put in front of `manta`: traces all its threads into `output`.
#[must_use]
pub fn command(output: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["strace", "-f", "-q", "-xx", "-s", "1048576"]
        .map(Into::into)
        .into();
    words.extend([
        "-e".into(),
        format!("trace={CALLS}").into(),
        "-o".into(),
        output.into(),
    ]);
    words
}

/// One system call.
#[derive(Clone, Debug)]
pub struct Call {
    pub thread: u32,
    pub name: String,
    /// As written, split at the commas between them.
    pub arguments: Vec<String>,
    /// What it returned; negative when it failed, `None` when the process ended within it.
    pub result: Option<i64>,
    /// Line on which it began.
    pub entered: usize,
    /// Line on which it ended; `usize::MAX` when it did not.
    pub left: usize,
}

impl Call {
    /// The value returned, if the call succeeded.
    #[must_use]
    pub fn success(&self) -> Option<i64> {
        self.result.filter(|result| *result >= 0)
    }

    pub fn argument(&self, index: usize) -> Result<&str> {
        let argument = self.arguments.get(index);
        Ok(argument.with_context(|| format!("{} lacks argument {index}", self.name))?)
    }

    pub fn number(&self, index: usize) -> Result<i64> {
        let text = self.argument(index)?;
        let number = match text.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16),
            None => text.parse(),
        };
        number.with_context(|| format!("{} has {text} as argument {index}", self.name))
    }

    /// A string argument.
    pub fn bytes(&self, index: usize) -> Result<Vec<u8>> {
        unquote(self.argument(index)?)
    }

    /// All that a gathering write sends, in order.
    pub fn gathered(&self, index: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for part in self.argument(index)?.split("iov_base=").skip(1) {
            let end = part.rfind('"').context("a buffer ends with a quote")?;
            let start = part.find('"').context("a buffer begins with a quote")?;
            // Between this buffer and the next there are only names and numbers.
            let end = part[start + 1..end]
                .find('"')
                .map_or(end, |inner| start + 1 + inner);
            bytes.extend(unquote(&part[start..=end])?);
        }
        Ok(bytes)
    }
}

/// Calls in the order in which they began, of the threads of the first process only: what it starts with
/// `exec` or `fork` does not keep its descriptors.
pub fn parse(text: &str) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    let mut under_way: BTreeMap<u32, usize> = BTreeMap::new();
    let mut first = None;
    for (number, line) in text.lines().enumerate() {
        parse_line(line, number, &mut calls, &mut under_way)
            .with_context(|| format!("understand line {} of the trace", number + 1))?;
        first = first.or_else(|| calls.first().map(|call: &Call| call.thread));
    }
    let Some(first) = first else {
        bail!("the trace is empty")
    };
    let threads = threads_of(first, &calls);
    calls.retain(|call| threads.contains(&call.thread));
    Ok(calls)
}

fn threads_of(first: u32, calls: &[Call]) -> BTreeSet<u32> {
    let mut threads = BTreeSet::from([first]);
    loop {
        let before = threads.len();
        for call in calls.iter().filter(|call| call.name.starts_with("clone")) {
            let is_thread = call
                .arguments
                .iter()
                .any(|argument| argument.contains("CLONE_THREAD"));
            if let (true, true, Some(child)) =
                (is_thread, threads.contains(&call.thread), call.success())
            {
                threads.insert(child as u32);
            }
        }
        if threads.len() == before {
            return threads;
        }
    }
}

fn parse_line(
    line: &str,
    number: usize,
    calls: &mut Vec<Call>,
    under_way: &mut BTreeMap<u32, usize>,
) -> Result<()> {
    let (thread, rest) = line
        .split_once(' ')
        .context("a line begins with a thread")?;
    let thread: u32 = thread.parse().context("a line begins with a thread")?;
    let rest = rest.trim_start();
    if rest.starts_with("+++") || rest.starts_with("---") {
        return Ok(());
    }
    if let Some(resumed) = rest.strip_prefix("<... ") {
        let (_, tail) = resumed
            .split_once(" resumed>")
            .context("a call is resumed")?;
        let index = under_way
            .remove(&thread)
            .context("the resumed call was begun")?;
        let call = &mut calls[index];
        let (arguments, result) = split_result(tail)?;
        let begun = std::mem::take(&mut call.arguments).join(", ");
        call.arguments = split_arguments(&(begun + arguments))?;
        call.result = result;
        call.left = number;
        return Ok(());
    }
    let (name, tail) = rest.split_once('(').context("a call has arguments")?;
    let mut call = Call {
        thread,
        name: name.to_owned(),
        arguments: Vec::new(),
        result: None,
        entered: number,
        left: usize::MAX,
    };
    if let Some(begun) = tail.strip_suffix("<unfinished ...>") {
        // Kept in one piece until the rest is there, since the cut may be anywhere.
        call.arguments = vec![begun.to_owned()];
        under_way.insert(thread, calls.len());
    } else {
        let (arguments, result) = split_result(tail)?;
        call.arguments = split_arguments(arguments)?;
        call.result = result;
        call.left = number;
    }
    calls.push(call);
    Ok(())
}

/// Splits `a, b) = 3` into the arguments and the value.
fn split_result(tail: &str) -> Result<(&str, Option<i64>)> {
    let (arguments, value) = tail.rsplit_once(" = ").context("a call has a result")?;
    let arguments = arguments
        .trim_end()
        .strip_suffix(')')
        .context("arguments are closed")?;
    let value = value.split(' ').next().unwrap_or_default();
    let result = match value.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => value.parse().ok(),
    };
    Ok((arguments, result))
}

/// Splits at commas that are in no string, structure or list.
fn split_arguments(text: &str) -> Result<Vec<String>> {
    let mut arguments = Vec::new();
    let mut current = String::new();
    let mut depth = 0_i32;
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            '{' | '[' | '(' if !quoted => depth += 1,
            '}' | ']' | ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                arguments.push(std::mem::take(&mut current).trim().to_owned());
                continue;
            }
            _ => {}
        }
        current.push(character);
    }
    ensure!(
        !quoted && depth == 0,
        "arguments end within a string or structure"
    );
    if !current.trim().is_empty() {
        arguments.push(current.trim().to_owned());
    }
    Ok(arguments)
}

/// `"\x61\x62"` as bytes. A string that was cut short is an error: it would be a write we cannot repeat.
pub(crate) fn unquote(text: &str) -> Result<Vec<u8>> {
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let inner = inner
        .with_context(|| format!("{} is not a complete string", &text[..text.len().min(40)]))?;
    let mut bytes = Vec::with_capacity(inner.len() / 4);
    for pair in inner.split("\\x").skip(1) {
        bytes.push(u8::from_str_radix(pair, 16).context("a byte in hexadecimal")?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_overlap_keep_their_order() {
        let text = "\
10 openat(AT_FDCWD, \"\\x2f\\x61\", O_RDWR|O_CREAT, 0600) = 3
10 clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x1}, 88) = 11
11 pwrite64(3, \"\\x61\\x2c\\x22\", 3, 4096 <unfinished ...>
10 fdatasync(3)               = 0
11 <... pwrite64 resumed>)    = 3
12 write(1, \"\\x61\", 1)      = 1
10 fsync(9)  = -1 EBADF (Bad file descriptor)
10 +++ killed by SIGKILL +++
";
        let calls = parse(text).unwrap();
        let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(
            names,
            ["openat", "clone3", "pwrite64", "fdatasync", "fsync"]
        );
        assert_eq!(calls[0].bytes(1).unwrap(), b"/a");
        let write = &calls[2];
        assert_eq!((write.entered, write.left, write.result), (2, 4, Some(3)));
        assert_eq!(write.bytes(1).unwrap(), b"a,\"");
        assert_eq!(write.number(3).unwrap(), 4096);
        assert_eq!(calls[4].success(), None);
    }

    #[test]
    fn gathered_buffers_are_joined() {
        let text = "10 writev(5, [{iov_base=\"\\x61\\x62\", iov_len=2}, {iov_base=\"\\x63\", iov_len=1}], 2) = 3\n";
        assert_eq!(parse(text).unwrap()[0].gathered(1).unwrap(), b"abc");
    }

    #[test]
    fn a_string_cut_short_is_refused() {
        let calls = parse("10 write(5, \"\\x61\"..., 900) = 900\n").unwrap();
        assert!(calls[0].bytes(1).is_err());
    }
}
