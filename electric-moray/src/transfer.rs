//! LINK and RENAME at work: sends the steps that the [`Transfer`] asks for, and keeps what they carry.
//!
//! Where one shard has all it takes, it is one transaction. Dropping it between two steps is a crash as far as
//! the protocol is concerned, and safe.

use async_trait::async_trait;
use libmanta::link::{Binding, Bound, Kind, Next, Pin, Prepared, Reply, Side, Step, Transfer};
use libmanta::moray::links::{Link, Links, Logged, Rename, Transferred};
use libmanta::moray::shard::links::{Claim, Enter, Pinned, Prepare, TransferHere};
use libmanta::moray::shard::{Child, Inserted, Look};
use libmanta::moray::{MorayError, NamespaceError};
use libmanta::namespace::Token;
use libmanta::{Entry, ObjectId, ObjectKey, StorageId, link};

use crate::attempts::{ATTEMPTS_MAX, pause_before};
use crate::router::Router;
use crate::stats::Stats;
use crate::steps::Names;

#[async_trait]
impl Links for Router {
    async fn link(&self, link: Link) -> Result<Transferred, NamespaceError> {
        self.transfer(TransferHere {
            kind: Kind::Link,
            source: link.source,
            target: link.target,
            record: None,
            token: Token::random(),
            mtime: Some(link.mtime),
            roles: Some(link.roles),
            source_condition: link.source_condition,
            target_condition: link.target_condition,
            directory_entries_max: link.directory_entries_max,
        })
        .await
    }

    async fn rename(&self, rename: Rename) -> Result<Transferred, NamespaceError> {
        self.transfer(TransferHere {
            kind: Kind::Rename,
            source: rename.source,
            target: rename.target,
            record: None,
            token: Token::random(),
            mtime: rename.mtime,
            roles: rename.roles,
            source_condition: rename.source_condition,
            target_condition: rename.target_condition,
            directory_entries_max: rename.directory_entries_max,
        })
        .await
    }
}

/// What the steps of a transfer carry and bring back.
#[derive(Default)]
struct Luggage {
    /// The source as it was read last.
    read: Option<Entry>,
    /// The source as it was pinned, whose headers the target gets.
    pinned: Option<Entry>,
    /// Copies that the record needs to know.
    copies: Vec<StorageId>,
    /// What the target was bound to, and is now.
    before: Option<Entry>,
    after: Option<Entry>,
    refused: Option<NamespaceError>,
    errands: Vec<Logged>,
    /// Of the source.
    label: Option<Token>,
    /// Replies to steps that were done together with the one before.
    pinned_early: Option<Pinned>,
    committed_early: Option<Option<Vec<Logged>>>,
}

impl Router {
    async fn transfer(&self, mut asked: TransferHere) -> Result<Transferred, NamespaceError> {
        if asked.source.root().is_some() {
            return Err(NamespaceError::SourceIsDirectory);
        }
        if asked.target.root().is_some() {
            return Err(NamespaceError::IsDirectory);
        }
        if asked.source == asked.target {
            return self.transfer_to_itself(&asked).await;
        }
        for attempt in 0..ATTEMPTS_MAX {
            pause_before(attempt).await;
            asked.token = Token::random();
            let shard = self.entry_shard(&asked.source);
            let look = shard.look(&asked.source).await?;
            let was_sole = matches!(look.binding, Binding::Bound(Bound::Sole { .. }));
            if let Some(done) = self.transfer_here(&mut asked, &look).await? {
                // A sole object that is renamed within a shard stays sole.
                self.count_promoted(was_sole && asked.kind == Kind::Link);
                return Ok(done);
            }
            if let Some(done) = self.transfer_apart(&asked, look).await? {
                self.count_promoted(was_sole);
                return Ok(done);
            }
        }
        Err(self.overloaded(&asked.target).into())
    }

    fn count_promoted(&self, promoted: bool) {
        Stats::add(&self.stats.objects_promoted, u64::from(promoted));
    }

    /// Changes nothing.
    async fn transfer_to_itself(
        &self,
        asked: &TransferHere,
    ) -> Result<Transferred, NamespaceError> {
        let entry = self
            .lookup_entry(&asked.source)
            .await?
            .ok_or(NamespaceError::SourceNotFound)?;
        if entry.is_directory() {
            return Err(NamespaceError::SourceIsDirectory);
        }
        asked.source_condition.check(Some(&entry))?;
        asked.target_condition.check(Some(&entry))?;
        Ok(Transferred {
            source: entry.clone(),
            before: Some(entry.clone()),
            after: entry,
        })
    }

    /// In one transaction, where one shard has all it takes. `None` if it takes the steps.
    async fn transfer_here(
        &self,
        asked: &mut TransferHere,
        look: &Look,
    ) -> Result<Option<Transferred>, NamespaceError> {
        let Binding::Bound(bound) = look.binding else {
            return Ok(None);
        };
        let shard = self.index_of(asked.source.entry_route());
        if shard != self.index_of(asked.target.entry_route()) {
            return Ok(None);
        }
        let has_record = shard == self.index_of(&bound.object().record_route());
        let is_alone = asked.kind == Kind::Rename && matches!(bound, Bound::Sole { .. });
        if !has_record && !is_alone {
            return Ok(None);
        }
        asked.record = has_record.then(|| bound.object());
        let child = Child::Transfer(asked.clone());
        match self.insert(child, link::Over::Free).await? {
            Inserted::Transferred(transferred) => Ok(Some(*transferred)),
            Inserted::Refused(why) => Err(why),
            Inserted::Apart => Ok(None),
            _ => Err(self
                .fault(&asked.target, "a transfer was not transferred")
                .into()),
        }
    }

    /// By the steps. `None` if others were faster.
    async fn transfer_apart(
        &self,
        asked: &TransferHere,
        look: Look,
    ) -> Result<Option<Transferred>, NamespaceError> {
        let (mut transfer, _) = Transfer::start(asked.kind, asked.token);
        let mut luggage = Luggage::default();
        // The first step has been done.
        let mut reply = Reply::Name(look.binding);
        luggage.read = look.entry;
        let answer = loop {
            let next = transfer
                .on(reply)
                .map_err(|illegal| self.fault(&asked.target, illegal))?;
            let step = match next {
                Next::Send(next, step) => {
                    transfer = next;
                    step
                }
                Next::Again => return Ok(None),
                Next::Answer(answer) => break answer,
            };
            reply = self.transfer_step(asked, step, &mut luggage).await?;
        };
        match answer {
            link::Transferred::Done => {}
            link::Transferred::SourceMissing => return Err(NamespaceError::SourceNotFound),
            link::Transferred::SourceIsDirectory => return Err(NamespaceError::SourceIsDirectory),
            link::Transferred::TargetIsDirectory => return Err(NamespaceError::IsDirectory),
            link::Transferred::Refused => {
                return Err(luggage
                    .refused
                    .unwrap_or_else(|| self.fault(&asked.target, "refused for no reason").into()));
            }
        }
        self.run_soon(luggage.errands).await;
        let (Some(source), Some(after)) = (luggage.pinned, luggage.after) else {
            return Err(self.fault(&asked.target, "nothing was transferred").into());
        };
        Ok(Some(Transferred {
            source,
            before: luggage.before,
            after,
        }))
    }

    /// One step: one transaction in one shard.
    async fn transfer_step(
        &self,
        asked: &TransferHere,
        step: Step,
        luggage: &mut Luggage,
    ) -> Result<Reply, MorayError> {
        let (source, target) = (&asked.source, &asked.target);
        Ok(match step {
            Step::ReadName { side: Side::Source } => {
                let look = self.entry_shard(source).look(source).await?;
                luggage.read = look.entry;
                Reply::Name(look.binding)
            }
            Step::Prepare { seen, token, kind } => {
                Reply::Prepared(self.prepare(asked, seen, (token, kind), luggage).await?)
            }
            Step::Pin {
                object,
                label,
                version,
                token,
                kind,
            } => {
                let claim = Claim {
                    object,
                    label,
                    version,
                    token,
                    kind,
                };
                let shard = self.entry_shard(source);
                let pinned = match luggage.pinned_early.take() {
                    Some(pinned) => pinned,
                    None => shard.pin(source, claim, &asked.source_condition).await?,
                };
                match pinned {
                    Pinned::Pinned(entry) => {
                        luggage.pinned = Some(entry);
                        Reply::Pin(Pin::Pinned)
                    }
                    Pinned::Refused(why) => {
                        luggage.refused = Some(why.into());
                        Reply::Refused
                    }
                    Pinned::OtherVersion { version, copies } => {
                        luggage.copies = copies;
                        Reply::Pin(Pin::OtherVersion(version))
                    }
                    Pinned::Entering { object, token } => {
                        Reply::Pin(Pin::Entering { object, token })
                    }
                    Pinned::Gone => Reply::Pin(Pin::Gone),
                }
            }
            Step::Raise { object, version } => {
                let shard = self.record_shard(object);
                Reply::Held(shard.raise(object, version, &luggage.copies).await?)
            }
            Step::Enter { over, token, .. } => self.enter(asked, over, token, luggage).await?,
            Step::Commit {
                object,
                token,
                label,
            } => {
                let shard = self.record_shard(object);
                let errands = match luggage.committed_early.take() {
                    Some(committed) => committed,
                    None => shard.commit(object, token, label).await?,
                };
                let held = errands.is_some();
                luggage.errands = errands.unwrap_or_default();
                Reply::Held(held)
            }
            step => self.plain_step(Names { source, target }, step).await?,
        })
    }

    async fn prepare(
        &self,
        asked: &TransferHere,
        seen: Bound,
        (token, kind): (Token, Kind),
        luggage: &mut Luggage,
    ) -> Result<Prepared, MorayError> {
        let Some(object) = luggage.read.as_ref().and_then(Entry::object) else {
            return Err(self.fault(&asked.source, "a bound name has no object"));
        };
        let prepare = Prepare {
            source: asked.source.clone(),
            target: asked.target.clone(),
            seen,
            copies: object.copies.clone(),
            creator: object.creator,
            token,
            kind,
            pin: self
                .lie_together(seen.object(), &asked.source)
                .then(|| asked.source_condition.clone()),
        };
        let shard = self.record_shard(seen.object());
        let (prepared, pinned) = shard.prepare(prepare).await?;
        luggage.pinned_early = pinned;
        luggage.label = Some(seen.label());
        Ok(prepared)
    }

    async fn enter(
        &self,
        asked: &TransferHere,
        over: link::Over,
        token: Token,
        luggage: &mut Luggage,
    ) -> Result<Reply, MorayError> {
        let Some(pinned) = &luggage.pinned else {
            return Err(self.fault(&asked.source, "a name is entered before one is pinned"));
        };
        let child = Child::Enter(Enter {
            entry: asked.entry_from(pinned),
            token,
            condition: asked.target_condition.clone(),
            directory_entries_max: asked.directory_entries_max,
            commit: luggage.label.filter(|_| {
                let object = pinned.object().map(|object| object.object_id);
                object.is_some_and(|object| self.lie_together(object, &asked.target))
            }),
        });
        Ok(match self.insert(child, over).await {
            Ok(Inserted::Entered {
                replaced,
                committed,
            }) => {
                luggage.committed_early = committed;
                luggage.before = replaced.before;
                luggage.after = Some(replaced.after);
                Reply::Done
            }
            Ok(Inserted::Busy(binding)) => Reply::Busy(binding),
            Ok(Inserted::Refused(NamespaceError::Moray(error)))
            | Err(NamespaceError::Moray(error)) => return Err(error),
            Ok(Inserted::Refused(why)) | Err(why) => {
                luggage.refused = Some(why);
                Reply::Refused
            }
            Ok(other) => {
                return Err(self.fault(&asked.target, format!("entering came to {other:?}")));
            }
        })
    }

    /// Whether the record of an object lies in the shard of a name, so that two steps can share a transaction.
    fn lie_together(&self, object: ObjectId, name: &ObjectKey) -> bool {
        self.index_of(&object.record_route()) == self.index_of(name.entry_route())
    }

    pub(crate) async fn lookup_entry(&self, key: &ObjectKey) -> Result<Option<Entry>, MorayError> {
        let look = self.entry_shard(key).look(key).await?;
        let found = crate::resolve::Found::new(key, look);
        Ok(self.resolve(vec![found]).await?.pop().flatten())
    }
}
