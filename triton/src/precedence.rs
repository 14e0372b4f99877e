//! Who runs first when there is more to do than cores: the store, then what is in zones.
//!
//! Two things together. All zones weigh as much as one ordinary process for each core
//! ([`cgroup`](crate::cgroup)). The kernel lays that weight where their load is: when every core has work of zones
//! it is one process on each, and on fewer cores as many more on each of those. There a thread of the store that
//! never sleeps gets less than half; one that was asleep is not behind with its share all the same. And the
//! store's threads have the shortest slices there are, so that when one is woken it is its turn at once, and
//! not when a command in a zone has had its slice. Neither takes anything from zones that nobody else wants.

use std::io;
use std::time::Duration;

use crate::sys::process;

/// The shortest that the kernel takes.
const SLICE: Duration = Duration::from_micros(100);

/// For the thread that serves others, before it starts more threads: they are born with it. Zones are not: the
/// zygote gives it up. Harmless where the kernel knows nothing of it.
pub fn take() -> io::Result<()> {
    process::set_slice(SLICE)
}

/// Back to what every process has.
pub(crate) fn give_up() -> io::Result<()> {
    process::set_slice(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_born_with_it_until_it_is_given_up() {
        let slice = || process::scheduling().unwrap().sched_runtime;
        let in_thread = |work: fn() -> u64| std::thread::spawn(work).join().unwrap();
        let ordinary = slice();
        let (taken, inherited, given_up) = std::thread::spawn(move || {
            take().unwrap();
            let inherited = in_thread(|| process::scheduling().unwrap().sched_runtime);
            let taken = slice();
            give_up().unwrap();
            (taken, inherited, slice())
        })
        .join()
        .unwrap();
        assert_eq!((inherited, given_up), (taken, ordinary));
        let release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        let mut numbers = release
            .split(['.', '-'])
            .map_while(|n| n.parse::<u32>().ok());
        let version = (numbers.next().unwrap(), numbers.next().unwrap());
        if version >= (6, 12) {
            assert_eq!(Duration::from_nanos(taken), SLICE, "on Linux {release}");
            assert!(ordinary > taken);
        }
    }
}
