//! Who is connected, and who has to leave when others need the room.
//!
//! In: connections as they come and go, and what each waits for. Out: a place for every newcomer,
//! at the cost of whoever has kept the server waiting longest. Knows nothing of what a connection
//! carries.
//!
//! A newcomer is never refused while somebody else only waits: else whoever opens every connection
//! there is and says nothing would lock all others out (NT-03). An honest client asks at once and
//! is answered within milliseconds, so those who have waited longest are idle, slow or hostile; and
//! an idle one may be closed at any time (RFC 9112, 9.3).

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{allowance::Allowance, pace::Pace};

/// The open connections of one port.
#[derive(Debug)]
pub(super) struct Crowd {
    began: Instant,
    places: Arc<Semaphore>,
    /// How many leave at once where one has to: one look at all of them serves many newcomers.
    leave_at_once: usize,
    members: Mutex<HashMap<u64, Arc<Member>>>,
    next_number: AtomicU64,
    held_bytes: AtomicUsize,
    relieved_at_us: AtomicU64,
    requests: AtomicUsize,
    /// Connections that have some of these.
    asking: AtomicUsize,
    warned_at_s: AtomicU64,
    /// Bytes that belong to no request.
    noise: Arc<Pace>,
    /// Clients found out to be none.
    nuisances: Pace,
}

/// One connection, as long as this is kept.
#[derive(Debug)]
pub(super) struct Place {
    member: Arc<Member>,
    number: u64,
    _place: OwnedSemaphorePermit,
}

/// What is known of one connection.
#[derive(Debug)]
pub(super) struct Member {
    crowd: Arc<Crowd>,
    /// Microseconds after the crowd began: the connection opened, or its last answer went out.
    moved_us: AtomicU64,
    /// As that: the client took some of an answer; zero if it never has.
    took_us: AtomicU64,
    /// Requests that are whole and not answered yet: these wait for us.
    at_work: AtomicUsize,
    held_bytes: AtomicUsize,
    /// Begun, whole or not, and not answered.
    requests: AtomicUsize,
    standing: Mutex<Standing>,
    leave: Notify,
    pub(super) allowance: Allowance,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    Served,
    /// It was told to end, and why.
    Leaving(Ended),
    /// Nobody serves it any more; only its place is still taken.
    Detained,
}

/// Why a connection is ended before its client ends it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("its place was needed")]
    PlaceNeeded,
    #[error("too much had to be kept for it")]
    HeldTooMuch,
    #[error("nothing was asked or taken for too long")]
    Idle,
}

impl Crowd {
    /// An empty one, with room for `open` connections.
    pub(super) fn new(open: usize) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            places: Arc::new(Semaphore::new(open)),
            leave_at_once: open.div_ceil(LEAVING_SHARE),
            members: Mutex::default(),
            next_number: AtomicU64::new(0),
            held_bytes: AtomicUsize::new(0),
            relieved_at_us: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            asking: AtomicUsize::new(0),
            warned_at_s: AtomicU64::new(0),
            noise: Arc::new(Pace::new(NOISE_BYTES, NOISE_BYTES_A_SECOND)),
            nuisances: Pace::new(NUISANCES, NUISANCES_A_SECOND),
        })
    }

    /// Resolves as soon as another newcomer may be met: at once, unless too many were found out to
    /// be no clients. Whoever breaks a bound and comes back at once then waits in the kernel, where
    /// it costs nothing.
    pub(super) async fn may_come(&self) {
        while self.nuisances.is_used_up(Instant::now()) {
            sleep(LOOK_AGAIN).await;
        }
    }

    /// A place for a newcomer, as soon as somebody has left for it where all are taken.
    pub(super) async fn admit(self: &Arc<Self>, patience: Duration) -> io::Result<Place> {
        loop {
            let place = Arc::clone(&self.places);
            if let Ok(place) = place.try_acquire_owned() {
                return Ok(self.seat(place, patience));
            }
            self.make_room();
            // Nobody may have been waiting: look again soon.
            let place = Arc::clone(&self.places).acquire_owned();
            if let Ok(place) = timeout(LOOK_AGAIN, place).await {
                return Ok(self.seat(place.map_err(io::Error::other)?, patience));
            }
        }
    }

    /// Sends some of those away that have waited longest.
    pub(super) fn make_room(&self) {
        self.warn();
        let members = self.members();
        let leaving = members.values().filter(|member| member.is_leaving()).count();
        let now_us = self.now_us();
        let staying = members.values().filter(|member| member.can_leave(now_us));
        let count = self.leave_at_once.saturating_sub(leaving);
        for member in first(staying, count, Member::moved_us) {
            member.send_away(Ended::PlaceNeeded);
        }
    }

    fn seat(self: &Arc<Self>, place: OwnedSemaphorePermit, patience: Duration) -> Place {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let member = Arc::new(Member {
            crowd: Arc::clone(self),
            moved_us: AtomicU64::new(self.now_us()),
            took_us: AtomicU64::new(0),
            at_work: AtomicUsize::new(0),
            held_bytes: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            standing: Mutex::new(Standing::Served),
            leave: Notify::new(),
            allowance: Allowance::new(Instant::now(), patience, Arc::clone(&self.noise)),
        });
        self.members().insert(number, Arc::clone(&member));
        Place { member, number, _place: place }
    }

    /// Bodies that trickle in and answers that nobody takes share a bound. Where it is passed, those
    /// go that make the server keep most: an honest request is some 3 KB and its answer 4 KB, at
    /// work or not, so that whoever makes it keep sixteen times that is not worth the others.
    fn relieve(&self) {
        let now_us = self.now_us();
        if !self.may_look_again(now_us) {
            return;
        }
        self.warn();
        let members = self.members();
        // What is kept for one that is detained is on its way out already.
        let staying = || members.values().filter(|member| member.is_served());
        let held: usize = staying().map(|member| member.held_bytes()).sum();
        let mut excess_bytes = held.saturating_sub(HELD_BYTES);
        let share = staying().count().div_ceil(LEAVING_SHARE);
        // Powers of two, so that among those who hold about as much the longest waiting go.
        let most =
            |member: &Member| (member.weight_bytes(now_us).leading_zeros(), member.moved_us());
        let mut leaving: Vec<_> = first(staying(), share, most).collect();
        leaving.sort_by_key(|member| most(member));
        for member in leaving {
            // Nobody goes for what others hold.
            if excess_bytes == 0 {
                break;
            }
            excess_bytes = excess_bytes.saturating_sub(member.held_bytes());
            member.send_away(Ended::HeldTooMuch);
        }
    }

    /// Whether nobody has looked at all connections just now.
    fn may_look_again(&self, now_us: u64) -> bool {
        let relieved_at_us = self.relieved_at_us.load(Ordering::Relaxed);
        now_us >= relieved_at_us + RELIEF_INTERVAL_US
            && self.relieved_at_us.fetch_max(now_us, Ordering::Relaxed) == relieved_at_us
    }

    fn warn(&self) {
        let now_s = self.began.elapsed().as_secs() + WARNING_INTERVAL_S;
        let warned_at_s = self.warned_at_s.load(Ordering::Relaxed);
        if now_s >= warned_at_s + WARNING_INTERVAL_S
            && self.warned_at_s.fetch_max(now_s, Ordering::Relaxed) == warned_at_s
        {
            tracing::warn!("the port is full: connections that wait longest are closed");
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn members(&self) -> MutexGuard<'_, HashMap<u64, Arc<Member>>> {
        // Whoever panicked while holding it left a whole table.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `count` of them, the first by `order`.
fn first<'a, Key: Ord>(
    members: impl Iterator<Item = &'a Arc<Member>>,
    count: usize,
    order: impl Fn(&Member) -> Key,
) -> impl Iterator<Item = &'a Arc<Member>> {
    let mut members: Vec<_> = members.map(|member| (order(member), member)).collect();
    if count < members.len() {
        members.select_nth_unstable_by(count, |(one, _), (other, _)| one.cmp(other));
        members.truncate(count);
    }
    members.into_iter().map(|(_, member)| member)
}

impl Place {
    pub(super) fn member(&self) -> &Arc<Member> {
        &self.member
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.member.crowd.members().remove(&self.number);
    }
}

impl Member {
    /// Resolves when the connection has to end.
    pub(super) async fn ended(&self, idle_timeout: Duration) -> Ended {
        tokio::select! {
            reason = self.sent_away() => reason,
            () = self.idle_for(idle_timeout) => Ended::Idle,
        }
    }

    async fn sent_away(&self) -> Ended {
        self.leave.notified().await;
        match *self.standing() {
            Standing::Leaving(reason) => reason,
            Standing::Served | Standing::Detained => Ended::PlaceNeeded,
        }
    }

    /// It turned out to be no client's.
    pub(super) fn found_out(&self) {
        self.crowd.nuisances.take(1);
    }

    /// Nobody serves it any more: resolves when its place is needed.
    pub(super) async fn detained(&self) {
        *self.standing() = Standing::Detained;
        self.leave.notified().await;
    }

    async fn idle_for(&self, idle_timeout: Duration) {
        loop {
            if self.at_work.load(Ordering::Relaxed) > 0 {
                sleep(idle_timeout).await;
                continue;
            }
            let moved = Duration::from_micros(self.moved_us());
            let due = self.crowd.began + moved + idle_timeout;
            if Instant::now() >= due {
                return;
            }
            sleep_until(due).await;
        }
    }

    /// A request is whole: until it is answered, the connection waits for us.
    pub(super) fn begin_work(&self) {
        self.at_work.fetch_add(1, Ordering::Relaxed);
    }

    /// It was answered, or given up.
    pub(super) fn end_work(&self) {
        self.moved();
        self.at_work.fetch_sub(1, Ordering::Relaxed);
    }

    /// The client has taken some of an answer.
    pub(super) fn took(&self) {
        self.moved();
        self.took_us.fetch_max(self.moved_us(), Ordering::Relaxed);
    }

    /// An answer is about to be handed out: the first one is not held against a client that has had
    /// no chance to take any.
    pub(super) fn begins_to_take(&self) {
        let now_us = self.crowd.now_us().max(1);
        let unset = self.took_us.compare_exchange(0, now_us, Ordering::Relaxed, Ordering::Relaxed);
        // `Err`: it took something before, and that counts.
        let _took_before = unset.is_err();
    }

    /// It is the client's turn.
    pub(super) fn moved(&self) {
        self.moved_us.fetch_max(self.crowd.now_us(), Ordering::Relaxed);
    }

    /// A request begins. `false`: it is to be refused, for there are too many, and more of them are
    /// this connection's than its fair share.
    pub(super) fn begin_request(&self) -> bool {
        let own = self.requests.fetch_add(1, Ordering::Relaxed);
        if own == 0 {
            self.crowd.asking.fetch_add(1, Ordering::Relaxed);
        }
        let all = self.crowd.requests.fetch_add(1, Ordering::Relaxed);
        let share = || REQUESTS / self.crowd.asking.load(Ordering::Relaxed).max(1);
        all < REQUESTS || own < share().max(REQUESTS_FOR_ALL)
    }

    /// It was answered, or given up.
    pub(super) fn end_request(&self) {
        if self.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.crowd.asking.fetch_sub(1, Ordering::Relaxed);
        }
        self.crowd.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// So much memory is kept until the client goes on. `false`: there is no room for it, and what
    /// can be asked for again should not be kept.
    pub(super) fn hold(&self, bytes: usize) -> bool {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        let held = self.crowd.held_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > HELD_BYTES {
            self.crowd.relieve();
        }
        held <= HELD_AT_MOST_BYTES
    }

    /// Whether there is room for more answers.
    pub(super) fn has_room(&self) -> bool {
        self.crowd.held_bytes.load(Ordering::Relaxed) <= HELD_AT_MOST_BYTES
    }

    /// It is free again.
    pub(super) fn release(&self, bytes: usize) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.crowd.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn moved_us(&self) -> u64 {
        self.moved_us.load(Ordering::Relaxed)
    }

    /// It waits for its client, not only since just now, and was not told to leave yet.
    fn can_leave(&self, now_us: u64) -> bool {
        let has_settled = self.moved_us() + SETTLING_US <= now_us;
        has_settled && self.at_work.load(Ordering::Relaxed) == 0 && !self.is_leaving()
    }

    fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Less for who took something only just now: a proxy holds much, for many, and keeps taking.
    fn weight_bytes(&self, now_us: u64) -> usize {
        let took_us = self.took_us.load(Ordering::Relaxed);
        let takes = took_us > 0 && now_us < took_us + TAKING_US;
        let held = self.held_bytes();
        // Never less than for a client that has asked only once.
        if takes { (held / TAKING_DISCOUNT).max(held.min(FEW_BYTES)) } else { held }
    }

    fn send_away(&self, reason: Ended) {
        *self.standing() = Standing::Leaving(reason);
        self.leave.notify_one();
    }

    fn is_served(&self) -> bool {
        matches!(*self.standing(), Standing::Served)
    }

    fn is_leaving(&self) -> bool {
        matches!(*self.standing(), Standing::Leaving(_))
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One in so many leaves.
const LEAVING_SHARE: usize = 64;
/// A newcomer has this long before others may take its place, so that a request that came with it
/// is read; those others have to wait so long. Ten times longer, and attackers who come back at once
/// fill the kernel's queue (1000 of them before 128 places kept honest clients waiting for 15 s).
const SETTLING_US: u64 = 25_000;
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Of all connections together. Less than the room for bodies, which refuses what does not fit:
/// whoever fills it slowly is to go before anyone is refused.
const HELD_BYTES: usize = 48 << 20;
/// Until those told to leave have gone.
const HELD_AT_MOST_BYTES: usize = 64 << 20;
/// One look at all connections at most in so long a time.
const RELIEF_INTERVAL_US: u64 = 2000;
/// A client that takes its answers does so many times in so long; and has so many times the room.
const TAKING_US: u64 = 500_000;
const TAKING_DISCOUNT: usize = 32;
const FEW_BYTES: usize = 64 << 10;
/// Of all connections together: some frames beside requests for each; and what costs a tenth of a
/// core in the smallest frames there are.
const NOISE_BYTES: i64 = 4 << 20;
const NOISE_BYTES_A_SECOND: i64 = 1 << 20;
/// Connections that broke a bound. Meeting one and finding it out costs about a tenth of a
/// millisecond with its noise, so these take up a third of a core at most.
const NUISANCES: i64 = 256;
const NUISANCES_A_SECOND: i64 = 4000;
/// Requests under way on the port; and how many of them any connection may have when they are more.
const REQUESTS: usize = 2048;
const REQUESTS_FOR_ALL: usize = 4;
const WARNING_INTERVAL_S: u64 = 60;

#[cfg(test)]
#[path = "crowd_tests.rs"]
mod tests;
