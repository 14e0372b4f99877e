//! PUT, DELETE, mkdir and metadata updates of a name that links and renames may concern themselves with. One
//! call of one shard, nearly always.

use futures_util::future::BoxFuture;
use libmanta::ObjectKey;
use libmanta::link::{Binding, Next, Over, Overwrite, Reply, Step};
use libmanta::moray::NamespaceError;

use crate::attempts::{ATTEMPTS_MAX, pause_before};
use crate::router::Router;
use crate::steps::Names;

/// What a write came to, or the binding that is in the way.
pub(crate) type Wrote<T> = Result<T, Binding>;

impl Router {
    /// Sends `write` until nobody is in the way. Errors: its own, which end the operation; whatever another
    /// step failed with; `Overloaded` after too many attempts.
    pub(crate) async fn overwrite<'a, T: Send>(
        &'a self,
        key: &'a ObjectKey,
        write: impl Fn(Over) -> BoxFuture<'a, Result<Wrote<T>, NamespaceError>> + Send + Sync,
    ) -> Result<T, NamespaceError> {
        for attempt in 0..ATTEMPTS_MAX {
            pause_before(attempt).await;
            let (mut overwrite, mut step) = Overwrite::start();
            loop {
                let reply = match step {
                    Step::Write { over } => match write(over).await? {
                        Ok(done) => return Ok(done),
                        Err(binding) => Reply::Busy(binding),
                    },
                    step => self.plain_step(Names::one(key), step).await?,
                };
                match overwrite
                    .on(reply)
                    .map_err(|illegal| self.fault(key, illegal))?
                {
                    Next::Send(next, next_step) => (overwrite, step) = (next, next_step),
                    Next::Again => break,
                    Next::Answer(()) => return Err(self.fault(key, "a write is missing").into()),
                }
            }
        }
        Err(self.overloaded(key).into())
    }
}
