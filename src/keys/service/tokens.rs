//! The token that requests carry: had once, renewed in time, replaced when it is refused.
//!
//! In: a [`Login`]. Out: a token that should be good now. Knows nothing of how one logs in.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::{Answer, fault};
use crate::{
    keys::remote::{Fault, FaultKind},
    secret::Secret,
};

/// How one comes by a token.
///
/// Contract: a fault names the call that failed and no credential. `renew` gets a token that was
/// good; it may answer with the same, if that lives longer now.
pub(in crate::keys) trait Login: fmt::Debug + Send + Sync + 'static {
    /// A token from the credentials as they are now.
    fn log_in(&self) -> BoxFuture<'_, Result<Token, Fault>>;

    /// A token in place of one that ages.
    fn renew<'a>(&'a self, _ageing: &'a Token) -> BoxFuture<'a, Result<Token, Fault>> {
        self.log_in()
    }
}

/// What a service wants to see with each request.
#[derive(Clone, Debug)]
pub(in crate::keys) struct Token {
    pub(in crate::keys) secret: Arc<Secret>,
    /// From now on; `None` if it does not end, or nobody knows when.
    pub(in crate::keys) lifetime: Option<Duration>,
    /// Whether the service prolongs it.
    pub(in crate::keys) renewable: bool,
}

/// Who always has a token.
pub(in crate::keys) trait TokenSource {
    /// A token that should be good.
    async fn current(&self) -> Result<Arc<Secret>, Fault>;

    /// Another token than the one that a service just refused; that one again, if the credentials
    /// have no other.
    async fn instead_of(&self, refused: &Arc<Secret>) -> Result<Arc<Secret>, Fault>;
}

/// What came of a request with a token, where it is no fault that another token leaves as it is.
pub(in crate::keys) enum Asked {
    Answered(Answer),
    /// It may be the token's fault.
    Refused(Fault),
}

/// Asks with a token, and once more with another one if that is refused.
pub(in crate::keys) async fn with_token<F>(
    tokens: &impl TokenSource,
    ask: impl Fn(Arc<Secret>) -> F,
) -> Result<Answer, Fault>
where
    F: Future<Output = Result<Asked, Fault>>,
{
    let token = tokens.current().await?;
    let refusal = match ask(Arc::clone(&token)).await? {
        Asked::Answered(answer) => return Ok(answer),
        Asked::Refused(fault) => fault,
    };
    let another = tokens.instead_of(&token).await?;
    if another.expose() == token.expose() {
        return Err(refusal);
    }
    match ask(another).await? {
        Asked::Answered(answer) => Ok(answer),
        Asked::Refused(fault) => Err(fault),
    }
}

/// A token at any time. Whoever stops waiting for a login does not end it: the next finds it done.
pub(in crate::keys) struct Tokens<L> {
    inner: Arc<Inner<L>>,
    keeper: AbortHandle,
}

struct Inner<L> {
    login: L,
    held: Mutex<Option<Held>>,
    /// One login at a time.
    turn: tokio::sync::Mutex<()>,
    changed: Notify,
}

#[derive(Clone)]
struct Held {
    token: Token,
    since: Instant,
}

impl Held {
    /// Not replaced, and not renewed either.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.token.secret, &other.token.secret) && self.since == other.since
    }

    fn is_good(&self, now: Instant) -> bool {
        self.token.lifetime.is_none_or(|lifetime| now < self.since + lifetime)
    }

    /// When a third of its life is left.
    fn ages_at(&self) -> Option<Instant> {
        Some(self.since + self.token.lifetime? * 2 / 3)
    }
}

impl<L: Login> Tokens<L> {
    /// Logs in.
    pub(in crate::keys) async fn new(login: L) -> Result<Self, Fault> {
        let inner = Arc::new(Inner {
            login,
            held: Mutex::new(None),
            turn: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
        });
        inner.replace(None, true).await?;
        let keeper = tokio::spawn(keep(Arc::clone(&inner))).abort_handle();
        Ok(Self { inner, keeper })
    }

    async fn replaced(&self, old: Option<Held>) -> Result<Arc<Secret>, Fault> {
        let inner = Arc::clone(&self.inner);
        let replacing = tokio::spawn(async move { inner.replace(old, true).await });
        let ended = || fault(FaultKind::Transient, "login", "the login was broken off".to_owned());
        replacing.await.unwrap_or_else(|_| Err(ended()))
    }
}

impl<L: Login> TokenSource for Tokens<L> {
    async fn current(&self) -> Result<Arc<Secret>, Fault> {
        match self.inner.held() {
            Some(held) if held.is_good(Instant::now()) => Ok(held.token.secret),
            held => self.replaced(held).await,
        }
    }

    async fn instead_of(&self, refused: &Arc<Secret>) -> Result<Arc<Secret>, Fault> {
        let held = self.inner.held().filter(|held| Arc::ptr_eq(&held.token.secret, refused));
        match held {
            Some(held) => self.replaced(Some(held)).await,
            // Someone else had it replaced in the meantime.
            None => self.current().await,
        }
    }
}

impl<L> Drop for Tokens<L> {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl<L: fmt::Debug> fmt::Debug for Tokens<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("login", &self.inner.login).finish_non_exhaustive()
    }
}

impl<L: Login> Inner<L> {
    fn held(&self) -> Option<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a token in the place of `old`, unless that was done while this waited for its turn.
    async fn replace(&self, old: Option<Held>, anew: bool) -> Result<Arc<Secret>, Fault> {
        let _turn = self.turn.lock().await;
        if let Some(held) = self.held() {
            let is_old = old.as_ref().is_some_and(|old| old.is(&held));
            if !is_old && held.is_good(Instant::now()) {
                return Ok(held.token.secret);
            }
        }
        let token = match &old {
            Some(old) if !anew => self.login.renew(&old.token).await?,
            _ => self.login.log_in().await?,
        };
        let secret = Arc::clone(&token.secret);
        let held = Held { token, since: Instant::now() };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        self.changed.notify_one();
        Ok(secret)
    }
}

/// Renews the token before it ends, also while nobody signs. [`Tokens`] ends it.
async fn keep<L: Login>(inner: Arc<Inner<L>>) {
    loop {
        let held = inner.held();
        let Some(ages_at) = held.as_ref().and_then(Held::ages_at) else {
            inner.changed.notified().await;
            continue;
        };
        let wait = ages_at.saturating_duration_since(Instant::now()).max(pause(held.as_ref()));
        tokio::select! {
            () = sleep(wait) => {}
            () = inner.changed.notified() => continue,
        }
        if let Err(fault) = inner.replace(held, false).await {
            tracing::warn!(%fault, "the token of a key service is not renewed yet");
        }
    }
}

/// Between attempts to renew a token.
fn pause(held: Option<&Held>) -> Duration {
    let lifetime = held.and_then(|held| held.token.lifetime).unwrap_or_default();
    (lifetime / 20).max(SHORTEST_PAUSE)
}

const SHORTEST_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
