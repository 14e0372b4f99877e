//! The system tests: one binary, one module for each subject, so that it links once.

mod bad_input;
mod behaviours_access;
mod behaviours_cors;
mod commands_metadata;
mod commands_trees;
mod completion;
mod concurrency;
mod crash_replay;
mod doors;
mod hostile;
mod jobs;
mod kill_nine;
mod msync;
mod not_root;
mod npm;
mod npm_and_own;
mod on_disk;
mod own_commands;
mod put_order;
mod pypi;
mod recorder;
mod said;
mod signed_urls;
mod start;
mod storage_faults;
mod tree;
