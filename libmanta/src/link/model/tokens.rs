//! Renaming of tokens: states that differ only by them are one.

use super::work::Work;
use super::{Directory, Name, Process, Row, State};
use crate::link::resolve::Resolve;
use crate::link::{
    Audit, Binding, Bound, Child, Emptying, Errand, Lookup, Over, Overwrite, Pin, Record, Reply,
    Running as Runner, Standing, Step, Transfer, emptying, lookup, overwrite, transfer,
};
use crate::namespace::{self, Mark, Row as DirectoryRow, Slot, Token};

/// Something that holds tokens.
pub(super) trait Tokens {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token));
}

impl Tokens for Token {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        f(self);
    }
}

impl<T: Tokens> Tokens for Option<T> {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        if let Some(inner) = self {
            inner.each(f);
        }
    }
}

impl<T: Tokens> Tokens for [T] {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        for inner in self {
            inner.each(f);
        }
    }
}

impl Tokens for Bound {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        match self {
            Self::Sole { label, .. } => f(label),
            Self::Linked { label, pin, .. } => {
                f(label);
                pin.each(f);
            }
        }
    }
}

impl Tokens for Binding {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        match self {
            Self::Missing | Self::Directory => {}
            Self::Bound(bound) => bound.each(f),
            Self::Entering { token, before, .. } => {
                f(token);
                before.each(f);
            }
        }
    }
}

impl Tokens for Name {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        self.binding.each(f);
    }
}

impl Tokens for Record<u8> {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        for reference in &mut self.references {
            f(&mut reference.label);
            if let Standing::Pending { from, .. } = &mut reference.standing {
                f(from);
            }
        }
    }
}

impl Tokens for Over {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        if let Self::Exactly { binding, .. } = self {
            binding.each(f);
        }
    }
}

impl Tokens for Step {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        match self {
            Self::ReadName { .. } | Self::FindChild | Self::Raise { .. } => {}
            Self::Write { over } => over.each(f),
            Self::Pin { label, token, .. } | Self::Commit { token, label, .. } => {
                f(label);
                f(token);
            }
            Self::Enter { over, token, .. } => {
                over.each(f);
                f(token);
            }
            Self::Prepare { seen, token, .. } => {
                seen.each(f);
                f(token);
            }
            Self::Leave { token, .. } | Self::Settle { token, .. } | Self::Abort { token, .. } => {
                f(token);
            }
            Self::EraseName { label, .. }
            | Self::ReadRecord { label, .. }
            | Self::CutOff { label, .. }
            | Self::Drop { label, .. }
            | Self::ForgetMoved { label, .. } => f(label),
        }
    }
}

impl Tokens for Errand<u8> {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        match self {
            Self::Drop { label, .. } | Self::Erase { label, .. } => f(label),
            Self::Settle { token, .. } => f(token),
        }
    }
}

impl Tokens for Row {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        match self {
            Self::Bytes { .. } => {}
            Self::Errand { errand, running } => {
                errand.each(f);
                if let Some((Runner::EraseName { label, .. }, step)) = running {
                    f(label);
                    step.each(f);
                } else if let Some((Runner::Last, step)) = running {
                    step.each(f);
                }
            }
        }
    }
}

impl Tokens for Resolve {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        f(&mut self.token);
    }
}

impl Tokens for transfer::Claim {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        f(&mut self.label);
    }
}

impl Tokens for Transfer {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        use transfer::Waiting as W;
        f(&mut self.token);
        match &mut self.waits_for {
            W::Source | W::GiveUp(_) | W::DropSource => {}
            W::ResolveSource(resolve) => resolve.each(f),
            W::Prepare(bound) => bound.each(f),
            W::Pin(claim)
            | W::Raise(claim)
            | W::Target(claim)
            | W::Enter(claim)
            | W::Commit(claim)
            | W::Undo(claim)
            | W::GiveUpSource(claim) => claim.each(f),
            W::ResolvePinned(claim, resolve) | W::ResolveTarget(claim, resolve) => {
                claim.each(f);
                resolve.each(f);
            }
            W::CutOff(claim, binding) => {
                claim.each(f);
                binding.each(f);
            }
        }
    }
}

impl Tokens for Overwrite {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        use overwrite::Waiting as W;
        match &mut self.0 {
            W::Write(over) => over.each(f),
            W::CutOff(binding) => binding.each(f),
            W::Resolve(resolve) => resolve.each(f),
        }
    }
}

impl Tokens for Lookup {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        use lookup::Waiting as W;
        match &mut self.0 {
            W::Name | W::Label(_) => {}
            W::Token(entering) | W::NameAgain(entering) => {
                f(&mut entering.token);
                entering.before.each(f);
            }
        }
    }
}

impl Tokens for Emptying {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        use emptying::Waiting as W;
        match &mut self.0 {
            W::Child | W::Erase => {}
            W::Resolve(resolve) => resolve.each(f),
            W::Moving { label, .. } => f(label),
        }
    }
}

impl Tokens for Audit {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        match self {
            Self::Name { label, .. } => f(label),
            Self::Abort { token, .. } => f(token),
            Self::Remove => {}
        }
    }
}

impl Tokens for Reply {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        match self {
            Self::Name(binding) | Self::Busy(binding) => binding.each(f),
            Self::Pin(Pin::Entering { token, .. }) => f(token),
            Self::Child(Child::Unresolved(binding)) => binding.each(f),
            Self::Standing(Some(Standing::Pending { from, .. })) => f(from),
            Self::Child(Child::None | Child::There)
            | Self::Standing(Some(Standing::Live | Standing::Moved) | None)
            | Self::Pin(Pin::Pinned | Pin::OtherVersion(_) | Pin::Gone)
            | Self::Done
            | Self::Refused
            | Self::Prepared(_)
            | Self::Held(_) => {}
        }
    }
}

/// The directory protocol renames its own.
struct Other<'a, T>(&'a mut T);

impl Tokens for Other<'_, namespace::Coordinator> {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        self.0.map_tokens(&mut |token| mapped(f, token));
    }
}

impl Tokens for Other<'_, namespace::Step> {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        self.0.map_tokens(&mut |token| mapped(f, token));
    }
}

fn mapped(f: &mut dyn FnMut(&mut Token), token: Token) -> Token {
    let mut token = token;
    f(&mut token);
    token
}

impl Tokens for Work {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        match self {
            Self::Transfer(coordinator, step) => {
                coordinator.each(f);
                step.each(f);
            }
            Self::Overwrite(coordinator, step) => {
                coordinator.each(f);
                step.each(f);
            }
            Self::Lookup(coordinator, step) => {
                coordinator.each(f);
                step.each(f);
            }
            Self::Emptying(coordinator, step) => {
                coordinator.each(f);
                step.each(f);
            }
            Self::Audit(coordinator, step) => {
                coordinator.each(f);
                step.each(f);
            }
            Self::Remove(coordinator, step) => {
                Other(coordinator).each(f);
                Other(step).each(f);
            }
            Self::Repair { bound, .. } => bound.each(f),
            Self::Page {
                page,
                snapshot,
                unread,
            } => {
                page.each(f);
                for (_, label) in unread {
                    f(label);
                }
                snapshot.known = std::mem::take(&mut snapshot.known)
                    .into_iter()
                    .map(|((object, mut label, entering), committed)| {
                        f(&mut label);
                        ((object, label, entering), committed)
                    })
                    .collect();
            }
            Self::Atomic => {}
        }
    }
}

impl Tokens for Process {
    fn each(&mut self, f: &mut dyn FnMut(&mut Token)) {
        if let Self::Running(running) = self {
            running.work.each(f);
            running.memo.reply.each(f);
            if let Some((coordinator, step)) = &mut running.inner {
                Other(coordinator).each(f);
                Other(step).each(f);
            }
        }
    }
}

impl State {
    fn map_tokens(&mut self, f: &mut dyn FnMut(&mut Token)) {
        self.names.each(f);
        for record in &mut self.records {
            record.each(f);
        }
        self.log.each(f);
        self.processes.each(f);
        for (_, step) in &mut self.strays {
            step.each(f);
        }
        if let Some(Directory { row, slot }) = &mut self.directory {
            if let DirectoryRow::Probing(token) | DirectoryRow::Closing(token) = row {
                f(token);
            }
            if let Slot::Directory(Mark::Deleting(token)) = slot {
                f(token);
            }
        }
    }

    /// A token that nobody holds is as good as one never used: only equality matters.
    pub(super) fn fresh_token(&self) -> Token {
        let mut used = 0_u128;
        self.clone()
            .map_tokens(&mut |token| used |= 1 << token.to_bits());
        Token::from_bits(u128::from(used.trailing_ones()))
    }

    /// Numbers tokens in order of appearance, and forgets what order has no meaning.
    pub(super) fn normalize(&mut self) {
        let mut seen: Vec<Token> = Vec::new();
        self.map_tokens(&mut |token| {
            let index = seen.iter().position(|t| t == token).unwrap_or_else(|| {
                seen.push(*token);
                seen.len() - 1
            });
            *token = Token::from_bits(index as u128);
        });
        for record in self.records.iter_mut().flatten() {
            record.references.sort_unstable();
        }
        self.log.sort_unstable();
        self.log.dedup();
    }
}
