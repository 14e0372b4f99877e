//! Killing a process's descendants without a pid namespace, for the flavour that has none.
//!
//! Best effort: a process whose parents have all died escapes, unless the ancestor is a subreaper, which
//! zone init is while it lives.

use std::collections::HashMap;
use std::io;

use rustix::process::{Pid, Signal};

/// Rounds after which a fork bomb has won.
const ROUNDS: usize = 100;

/// Kills all descendants of `ancestor`, round by round until a round finds none.
pub(crate) fn kill(ancestor: i32) -> io::Result<()> {
    for _ in 0..ROUNDS {
        let found = list(ancestor)?;
        if found.is_empty() {
            return Ok(());
        }
        for pid in found.into_iter().filter_map(Pid::from_raw) {
            // Gone in the meantime is as good.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
    Err(io::Error::other(
        "processes appear faster than they can be killed",
    ))
}

/// Living descendants; zombies are dead already.
fn list(ancestor: i32) -> io::Result<Vec<i32>> {
    let mut children: HashMap<i32, Vec<(i32, bool)>> = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        if let Some((state, parent)) = parse(&stat) {
            children
                .entry(parent)
                .or_default()
                .push((pid, state != 'Z' && state != 'X'));
        }
    }
    let (mut found, mut open) = (Vec::new(), vec![ancestor]);
    while let Some(pid) = open.pop() {
        for (child, alive) in children.remove(&pid).unwrap_or_default() {
            open.push(child);
            if alive {
                found.push(child);
            }
        }
    }
    Ok(found)
}

/// State and parent. The name before them may hold anything, closing brackets included.
fn parse(stat: &str) -> Option<(char, i32)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_name_does_not_confuse() {
        assert_eq!(parse("7 (a) R 1 (b)) S 3 7 7 0"), Some(('S', 3)));
        assert_eq!(parse("nonsense"), None);
    }
}
