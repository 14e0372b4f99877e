//! Whether a directory with entries has children: those that nobody sees any more are removed.

use libmanta::ObjectKey;
use libmanta::link::{Child, Emptied, Emptying, Next, Reply, Step};
use libmanta::moray::MorayError;
use libmanta::moray::shard::links::FoundChild;

use crate::router::Router;
use crate::steps::Names;

impl Router {
    /// Whether nothing keeps `directory` from being removed, at one moment.
    pub(crate) async fn empty(&self, directory: &ObjectKey) -> Result<bool, MorayError> {
        let (mut emptying, mut step) = Emptying::start();
        let mut child = directory.clone();
        loop {
            let reply = match step {
                Step::FindChild => match self.row_shard(directory).find_child(directory).await? {
                    FoundChild::None => Reply::Child(Child::None),
                    FoundChild::There => Reply::Child(Child::There),
                    FoundChild::Unresolved(key, binding) => {
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
                Next::Again => (emptying, step) = Emptying::start(),
                Next::Answer(Emptied::Yes) => return Ok(true),
                Next::Answer(Emptied::No) => return Ok(false),
            }
        }
    }
}
