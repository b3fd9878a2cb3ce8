//! Tokens under a login that does as it is told, with time that stands still until it is moved.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

#[derive(Debug, Default)]
struct Counter {
    logins: AtomicU32,
    renewals: AtomicU32,
    failing: std::sync::atomic::AtomicBool,
    lifetime_seconds: Option<u64>,
    takes_seconds: u64,
}

impl Counter {
    fn token(&self, name: String) -> Result<Token, Fault> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(fault(FaultKind::Unauthorized, "login", "no".to_owned()));
        }
        let lifetime = self.lifetime_seconds.map(Duration::from_secs);
        Ok(Token { secret: Arc::new(Secret::from(name)), lifetime, renewable: true })
    }
}

impl Login for Arc<Counter> {
    fn log_in(&self) -> BoxFuture<'_, Result<Token, Fault>> {
        Box::pin(async move {
            let number = self.logins.fetch_add(1, Ordering::SeqCst) + 1;
            sleep(Duration::from_secs(self.takes_seconds)).await;
            self.token(format!("login {number}"))
        })
    }

    fn renew<'a>(&'a self, _ageing: &'a Token) -> BoxFuture<'a, Result<Token, Fault>> {
        Box::pin(async move {
            let number = self.renewals.fetch_add(1, Ordering::SeqCst) + 1;
            self.token(format!("renewal {number}"))
        })
    }
}

fn text(token: &Secret) -> &str {
    token.expose_text().unwrap()
}

async fn tokens(lifetime_seconds: Option<u64>) -> (Tokens<Arc<Counter>>, Arc<Counter>) {
    let counter = Arc::new(Counter { lifetime_seconds, ..Counter::default() });
    (Tokens::new(Arc::clone(&counter)).await.unwrap(), counter)
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_when_a_third_of_its_life_is_left_also_while_nobody_asks() {
    let (tokens, counter) = tokens(Some(90)).await;
    sleep(Duration::from_secs(59)).await;
    assert_eq!(counter.renewals.load(Ordering::SeqCst), 0);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(text(&tokens.current().await.unwrap()), "renewal 1");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(counter.renewals.load(Ordering::SeqCst), 11);
    assert_eq!(counter.logins.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_without_an_end_is_kept() {
    let (tokens, counter) = tokens(None).await;
    sleep(Duration::from_secs(1_000_000)).await;
    assert_eq!(text(&tokens.current().await.unwrap()), "login 1");
    assert_eq!(counter.renewals.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_renewed_is_used_to_its_end_and_then_no_more() {
    let (tokens, counter) = tokens(Some(90)).await;
    counter.failing.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(89)).await;
    assert_eq!(text(&tokens.current().await.unwrap()), "login 1");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(tokens.current().await.unwrap_err().code, "no");
    // Not more often than every five seconds, and back by itself.
    assert!(counter.renewals.load(Ordering::SeqCst) <= 7);
    counter.failing.store(false, Ordering::SeqCst);
    tokens.current().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once_for_all_who_held_it() {
    let (tokens, counter) = tokens(Some(90)).await;
    let refused = tokens.current().await.unwrap();
    let (first, second) = tokio::join!(tokens.instead_of(&refused), tokens.instead_of(&refused));
    assert_eq!((text(&first.unwrap()), text(&second.unwrap())), ("login 2", "login 2"));
    assert_eq!(counter.logins.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_nobody_waits_for_any_more_is_not_in_vain() {
    let login = Counter { lifetime_seconds: Some(90), takes_seconds: 3, ..Counter::default() };
    let counter = Arc::new(login);
    let tokens = Tokens::new(Arc::clone(&counter)).await.unwrap();
    let refused = tokens.current().await.unwrap();
    let impatient = tokio::time::timeout(Duration::from_secs(1), tokens.instead_of(&refused));
    assert!(impatient.await.is_err());
    sleep(Duration::from_secs(3)).await;
    assert_eq!(text(&tokens.current().await.unwrap()), "login 2");
    assert_eq!(counter.logins.load(Ordering::SeqCst), 2);
}
