//! The tree over all shards. Each call is one transaction in one shard, except the first child of a
//! directory, the removal of one, and reads that need both of a directory's records.

use std::sync::Arc;

use async_trait::async_trait;
use libmanta::link::{Over, Snapshot};
use libmanta::moray::shard::links::Written;
use libmanta::moray::shard::{Admit, Child, Inserted};
use libmanta::moray::{
    List, Lookup, MakeDirectory, MorayError, Namespace, NamespaceError, Page, Parent, PutObject,
    Replaced, Update,
};
use libmanta::namespace::{Answer, Operation, Presence, Row, Token};
use libmanta::{Condition, Entry, Judged, ObjectId, ObjectKey, PreconditionFailed, Root};

use crate::attempts::{ATTEMPTS_MAX, pause_before};
use crate::directory::{Protocol, proves_parent};
use crate::overwrite::Wrote;
use crate::page::Paged;
use crate::resolve::Found;
use crate::router::Router;

#[async_trait]
impl Namespace for Router {
    /// Its record would lie beside its entry, so that a link within the directory is one transaction.
    fn new_object_id(&self, key: &ObjectKey) -> ObjectId {
        let shard = self.index_of(key.entry_route());
        // Each id has the same chance. A ring that gives a shard next to nothing is not worth waiting for.
        let tries = 8 * self.shards.len();
        std::iter::repeat_with(ObjectId::random)
            .take(tries)
            .find(|id| self.index_of(&id.record_route()) == shard)
            .unwrap_or_else(ObjectId::random)
    }

    async fn lookup(&self, key: &ObjectKey) -> Result<Lookup, MorayError> {
        let look = self.entry_shard(key).look(key).await?;
        let parent = match key.parent() {
            None => Parent::Directory,
            Some(_) if proves_parent(&look) => Parent::Directory,
            Some(parent) if parent.root().is_some() => Parent::Directory,
            Some(parent) => {
                let mut protocol = Protocol::lookup(self, &parent, look.row);
                match protocol.run(Operation::Lookup).await? {
                    Answer::Done => Parent::Directory,
                    Answer::NotDirectory => Parent::Object,
                    Answer::NotFound | Answer::NotEmpty => Parent::Missing,
                }
            }
        };
        let found = Found::new(key, look);
        let entry = if found.is_plain() {
            found.entry
        } else {
            self.resolve(vec![found]).await?.pop().flatten()
        };
        Ok(Lookup { entry, parent })
    }

    async fn put_object(&self, put: PutObject) -> Result<Replaced, NamespaceError> {
        if put.entry.key.root().is_some() {
            return Err(NamespaceError::IsDirectory);
        }
        self.write(Child::Object(put)).await
    }

    async fn make_directory(&self, make: MakeDirectory) -> Result<Replaced, NamespaceError> {
        self.write(Child::Directory(make)).await
    }

    async fn update(&self, update: Update) -> Result<Replaced, NamespaceError> {
        let shard = self.entry_shard(&update.key);
        let updated = self
            .overwrite(&update.key, |over| {
                let update = update.clone();
                Box::pin(async move { wrote(shard.update(update, over).await?) })
            })
            .await;
        if updated == Err(NamespaceError::NotFound) && update.key.root().is_some() {
            // It exists without being recorded, so now it is.
            return self
                .make_directory(MakeDirectory {
                    key: update.key,
                    mtime: update.mtime,
                    headers: update.headers,
                    roles: update.roles,
                    judged: update.condition.judged,
                })
                .await;
        }
        updated
    }

    async fn remove_object(
        &self,
        key: &ObjectKey,
        condition: &Condition,
    ) -> Result<Entry, NamespaceError> {
        if key.root().is_some() {
            return Err(NamespaceError::IsDirectory);
        }
        let shard = self.entry_shard(key);
        self.overwrite(key, |over| {
            Box::pin(async move { wrote(shard.remove_object(key, condition, over).await?) })
        })
        .await
    }

    async fn remove_directory(
        &self,
        key: &ObjectKey,
        judged: Option<&Judged>,
    ) -> Result<Entry, NamespaceError> {
        if key.root() == Some(Root::Area) {
            return Err(NamespaceError::IsRoot);
        }
        for attempt in 0..ATTEMPTS_MAX {
            pause_before(attempt).await;
            let mut protocol = Protocol::remove(self, key, judged);
            match protocol.run(Operation::Remove).await? {
                Answer::Done => {
                    let removed = protocol.removed.take();
                    return removed.ok_or_else(|| protocol.corrupt("nothing was removed").into());
                }
                Answer::NotFound if protocol.refused => {
                    return Err(PreconditionFailed::Judged.into());
                }
                Answer::NotFound => return Err(NamespaceError::NotFound),
                Answer::NotDirectory => return Err(NamespaceError::NotDirectory),
                Answer::NotEmpty => {
                    if !self.empty(key).await? {
                        return Err(NamespaceError::NotEmpty);
                    }
                }
            }
        }
        Err(self.overloaded(key).into())
    }

    async fn list(&self, list: &List) -> Result<Page, NamespaceError> {
        let mut wanted = list.clone();
        let mut snapshot = Snapshot::default();
        for attempt in 0..ATTEMPTS_MAX {
            pause_before(attempt).await;
            let mut protocol = Protocol::list(self, &wanted);
            match protocol.run(Operation::List).await? {
                Answer::Done => {}
                Answer::NotDirectory => return Err(NamespaceError::NotDirectory),
                Answer::NotFound | Answer::NotEmpty => return Err(NamespaceError::NotFound),
            }
            let Some(listed) = protocol.listed.take() else {
                return Err(protocol.corrupt("nothing was listed").into());
            };
            let directory = protocol.own_entry.take();
            let count = match listed.row {
                Row::Open { count } => count,
                _ => 0,
            };
            match self.page(list, wanted.limit, listed, &mut snapshot).await? {
                Paged::Page { entries, unbound } => {
                    return Ok(Page {
                        directory,
                        entries_total: count.saturating_sub(unbound),
                        entries,
                    });
                }
                // Nobody sees some of them, so that the page would be too short.
                Paged::Short(hidden) => wanted.limit += hidden,
                Paged::Again => {}
            }
        }
        Err(self.overloaded(&list.directory).into())
    }
}

impl Router {
    /// Writes a child into its directory, whatever links and renames there are.
    async fn write(&self, child: Child) -> Result<Replaced, NamespaceError> {
        let key = child.key().clone();
        let (key, child) = (&key, Arc::new(child));
        self.overwrite(key, |over| {
            let child = Arc::clone(&child);
            Box::pin(async move {
                match self.insert_shared(child, over).await? {
                    Inserted::Written(replaced) => Ok(Ok(replaced)),
                    Inserted::Refused(why) => Err(why),
                    Inserted::Busy(binding) => Ok(Err(binding)),
                    other => Err(self.fault(key, format!("a write came to {other:?}")).into()),
                }
            })
        })
        .await
    }

    /// Writes a child into its directory if the name may be written. Never answers
    /// [`Inserted::Unsettled`] or [`Inserted::Changed`].
    pub(crate) async fn insert(
        &self,
        child: Child,
        over: Over,
    ) -> Result<Inserted, NamespaceError> {
        self.insert_shared(Arc::new(child), over).await
    }

    async fn insert_shared(
        &self,
        child: Arc<Child>,
        over: Over,
    ) -> Result<Inserted, NamespaceError> {
        let Some(directory) = child.key().parent() else {
            return self.insert_area(child, over).await;
        };
        let mut protocol = Protocol::insert(self, &directory, child, over);
        match protocol.run(Operation::Insert).await? {
            Answer::Done => match protocol.written.take() {
                Some(written) => Ok(written),
                None => Err(protocol.corrupt("nothing was written").into()),
            },
            Answer::NotDirectory => Err(NamespaceError::ParentNotDirectory),
            Answer::NotFound | Answer::NotEmpty => Err(NamespaceError::ParentNotFound),
        }
    }

    /// Records an area. What is above it always exists, and is no directory that a client could name.
    async fn insert_area(&self, child: Arc<Child>, over: Over) -> Result<Inserted, NamespaceError> {
        let key = child.key().clone();
        if key.root().is_none() {
            return Err(NamespaceError::ParentNotFound);
        }
        let admit = Admit::Begin {
            nonce: Token::random(),
            presence: Presence::Always,
        };
        match self.entry_shard(&key).insert(child, admit, over).await? {
            Inserted::Unsettled(_) | Inserted::Changed => {
                Err(self.fault(&key, "the row of an account is not open").into())
            }
            written => Ok(written),
        }
    }
}

fn wrote<T>(written: Written<T>) -> Result<Wrote<T>, NamespaceError> {
    match written {
        Written::Done(done) => done.map(Ok),
        Written::Busy(binding) => Ok(Err(binding)),
    }
}
