//! From the way a command ended to the error its owner sees. Source: marlin.md sections 6.9, 7.5 and 8.3.

use libmanta::triton::{Exit, ExitStatus};

use crate::names;
use crate::record::{ErrorCode, TaskError};

/// Less free disk than this when a command fails means that the disk was why.
const DISK_LOW_BYTES: u64 = 10 << 20;
const SIGKILL: i32 = 9;
const MEMORY_WARNING: &str = " (WARNING: ran out of memory during execution)";
const NAME_WARNING: &str = " (WARNING: input file was mapped at an unusual location because \
                            the object name was too long)";

/// What is known about a command that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) disk_available_bytes: u64,
    /// It was the phase's `init`.
    pub(crate) init: bool,
    /// Its input appeared under a shortened name.
    pub(crate) shortened: bool,
}

/// `None` when the command succeeded.
pub(crate) fn judge(ended: Ended) -> Option<TaskError> {
    let exit = ended.exit;
    let mut memory_is_told = false;
    let mut message = match exit.status {
        _ if exit.core_dumped => "user command or child process dumped core".to_owned(),
        ExitStatus::Code(0) => return None,
        ExitStatus::Signal(SIGKILL) if exit.out_of_memory => {
            memory_is_told = true;
            "user task ran out of memory".to_owned()
        }
        _ if ended.disk_available_bytes < DISK_LOW_BYTES => {
            "user task ran out of local disk space".to_owned()
        }
        ExitStatus::Code(code) => format!("user command exited with code {code}"),
        ExitStatus::Signal(signal) => {
            format!("user command terminated by {}", names::signal(signal))
        }
    };
    if exit.out_of_memory && !memory_is_told {
        message.push_str(MEMORY_WARNING);
    }
    if ended.shortened {
        message.push_str(NAME_WARNING);
    }
    let code = if ended.init {
        ErrorCode::TaskInit
    } else {
        ErrorCode::UserTask
    };
    Some(TaskError::new(code, message))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ended(status: ExitStatus) -> Ended {
        Ended {
            exit: Exit {
                status,
                core_dumped: false,
                out_of_memory: false,
                wall: Duration::ZERO,
                cpu: Duration::ZERO,
                peak_memory_bytes: 0,
            },
            disk_available_bytes: 1 << 30,
            init: false,
            shortened: false,
        }
    }

    fn message(ended: Ended) -> String {
        judge(ended).unwrap().message
    }

    #[test]
    fn ordinary_ends_have_ordinary_words() {
        assert_eq!(judge(ended(ExitStatus::Code(0))), None);
        assert_eq!(
            message(ended(ExitStatus::Code(3))),
            "user command exited with code 3"
        );
        assert_eq!(
            message(ended(ExitStatus::Signal(15))),
            "user command terminated by SIGTERM"
        );
    }

    #[test]
    fn a_core_dump_fails_whatever_the_status() {
        let mut end = ended(ExitStatus::Code(0));
        end.exit.core_dumped = true;
        assert_eq!(message(end), "user command or child process dumped core");
        end.init = true;
        assert_eq!(judge(end).unwrap().code, ErrorCode::TaskInit);
    }

    #[test]
    fn want_of_memory_and_disk_are_named() {
        let mut end = ended(ExitStatus::Signal(9));
        end.exit.out_of_memory = true;
        assert_eq!(message(end), "user task ran out of memory");
        end.exit.status = ExitStatus::Code(1);
        assert_eq!(
            message(end),
            "user command exited with code 1 (WARNING: ran out of memory during execution)"
        );
        let mut end = ended(ExitStatus::Code(1));
        end.disk_available_bytes = 5 << 20;
        assert_eq!(message(end), "user task ran out of local disk space");
        let mut end = ended(ExitStatus::Code(1));
        end.shortened = true;
        assert!(message(end).ends_with("because the object name was too long)"));
    }
}
