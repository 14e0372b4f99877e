//! How much may be asked for in a second: by everybody together, and by each.
//!
//! What each has is taken from the account, or from an address that says nothing about itself. An address that
//! claims to be somebody and cannot show it spends an allowance of its own for that, of the same size, and
//! while there is nothing left of it no claim from there is looked at.
//!
//! A rate of `n` lets `n` requests through at once and then one every `n`th of a second, so whoever is
//! refused need never wait longer than a second; only an address that fails many times at once owes for all of
//! them, though never for more than five seconds, or it could guess as often as it has connections. A token of
//! ours is no guess: it neither spends that allowance nor needs it. What is kept is one point in time for each rate and
//! asker, and no more askers than [`ASKERS_MAX`]: beyond that the rest share one allowance.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Method;
use libmanta::AccountId;
use tokio::time::Instant;

use crate::errors::{Error, Result};
use crate::router::Route;
use crate::turnstile::{Turn, Turnstile};

/// Some hundred bytes for each. Who has asked for nothing in the last second is not among them.
const ASKERS_MAX: usize = 8192;

const SECOND_NANOS: u64 = 1_000_000_000;

/// Longest that an address which failed is not looked at: others may have the same one.
const DEBT_MAX_NANOS: u64 = 5 * SECOND_NANOS;

/// What may be asked of a store. Zero is no limit. Changes take effect with the next request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// Requests worked on at once, whoever they come from; those that wait for their client's bytes, or
    /// for their client to take some, do not count.
    pub concurrency: usize,
    /// Requests that may wait for their turn; further ones are refused.
    pub queue_max: usize,
    /// All requests together.
    pub all: Rates,
    /// Those of one account, or of one address that says nothing about itself.
    pub each: Rates,
    /// By login, instead of `each`.
    pub accounts: BTreeMap<String, Rates>,
}

/// Requests in a second, by class of operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of whatever class.
    pub requests: u32,
    /// `GET`, `HEAD`, `OPTIONS`.
    pub reads: u32,
    /// Everything else in the tree.
    pub writes: u32,
    /// What is asked of jobs, reading or not.
    pub jobs: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Read,
    Write,
    Job,
}

impl Class {
    pub(crate) fn of(route: &Route, method: &Method) -> Self {
        match (route, method) {
            (Route::Jobs(_) | Route::Attach { .. }, _) => Self::Job,
            (_, &Method::GET | &Method::HEAD | &Method::OPTIONS) => Self::Read,
            _ => Self::Write,
        }
    }
}

impl Rates {
    fn is_open(&self) -> bool {
        *self == Self::default()
    }

    fn of(&self, class: Class) -> u32 {
        match class {
            Class::Read => self.reads,
            Class::Write => self.writes,
            Class::Job => self.jobs,
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    Account(AccountId),
    Address(IpAddr),
}

impl Asker {
    pub(crate) fn address(address: IpAddr) -> Self {
        Self::Address(network(address))
    }
}

/// Whoever has one address of the sixth version has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[derive(Debug)]
pub(crate) struct Throttling {
    turnstile: Arc<Turnstile>,
    begun: Instant,
    rated: Mutex<Rated>,
}

#[derive(Debug, Default)]
struct Rated {
    settings: Arc<Throttle>,
    all: Meters,
    askers: HashMap<Asker, Meters>,
    /// Of those who are not among the askers, because these are too many.
    others: Meters,
    /// Of networks that could not show who they are. Beyond as many as there may be askers nobody else is
    /// held to it: some more guesses are better than nobody who is let in.
    failing: HashMap<IpAddr, Meters>,
}

/// When the allowance of each rate is whole again, in nanoseconds since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Meters {
    requests: u64,
    reads: u64,
    writes: u64,
    jobs: u64,
}

impl Throttling {
    pub(crate) fn new(settings: Throttle) -> Self {
        let throttling = Self {
            turnstile: Arc::default(),
            begun: Instant::now(),
            rated: Mutex::default(),
        };
        throttling.set(settings);
        throttling
    }

    pub(crate) fn set(&self, settings: Throttle) {
        self.turnstile.set(settings.concurrency, settings.queue_max);
        self.rated().settings = Arc::new(settings);
    }

    pub(crate) fn settings(&self) -> Arc<Throttle> {
        self.rated().settings.clone()
    }

    /// For the metrics.
    pub(crate) fn render(&self, out: &mut String) {
        let (inside, waiting) = self.turnstile.count();
        for (name, value) in [
            ("muskie_requests_inside", inside),
            ("muskie_requests_waiting", waiting),
        ] {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "# TYPE {name} gauge\n{name} {value}");
        }
    }

    /// Before anybody is known: waits until fewer requests are worked on.
    pub(crate) async fn enter(&self, from: IpAddr) -> Result<Turn> {
        let turn = self.turnstile.enter(network(from)).await;
        turn.ok_or(Error::Throttled)
    }

    /// Before somebody's claim to be somebody is looked at: whether the address has not failed too often.
    pub(crate) fn may_try(&self, from: IpAddr, class: Class) -> Result<()> {
        match self.rated().may_try(network(from), class, self.now()) {
            true => Ok(()),
            false => Err(Error::Throttled),
        }
    }

    /// The claim was false.
    pub(crate) fn failed(&self, from: IpAddr, class: Class) {
        self.rated().failed(network(from), class, self.now());
    }

    /// `login` is that of an account.
    pub(crate) fn check(&self, asker: Asker, login: Option<&str>, class: Class) -> Result<()> {
        match self.rated().take(asker, login, class, self.now()) {
            true => Ok(()),
            false => Err(Error::Throttled),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn rated(&self) -> MutexGuard<'_, Rated> {
        self.rated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rated {
    fn take(&mut self, asker: Asker, login: Option<&str>, class: Class, now: u64) -> bool {
        let settings = self.settings.clone();
        let own = login.and_then(|login| settings.accounts.get(login));
        let each = own.unwrap_or(&settings.each);
        if settings.all.is_open() && each.is_open() {
            return true;
        }
        // What is refused for one reason does not count for another.
        let mut all = self.all;
        if !all.take(&settings.all, class, now) {
            return false;
        }
        if !each.is_open() && !self.meters(asker, now).take(each, class, now) {
            return false;
        }
        self.all = all;
        true
    }

    fn may_try(&self, from: IpAddr, class: Class, now: u64) -> bool {
        let meters = self.failing.get(&from).copied();
        meters.is_none_or(|mut meters| meters.take(&self.settings.each, class, now))
    }

    fn failed(&mut self, from: IpAddr, class: Class, now: u64) {
        if self.settings.each.is_open() {
            return;
        }
        if self.failing.len() >= ASKERS_MAX && !self.failing.contains_key(&from) {
            self.failing.retain(|_, meters| !meters.are_whole(now));
            if self.failing.len() >= ASKERS_MAX {
                return;
            }
        }
        let meters = self.failing.entry(from).or_default();
        meters.owe(&self.settings.each, class, now);
    }

    fn meters(&mut self, asker: Asker, now: u64) -> &mut Meters {
        if self.askers.len() >= ASKERS_MAX && !self.askers.contains_key(&asker) {
            self.askers.retain(|_, meters| !meters.are_whole(now));
            if self.askers.len() >= ASKERS_MAX {
                return &mut self.others;
            }
        }
        self.askers.entry(asker).or_default()
    }
}

impl Meters {
    fn of(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Read => &mut self.reads,
            Class::Write => &mut self.writes,
            Class::Job => &mut self.jobs,
        }
    }

    /// Takes what may not be there.
    fn owe(&mut self, rates: &Rates, class: Class, now: u64) {
        let most = now.saturating_add(DEBT_MAX_NANOS);
        self.requests = after(self.requests, rates.requests, now).min(most);
        let of_class = self.of(class);
        *of_class = after(*of_class, rates.of(class), now).min(most);
    }

    fn take(&mut self, rates: &Rates, class: Class, now: u64) -> bool {
        let (Some(requests), Some(of_class)) = (
            allowed(self.requests, rates.requests, now),
            allowed(*self.of(class), rates.of(class), now),
        ) else {
            return false;
        };
        self.requests = requests;
        *self.of(class) = of_class;
        true
    }

    /// Nothing is lost when they are forgotten.
    fn are_whole(&self, now: u64) -> bool {
        [self.requests, self.reads, self.writes, self.jobs]
            .iter()
            .all(|whole| *whole <= now)
    }
}

/// When the allowance is whole again after one more request.
fn after(whole: u64, rate: u32, now: u64) -> u64 {
    match SECOND_NANOS.checked_div(rate.into()) {
        None => whole,
        Some(apart) => whole.max(now).saturating_add(apart.max(1)),
    }
}

/// The same; `None` if there is none left.
fn allowed(whole: u64, rate: u32, now: u64) -> Option<u64> {
    let after = after(whole, rate, now);
    (rate == 0 || after.saturating_sub(now) <= SECOND_NANOS).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Option<&str> = Some("alice");

    fn rated(settings: Throttle) -> Rated {
        Rated {
            settings: Arc::new(settings),
            ..Rated::default()
        }
    }

    fn requests(requests: u32) -> Rates {
        Rates {
            requests,
            ..Rates::default()
        }
    }

    fn somebody() -> Asker {
        Asker::Account(AccountId::random())
    }

    #[test]
    fn a_rate_allows_a_second_at_once_and_then_comes_back() {
        let mut rated = rated(Throttle {
            each: requests(10),
            ..Throttle::default()
        });
        let alice = somebody();
        let mut take = |now| rated.take(alice, ALICE, Class::Read, now);
        let start = 5 * SECOND_NANOS;
        assert!((0..10).all(|_| take(start)));
        assert!(!take(start));
        assert!(!take(start + SECOND_NANOS / 10 - 1));
        assert!(take(start + SECOND_NANOS / 10));
        assert!(!take(start + SECOND_NANOS / 10));
        // Being refused costs nothing: a second later everything is there again.
        assert!((0..10).all(|_| take(start + 2 * SECOND_NANOS)));
        assert!(!take(start + 2 * SECOND_NANOS));
    }

    #[test]
    fn who_asks_much_does_not_take_it_from_others() {
        let mut rated = rated(Throttle {
            each: requests(2),
            all: requests(100),
            ..Throttle::default()
        });
        let (alice, bob) = (somebody(), Asker::address([10, 0, 0, 1].into()));
        let let_in = (0..1000).filter(|_| rated.take(alice, ALICE, Class::Read, 0));
        assert_eq!(let_in.count(), 2);
        // What was refused to alice has not been taken from the allowance of all.
        assert!(rated.take(bob, None, Class::Read, 0));
        let crowd = (0..1000).filter(|_| rated.take(somebody(), None, Class::Read, 0));
        assert_eq!(crowd.count(), 97);
    }

    #[test]
    fn classes_are_counted_apart_and_together() {
        let mut rated = rated(Throttle {
            each: Rates {
                requests: 5,
                reads: 0,
                writes: 2,
                jobs: 1,
            },
            ..Throttle::default()
        });
        let alice = somebody();
        let mut take = |class| rated.take(alice, ALICE, class, 0);
        assert!(take(Class::Write) && take(Class::Write) && !take(Class::Write));
        assert!(take(Class::Job) && !take(Class::Job));
        assert!(take(Class::Read) && take(Class::Read) && !take(Class::Read));
    }

    #[test]
    fn an_account_may_have_rates_of_its_own() {
        let mut rated = rated(Throttle {
            each: requests(1),
            accounts: [("alice".to_owned(), requests(3))].into(),
            ..Throttle::default()
        });
        let (alice, bob) = (somebody(), somebody());
        let count = |rated: &mut Rated, who, login| {
            (0..9)
                .filter(|_| rated.take(who, login, Class::Read, 0))
                .count()
        };
        assert_eq!(count(&mut rated, alice, ALICE), 3);
        assert_eq!(count(&mut rated, bob, Some("bob")), 1);
        // Lifted while running.
        rated.settings = Arc::default();
        assert_eq!(count(&mut rated, bob, Some("bob")), 9);
    }

    #[test]
    fn memory_is_bounded_and_the_crowd_shares() {
        let mut rated = rated(Throttle {
            each: requests(1),
            ..Throttle::default()
        });
        let address = |n: u32| Asker::address(IpAddr::V4(n.into()));
        let count = u32::try_from(ASKERS_MAX).unwrap();
        assert!((0..count).all(|n| rated.take(address(n), None, Class::Read, 1)));
        let more = (count..2 * count).filter(|n| rated.take(address(*n), None, Class::Read, 1));
        assert_eq!(more.count(), 1);
        assert_eq!(rated.askers.len(), ASKERS_MAX);
        // Those who are known keep what is theirs, and a second later there is room.
        assert!(!rated.take(address(0), None, Class::Read, 2));
        assert!(rated.take(address(count), None, Class::Read, 2 + SECOND_NANOS));
        assert_eq!(rated.askers.len(), 1);
    }

    #[test]
    fn one_network_of_the_sixth_version_is_one_asker() {
        let asker = |text: &str| Asker::address(text.parse().unwrap());
        assert_eq!(asker("2001:db8::1"), asker("2001:db8::ffff:1"));
        assert_ne!(asker("2001:db8::1"), asker("2001:db8:0:1::1"));
        assert_ne!(asker("10.0.0.1"), asker("10.0.0.2"));
    }

    #[test]
    fn addresses_that_fail_are_not_looked_at_for_a_while() {
        let mut rated = rated(Throttle {
            each: requests(4),
            ..Throttle::default()
        });
        let [guesser, other] = [1, 2].map(|n| IpAddr::V4(n.into()));
        for _ in 0..4 {
            assert!(rated.may_try(guesser, Class::Read, 0));
            rated.failed(guesser, Class::Read, 0);
        }
        assert!(!rated.may_try(guesser, Class::Read, 0));
        // Neither others nor those of there who claim nothing are concerned, and success costs nothing.
        assert!((0..9).all(|_| rated.may_try(other, Class::Read, 0)));
        assert!(rated.take(Asker::address(guesser), None, Class::Read, 0));
        assert!(rated.may_try(guesser, Class::Read, SECOND_NANOS / 4));
        // Many at once are paid for one by one, up to a limit.
        for (failures, seconds) in [(12, 3), (400, 5)] {
            for _ in 0..failures {
                rated.failed(other, Class::Read, 0);
            }
            let whole = seconds * SECOND_NANOS;
            assert!(!rated.may_try(other, Class::Read, whole - SECOND_NANOS * 3 / 4 - 1));
            assert!(rated.may_try(other, Class::Read, whole - SECOND_NANOS * 3 / 4));
        }
        // Lifted while running.
        rated.failed(guesser, Class::Read, SECOND_NANOS);
        rated.settings = Arc::default();
        rated.failed(guesser, Class::Read, SECOND_NANOS);
        assert!(rated.may_try(guesser, Class::Read, SECOND_NANOS));
    }

    #[test]
    fn what_is_kept_of_failures_is_bounded() {
        let mut rated = rated(Throttle {
            each: requests(1),
            ..Throttle::default()
        });
        let count = u32::try_from(ASKERS_MAX).unwrap();
        for n in 0..2 * count {
            rated.failed(IpAddr::V4(n.into()), Class::Read, 1);
        }
        assert_eq!(rated.failing.len(), ASKERS_MAX);
        // Nobody pays for others.
        assert!(!rated.may_try(IpAddr::V4(0.into()), Class::Read, 1));
        assert!(rated.may_try(IpAddr::V4(count.into()), Class::Read, 1));
        rated.failed(IpAddr::V4(count.into()), Class::Read, 2 * SECOND_NANOS);
        assert_eq!(rated.failing.len(), 1);
    }

    #[test]
    fn extreme_rates_do_no_harm() {
        for rate in [1, u32::MAX] {
            let whole = allowed(u64::MAX / 2, rate, u64::MAX / 2).unwrap();
            assert!(whole > u64::MAX / 2);
        }
    }
}
