//! What could be on the disk after the power went, given everything a process did to it.
//!
//! Theory of operation. [`record`] turns a trace into *operations*: changes of the content of a file, and
//! changes of names in directories, each with the line on which it began and, if a sync covered it, the
//! line on which that sync returned. A [`cut`] is a line of the trace. Of the operations begun by then,
//! those that a sync covered are on the disk; of the others any may be missing, and writes may be torn
//! at sectors of 512 bytes. `materialise` puts one such disk into a directory.
//!
//! What is assumed of the disk and the file system, and nothing more:
//! - `fsync` of a file makes its content, size and attributes durable; `fdatasync` content and size. Neither
//!   makes its *name* durable. Writes that were under way when the sync began are not covered.
//! - `fsync` of a directory makes durable the names made, replaced and removed in it before.
//! - A rename happens wholly or not at all, and is durable when the directory of the new name is.
//! - No order among operations that no sync separates. `sync_file_range` promises nothing.

mod cut;
mod reality;
mod record;

pub use cut::{Keep, materialise};
pub use reality::compare;
pub use record::{Inode, InodeId, Kind, Operation, Record, Step, record};
