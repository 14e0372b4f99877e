//! The tree over all shards. Each call is one transaction in one shard, except the first child of a
//! directory, the removal of one, and reads that need both of a directory's records.

use std::sync::Arc;

use async_trait::async_trait;
use libmanta::moray::shard::{Admit, Child, Inserted};
use libmanta::moray::{
    List, Lookup, MakeDirectory, MorayError, Namespace, NamespaceError, Page, Parent, PutObject,
    Replaced, Update,
};
use libmanta::namespace::{Answer, Operation, Presence, Row, Token};
use libmanta::{Condition, Entry, ObjectKey, Root};

use crate::directory::{Protocol, proves_parent};
use crate::router::Router;

#[async_trait]
impl Namespace for Router {
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
        Ok(Lookup {
            entry: look.entry,
            parent,
        })
    }

    async fn put_object(&self, put: PutObject) -> Result<Replaced, NamespaceError> {
        if put.entry.key.root().is_some() {
            return Err(NamespaceError::IsDirectory);
        }
        self.insert(Child::Object(put)).await
    }

    async fn make_directory(&self, make: MakeDirectory) -> Result<Replaced, NamespaceError> {
        self.insert(Child::Directory(make)).await
    }

    async fn update(&self, update: Update) -> Result<Replaced, NamespaceError> {
        let shard = self.entry_shard(&update.key);
        let updated = shard.update(update.clone()).await;
        if updated == Err(NamespaceError::NotFound) && update.key.root().is_some() {
            // It exists without being recorded, so now it is.
            return self
                .make_directory(MakeDirectory {
                    key: update.key,
                    mtime: update.mtime,
                    headers: update.headers,
                    roles: update.roles,
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
        self.entry_shard(key).remove_object(key, condition).await
    }

    async fn remove_directory(&self, key: &ObjectKey) -> Result<Entry, NamespaceError> {
        if key.root() == Some(Root::Area) {
            return Err(NamespaceError::IsRoot);
        }
        let mut protocol = Protocol::remove(self, key);
        match protocol.run(Operation::Remove).await? {
            Answer::Done => protocol
                .removed
                .take()
                .ok_or_else(|| protocol.corrupt("nothing was removed").into()),
            Answer::NotFound => Err(NamespaceError::NotFound),
            Answer::NotDirectory => Err(NamespaceError::NotDirectory),
            Answer::NotEmpty => Err(NamespaceError::NotEmpty),
        }
    }

    async fn list(&self, list: &List) -> Result<Page, NamespaceError> {
        let mut protocol = Protocol::list(self, list);
        match protocol.run(Operation::List).await? {
            Answer::Done => {
                let Some(listed) = protocol.listed.take() else {
                    return Err(protocol.corrupt("nothing was listed").into());
                };
                Ok(Page {
                    directory: protocol.own_entry.take(),
                    entries_total: match listed.row {
                        Row::Open { count } => count,
                        _ => 0,
                    },
                    entries: listed.entries,
                })
            }
            Answer::NotDirectory => Err(NamespaceError::NotDirectory),
            Answer::NotFound | Answer::NotEmpty => Err(NamespaceError::NotFound),
        }
    }
}

impl Router {
    /// Writes a child into its directory.
    async fn insert(&self, child: Child) -> Result<Replaced, NamespaceError> {
        let key = child.key().clone();
        let Some(directory) = key.parent() else {
            return self.insert_area(&key, child).await;
        };
        let mut protocol = Protocol::insert(self, &directory, child);
        match protocol.run(Operation::Insert).await? {
            Answer::Done => match protocol.written.take() {
                Some(written) => written,
                None => Err(protocol.corrupt("nothing was written").into()),
            },
            Answer::NotDirectory => Err(NamespaceError::ParentNotDirectory),
            Answer::NotFound | Answer::NotEmpty => Err(NamespaceError::ParentNotFound),
        }
    }

    /// Records an area. What is above it always exists, and is no directory that a client could name.
    async fn insert_area(&self, key: &ObjectKey, child: Child) -> Result<Replaced, NamespaceError> {
        if key.root().is_none() {
            return Err(NamespaceError::ParentNotFound);
        }
        let admit = Admit::Begin {
            nonce: Token::random(),
            presence: Presence::Always,
        };
        let shard = self.entry_shard(key);
        match shard.insert(Arc::new(child), admit).await? {
            Inserted::Written(replaced) => Ok(replaced),
            Inserted::Refused(why) => Err(why),
            Inserted::Unsettled(_) | Inserted::Changed => Err(MorayError::Corrupt {
                shard: shard.name().to_owned(),
                reason: "the row of an account is not open".to_owned(),
            }
            .into()),
        }
    }
}
