//! How many requests are worked on at once, and who waits for a turn. Source: rest-api.md section 12.1.
//!
//! Those who wait are called in turns by the address they come from, so that somebody with a hundred
//! requests does not make somebody with one wait for all of them. When nobody more may wait, the address
//! with the most waiting gives up its latest for one that has fewer. Nobody is known here by anything but
//! the address: this is before authentication.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

#[derive(Debug, Default)]
pub(crate) struct Turnstile {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Zero lets everybody in.
    inside_max: usize,
    waiting_max: usize,
    inside: usize,
    /// Only addresses with somebody waiting; those who gave up are still among them.
    waiting: HashMap<IpAddr, VecDeque<oneshot::Sender<Turn>>>,
    waiting_count: usize,
    /// Each address of `waiting` once, the next one first.
    order: VecDeque<IpAddr>,
}

/// Being inside; left when dropped.
#[derive(Debug)]
pub(crate) struct Turn(Option<Arc<Turnstile>>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turnstile) = self.0.take() {
            turnstile.leave();
        }
    }
}

impl Turnstile {
    /// Waits for a turn. `None` when too many wait already. Whoever stops waiting loses nothing but the
    /// place in the queue.
    pub(crate) async fn enter(self: &Arc<Self>, who: IpAddr) -> Option<Turn> {
        let called = {
            let mut state = self.state();
            if state.waiting_count == 0 && state.has_room() {
                state.inside += 1;
                return Some(Turn(Some(self.clone())));
            }
            state.queue(who)?
        };
        called.await.ok()
    }

    /// Takes effect at once: a higher limit lets in who waits, a lower one waits for who is inside.
    pub(crate) fn set(self: &Arc<Self>, inside_max: usize, waiting_max: usize) {
        let mut state = self.state();
        state.inside_max = inside_max;
        state.waiting_max = waiting_max;
        self.call(&mut state);
    }

    /// How many are inside, and how many wait.
    pub(crate) fn count(&self) -> (usize, usize) {
        let state = self.state();
        (state.inside, state.waiting_count)
    }

    fn leave(self: &Arc<Self>) {
        let mut state = self.state();
        state.inside -= 1;
        self.call(&mut state);
    }

    /// Calls those who wait, as long as there is room.
    fn call(self: &Arc<Self>, state: &mut State) {
        while state.has_room() {
            let Some(next) = state.next() else { return };
            state.inside += 1;
            if let Err(mut unheard) = next.send(Turn(Some(self.clone()))) {
                // Gave up meanwhile. Leaving in the ordinary way would take the lock again.
                unheard.0 = None;
                state.inside -= 1;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.inside_max == 0 || self.inside < self.inside_max
    }

    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let who = self.order.pop_front()?;
        let queue = self.waiting.get_mut(&who)?;
        let first = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&who);
        } else {
            self.order.push_back(who);
        }
        self.waiting_count -= usize::from(first.is_some());
        first
    }

    fn queue(&mut self, who: IpAddr) -> Option<oneshot::Receiver<Turn>> {
        if self.waiting_count >= self.waiting_max {
            self.forget_who_gave_up();
        }
        if self.waiting_count >= self.waiting_max {
            self.make_way_for(who)?;
        }
        let (call, called) = oneshot::channel();
        let queue = self.waiting.entry(who).or_default();
        if queue.is_empty() {
            self.order.push_back(who);
        }
        queue.push_back(call);
        self.waiting_count += 1;
        Some(called)
    }

    fn forget_who_gave_up(&mut self) {
        for queue in self.waiting.values_mut() {
            queue.retain(|call| !call.is_closed());
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
        self.order.retain(|who| self.waiting.contains_key(who));
        self.waiting_count = self.waiting.values().map(VecDeque::len).sum();
    }

    /// Sends away the latest of the longest queue, if it stays at least as long as that of `who` becomes.
    fn make_way_for(&mut self, who: IpAddr) -> Option<()> {
        let own = self.waiting.get(&who).map_or(0, VecDeque::len);
        let (_, longest) = self
            .waiting
            .iter_mut()
            .max_by_key(|(_, queue)| queue.len())?;
        if longest.len() < own + 2 {
            return None;
        }
        longest.pop_back();
        self.waiting_count -= 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn turnstile(inside: usize, waiting: usize) -> Arc<Turnstile> {
        let turnstile = Arc::new(Turnstile::default());
        turnstile.set(inside, waiting);
        turnstile
    }

    type Waiting<'a> = Pin<Box<dyn Future<Output = Option<Turn>> + 'a>>;

    fn ask(turnstile: &Arc<Turnstile>, who: IpAddr) -> Waiting<'_> {
        let mut waiting: Waiting<'_> = Box::pin(turnstile.enter(who));
        assert!(poll(&mut waiting).is_none(), "let in at once");
        waiting
    }

    /// The outer `None`: still waiting; the inner one: sent away.
    fn poll(waiting: &mut Waiting<'_>) -> Option<Option<Turn>> {
        match waiting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Pending => None,
            Poll::Ready(turn) => Some(turn),
        }
    }

    fn enter(turnstile: &Arc<Turnstile>, who: IpAddr) -> Option<Turn> {
        match pin!(turnstile.enter(who)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => panic!("has to wait"),
            Poll::Ready(turn) => turn,
        }
    }

    #[test]
    fn without_a_limit_everybody_is_let_in() {
        let turnstile = turnstile(0, 0);
        let turns: Vec<_> = (0..1000).map(|_| enter(&turnstile, A).unwrap()).collect();
        drop(turns);
        assert_eq!(turnstile.state().inside, 0);
    }

    #[test]
    fn addresses_take_turns() {
        let turnstile = turnstile(1, 10);
        let inside = enter(&turnstile, A).unwrap();
        let mut many: Vec<_> = (0..3).map(|_| ask(&turnstile, A)).collect();
        let mut one = ask(&turnstile, B);
        drop(inside);
        let first = poll(&mut many[0]).unwrap().unwrap();
        assert!(poll(&mut many[1]).is_none() && poll(&mut one).is_none());
        drop(first);
        assert!(poll(&mut many[1]).is_none());
        drop(poll(&mut one).unwrap().unwrap());
        drop(poll(&mut many[1]).unwrap().unwrap());
        drop(poll(&mut many[2]).unwrap().unwrap());
        let state = turnstile.state();
        assert_eq!((state.inside, state.waiting_count), (0, 0));
        assert!(state.order.is_empty() && state.waiting.is_empty());
    }

    #[test]
    fn when_nobody_more_may_wait_the_longest_queue_gives_way() {
        let turnstile = turnstile(1, 3);
        let inside = enter(&turnstile, A).unwrap();
        let mut many: Vec<_> = (0..3).map(|_| ask(&turnstile, A)).collect();
        assert!(
            enter(&turnstile, A).is_none(),
            "its own queue is the longest"
        );
        let mut one = ask(&turnstile, B);
        assert!(poll(&mut many[2]).unwrap().is_none(), "sent away");
        // Two against one: nobody is worse off than the newcomer would be.
        assert!(enter(&turnstile, B).is_none());
        drop(inside);
        drop(poll(&mut many[0]).unwrap().unwrap());
        drop(poll(&mut one).unwrap().unwrap());
    }

    #[test]
    fn who_gives_up_neither_holds_a_place_nor_a_turn() {
        let turnstile = turnstile(1, 2);
        let inside = enter(&turnstile, A).unwrap();
        drop((ask(&turnstile, A), ask(&turnstile, A)));
        let mut patient = ask(&turnstile, A);
        let called_and_gone = ask(&turnstile, A);
        drop(inside);
        let turn = poll(&mut patient).unwrap().unwrap();
        drop(turn);
        // It has been called, and never looks.
        assert_eq!(turnstile.state().inside, 1);
        drop(called_and_gone);
        assert_eq!(turnstile.state().inside, 0);
        drop(enter(&turnstile, B).unwrap());
    }

    #[test]
    fn limits_change_while_people_wait() {
        let turnstile = turnstile(1, 5);
        let inside = enter(&turnstile, A).unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| ask(&turnstile, A)).collect();
        turnstile.set(3, 5);
        let mut turns: Vec<_> = waiting[..2]
            .iter_mut()
            .map(|w| poll(w).unwrap().unwrap())
            .collect();
        turnstile.set(1, 5);
        drop(inside);
        turns.pop();
        assert!(poll(&mut waiting[2]).is_none(), "one is still inside");
        turns.pop();
        assert!(poll(&mut waiting[2]).unwrap().is_some());
    }
}
