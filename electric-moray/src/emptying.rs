//! Whether a directory with entries has children: those that nobody sees any more are removed.

use libmanta::ObjectKey;
use libmanta::link::{Child, Emptied, Emptying, Next, Reply, Step};
use libmanta::moray::MorayError;
use libmanta::moray::shard::links::FoundChild;

use crate::attempts::{ATTEMPTS_MAX, pause_before};
use crate::router::Router;
use crate::steps::Names;

impl Router {
    /// Whether nothing keeps `directory` from being removed, at one moment. `Overloaded` when renames into it
    /// do not end.
    pub(crate) async fn empty(&self, directory: &ObjectKey) -> Result<bool, MorayError> {
        let (mut emptying, mut step) = Emptying::start();
        let mut child = directory.clone();
        let mut attempt = 0;
        while attempt < ATTEMPTS_MAX {
            let reply = match step {
                Step::FindChild => match self.row_shard(directory).find_child(directory).await? {
                    FoundChild::None => Reply::Child(Child::None),
                    FoundChild::There => Reply::Child(Child::There),
                    FoundChild::Unresolved(key, binding) => {
                        // They are found by name, and each is gone before the next one. Any number of
                        // children may be left by crashes; only those that come back are others at work.
                        if key <= child {
                            attempt += 1;
                            pause_before(attempt).await;
                        }
                        child = key;
                        Reply::Child(Child::Unresolved(binding))
                    }
                },
                step => self.plain_step(Names::one(&child), step).await?,
            };
            match emptying
                .on(reply)
                .map_err(|illegal| self.fault(directory, illegal))?
            {
                Next::Send(next, next_step) => (emptying, step) = (next, next_step),
                Next::Again => {
                    attempt += 1;
                    pause_before(attempt).await;
                    (emptying, step) = Emptying::start();
                }
                Next::Answer(Emptied::Yes) => return Ok(true),
                Next::Answer(Emptied::No) => return Ok(false),
            }
        }
        Err(self.overloaded(directory))
    }
}
