//! One operation of the directory protocol at work: sends the steps that its [`Coordinator`] asks for, keeps
//! what they carry, and tries again, a bounded number of times, when others were faster.
//!
//! Dropping it between two steps is a crash as far as the protocol is concerned, and safe.

use std::sync::Arc;

use libmanta::link::Over;
use libmanta::moray::shard::{Admit, Child, Inserted, Listed, Look, NotMarked};
use libmanta::moray::{List, MorayError};
use libmanta::namespace::{
    Answer, Coordinator, Mark, Next, Operation, Presence, Reply, Row, Slot, Step, Token,
};
use libmanta::{Entry, Judged, ObjectKey};

use crate::attempts::{ATTEMPTS_MAX, pause_before};
use crate::resolve::Found;
use crate::router::Router;

/// An operation on the directory `directory`, and what its steps carry and bring back.
pub(crate) struct Protocol<'a> {
    router: &'a Router,
    directory: &'a ObjectKey,
    /// To be written by an insert.
    child: Option<(Arc<Child>, Over)>,
    /// What is to be removed, and nothing else.
    judged: Option<&'a Judged>,
    /// It is not what was judged.
    pub(crate) refused: bool,
    /// To be read by a listing.
    list: Option<&'a List>,
    pub(crate) written: Option<Inserted>,
    pub(crate) removed: Option<Entry>,
    pub(crate) listed: Option<Listed>,
    /// The directory's own entry, as it was read last.
    pub(crate) own_entry: Option<Entry>,
    /// Whether the row proves that the directory is there, for a lookup that has read it already.
    row_known: Option<Row>,
}

impl<'a> Protocol<'a> {
    fn new(router: &'a Router, directory: &'a ObjectKey) -> Self {
        Self {
            router,
            directory,
            child: None,
            judged: None,
            refused: false,
            list: None,
            written: None,
            removed: None,
            listed: None,
            own_entry: None,
            row_known: None,
        }
    }

    /// Writes a child. What it came to, once it was admitted, is in `written` if the answer is `Done`.
    pub(crate) fn insert(
        router: &'a Router,
        directory: &'a ObjectKey,
        child: Arc<Child>,
        over: Over,
    ) -> Self {
        Self {
            child: Some((child, over)),
            ..Self::new(router, directory)
        }
    }

    /// Removes the directory. Its entry is in `removed` if the answer is `Done`. If it is not what was `judged`,
    /// it is `refused`, and answered as if there were none.
    pub(crate) fn remove(
        router: &'a Router,
        directory: &'a ObjectKey,
        judged: Option<&'a Judged>,
    ) -> Self {
        Self {
            judged,
            ..Self::new(router, directory)
        }
    }

    /// Reads a page; it is in `listed`, and the entry in `own_entry`, if the answer is `Done`.
    pub(crate) fn list(router: &'a Router, list: &'a List) -> Self {
        Self {
            list: Some(list),
            ..Self::new(router, &list.directory)
        }
    }

    /// Finds out whether the directory is there, for somebody who has read its row.
    pub(crate) fn lookup(router: &'a Router, directory: &'a ObjectKey, row: Row) -> Self {
        Self {
            row_known: Some(row),
            ..Self::new(router, directory)
        }
    }

    /// Runs to the answer. Errors: whatever a step failed with (its outcome is then unknown, and so is that
    /// of the operation), or `Overloaded` after too many attempts.
    pub(crate) async fn run(
        &mut self,
        operation: impl FnOnce(Presence) -> Operation,
    ) -> Result<Answer, MorayError> {
        let presence = match self.directory.root() {
            Some(_) => Presence::Always,
            None => Presence::Recorded,
        };
        let operation = operation(presence);
        for attempt in 0..ATTEMPTS_MAX {
            pause_before(attempt).await;
            let (mut coordinator, mut step) = Coordinator::start(operation, Token::random());
            loop {
                let reply = self.send(step, presence).await?;
                match coordinator
                    .on(reply)
                    .map_err(|illegal| self.corrupt(illegal))?
                {
                    Next::Send(next, next_step) => (coordinator, step) = (next, next_step),
                    Next::Answer(answer) => return Ok(answer),
                    Next::Again => break,
                }
            }
        }
        Err(MorayError::Overloaded {
            shard: self.router.row_shard(self.directory).name().to_owned(),
        })
    }

    /// One step: one transaction in one shard.
    async fn send(&mut self, step: Step, presence: Presence) -> Result<Reply, MorayError> {
        let directory = self.directory;
        let entry_shard = self.router.entry_shard(directory);
        let row_shard = self.router.row_shard(directory);
        Ok(match step {
            Step::Insert { nonce } => self.insert_child(Admit::Begin { nonce, presence }).await?,
            Step::Settle { seen } => self.insert_child(Admit::Settle { seen }).await?,
            Step::DropRow { seen } => Reply::Held(row_shard.drop_row(directory, seen).await?),
            Step::Close { token } => Reply::Close(row_shard.close(directory, token).await?),
            Step::Reopen { token } => Reply::Held(row_shard.reopen(directory, token).await?),
            Step::ReadRow => self.read_row().await?,
            Step::ReadEntry => {
                let look = entry_shard.look(directory).await?;
                let slot = self.seen(&look).await?;
                self.own_entry = look.entry;
                Reply::Entry(slot)
            }
            Step::Mark { token } => self.mark(token).await?,
            Step::Unmark { token } => Reply::Held(entry_shard.unmark(directory, token).await?),
            Step::RemoveEntry { token } => {
                self.removed = entry_shard.remove_marked(directory, token).await?;
                Reply::Held(self.removed.is_some())
            }
        })
    }

    async fn insert_child(&mut self, admit: Admit) -> Result<Reply, MorayError> {
        let Some((child, over)) = &self.child else {
            return Err(self.corrupt("an operation without a child inserts one"));
        };
        let shard = self.router.row_shard(self.directory);
        Ok(match shard.insert(Arc::clone(child), admit, *over).await? {
            Inserted::Unsettled(seen) => Reply::Unsettled(seen),
            Inserted::Changed => Reply::Held(false),
            written => {
                self.written = Some(written);
                Reply::Written
            }
        })
    }

    /// Sends the mark again while it meets an object that nobody sees, and then finds a directory there: it has
    /// changed nothing yet, so that its token is still unused.
    async fn mark(&mut self, token: Token) -> Result<Reply, MorayError> {
        let shard = self.router.entry_shard(self.directory);
        for attempt in 0..ATTEMPTS_MAX {
            pause_before(attempt).await;
            match shard.mark(self.directory, token, self.judged).await? {
                Ok(()) => return Ok(Reply::Marked),
                Err(NotMarked::Is(Slot::Absent)) => return Ok(Reply::Entry(Slot::Absent)),
                Err(NotMarked::Judged) => {
                    self.refused = true;
                    return Ok(Reply::Entry(Slot::Absent));
                }
                Err(NotMarked::Is(_)) => {}
            }
            let look = shard.look(self.directory).await?;
            match self.seen(&look).await? {
                Slot::Directory(_) => {}
                slot => return Ok(Reply::Entry(slot)),
            }
        }
        Err(self.router.overloaded(self.directory))
    }

    /// The directory's entry, as somebody sees it: an object that was renamed away is none.
    async fn seen(&self, look: &Look) -> Result<Slot, MorayError> {
        if !look.binding.is_unresolved() {
            return Ok(look.slot());
        }
        let found = Found::new(self.directory, look.clone());
        let entry = self.router.resolve(vec![found]).await?.pop().flatten();
        Ok(match entry {
            None => Slot::Absent,
            Some(entry) if entry.is_directory() => Slot::Directory(Mark::Normal),
            Some(_) => Slot::Object,
        })
    }

    async fn read_row(&mut self) -> Result<Reply, MorayError> {
        let row = match (self.list, self.row_known) {
            (Some(list), _) => {
                let listed = self.router.row_shard(self.directory).list(list).await?;
                let row = listed.row;
                self.listed = Some(listed);
                row
            }
            (None, Some(row)) => row,
            (None, None) => return Err(self.corrupt("an operation without a page reads one")),
        };
        let open = matches!(row, Row::Open { .. });
        Ok(Reply::Row { open })
    }

    /// A fault of a shard or of ours; the directory stays as it is.
    pub(crate) fn corrupt(&self, reason: impl ToString) -> MorayError {
        MorayError::Corrupt {
            shard: self.router.row_shard(self.directory).name().to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// What [`Shard::look`](libmanta::moray::shard::Shard::look) says about a child proves something about its
/// directory: it is there if the child is, or if its row is open.
pub(crate) fn proves_parent(look: &Look) -> bool {
    look.entry.is_some() || matches!(look.row, Row::Open { .. })
}
