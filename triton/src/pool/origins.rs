//! Zygotes of imported images: started for the first task that wants one, and stopped when none has wanted it
//! for a while. Until then zones of the image stay ready; each of them is in the place of a zone of the host,
//! so that images cost no more than their zygote.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libmanta::triton::ZoneError;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::{Empty, Pool, State};
use crate::library::ImageId;
use crate::origin::Origin;

pub(super) type Origins = HashMap<ImageId, Wanted>;

/// An image that was asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    origin: Arc<OnceCell<Arc<Origin>>>,
    last: Instant,
}

impl Pool {
    /// The origin of an image, started if it has to be. Cancel-safe.
    pub(crate) async fn origin(&self, image: ImageId) -> Result<Arc<Origin>, ZoneError> {
        let cell = {
            let mut state = self.lock();
            if state.closed {
                return Err(ZoneError::ShutDown);
            }
            let wanted = state
                .origins
                .entry(image.clone())
                .or_insert_with(|| Wanted {
                    origin: Arc::default(),
                    last: Instant::now(),
                });
            wanted.last = Instant::now();
            Arc::clone(&wanted.origin)
        };
        let start = async {
            let images = Arc::clone(&self.images);
            let started = self.tasks.spawn_blocking(move || images.start(&image));
            let started = started.await.map_err(|error| ZoneError::Io {
                during: "start the zygote of an image",
                source: io::Error::other(error),
            })??;
            Ok(Arc::new(started))
        };
        cell.get_or_try_init(|| start).await.cloned()
    }

    /// Gives back, every while, the zones of images that nobody has wanted for `idle`, until `shutdown`.
    pub(crate) async fn give_back(self: Arc<Self>, idle: Duration, shutdown: CancellationToken) {
        let pause = (idle / 2).clamp(Duration::from_millis(10), Duration::from_secs(5));
        while tokio::time::timeout(pause, shutdown.cancelled())
            .await
            .is_err()
        {
            let (origins, zones) = self.take_idle(idle);
            for zone in zones {
                self.recycle(
                    zone.slot,
                    Some(zone.live),
                    self.usual(Arc::clone(&self.host)),
                    None,
                );
            }
            for origin in origins {
                tracing::info!(image = ?origin.image, "image not in use any more");
                self.tasks.spawn_blocking(move || origin.stop());
            }
        }
    }

    fn take_idle(&self, idle: Duration) -> (Vec<Arc<Origin>>, VecDeque<Empty>) {
        let mut state = self.lock();
        let State { origins, ready, .. } = &mut *state;
        let mut given_back = Vec::new();
        origins.retain(|_, wanted| {
            let Some(origin) = wanted.origin.get() else {
                // Being started, or it could not be.
                return Arc::strong_count(&wanted.origin) > 1 || wanted.last.elapsed() < idle;
            };
            let at_rest = ready
                .iter()
                .filter(|zone| Arc::ptr_eq(&zone.origin, origin))
                .count();
            // Ours, and those of the zones that are ready; all others are in use or will be.
            if Arc::strong_count(origin) > 1 + at_rest {
                wanted.last = Instant::now();
            }
            let stays = wanted.last.elapsed() < idle || Arc::strong_count(&wanted.origin) > 1;
            if !stays {
                given_back.push(Arc::clone(origin));
            }
            stays
        });
        let is_idle = |zone: &Empty| {
            given_back
                .iter()
                .any(|idle| Arc::ptr_eq(idle, &zone.origin))
        };
        let (zones, rest) = std::mem::take(ready).into_iter().partition(is_idle);
        *ready = rest;
        (given_back, zones)
    }

    /// Every zygote there is, to be stopped when no zone is left.
    pub(crate) fn take_origins(&self) -> Vec<Arc<Origin>> {
        let wanted = std::mem::take(&mut self.lock().origins);
        let started = wanted
            .into_values()
            .filter_map(|wanted| wanted.origin.get().cloned());
        started.chain([Arc::clone(&self.host)]).collect()
    }
}
