use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::super::algorithm::AlgorithmSet;
use super::super::fakes::{TestKey, claims, key_set};
use super::super::keys::KeySet;
use super::*;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// A source that answers from a script, and the last line for ever.
#[derive(Debug, Default)]
struct Scripted {
    script: Mutex<VecDeque<Answer>>,
    asked: AtomicUsize,
}

#[derive(Clone, Debug)]
enum Answer {
    Keys(FetchedKeys),
    Fails,
    Hangs,
    Panics,
}

impl Scripted {
    fn new(script: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        let script = Mutex::new(script.into_iter().collect());
        Arc::new(Self { script, asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl KeySource for Scripted {
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedKeys, FetchError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = {
            let mut script = lock(&self.script);
            let last = script.len() == 1;
            if last { script[0].clone() } else { script.pop_front().unwrap() }
        };
        async move {
            // So that those who come at the same time meet the flight.
            tokio::time::sleep(Duration::from_millis(10)).await;
            match answer {
                Answer::Keys(fetched) => Ok(fetched),
                Answer::Fails => Err(failure()),
                Answer::Hangs => std::future::pending().await,
                Answer::Panics => panic!("a source breaks its contract"),
            }
        }
        .boxed()
    }
}

fn failure() -> FetchError {
    FetchError::Status { url: "https://a.example".to_owned(), status: 500 }
}

fn keys_for<'k>(keys: impl IntoIterator<Item = &'k TestKey>, ms: Option<u64>) -> Answer {
    Answer::Keys(FetchedKeys {
        keys: KeySet::parse(key_set(keys).to_string().as_bytes()).unwrap(),
        algorithms: AlgorithmSet::ALL,
        lifetime: Lifetime::FreshFor { ms },
    })
}

fn token_of(key: &TestKey) -> String {
    key.token(&claims("https://a.example", NOW.unix_seconds()))
}

async fn verify(cache: &Arc<KeyCache>, text: &str, now: Timestamp) -> Result<(), TokenError> {
    cache.verify(&UnverifiedToken::parse(text).unwrap(), now).await
}

fn unavailable(result: Result<(), TokenError>) -> FetchError {
    match result {
        Err(TokenError::Unavailable { source }) => source,
        other => panic!("{other:?}"),
    }
}

/// Lets the background tasks of the cache run.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_when_first_needed_and_once_for_all_who_wait() {
    let key = TestKey::new("ES256", "k");
    let source = Scripted::new([keys_for([&key], None)]);
    let cache = KeyCache::new(Arc::clone(&source) as _, None);
    let token = token_of(&key);
    let (a, b, c) = tokio::join!(
        verify(&cache, &token, NOW),
        verify(&cache, &token, NOW),
        verify(&cache, &token, NOW)
    );
    assert_eq!((a, b, c), (Ok(()), Ok(()), Ok(())));
    assert_eq!(verify(&cache, &token, NOW).await, Ok(()));
    assert_eq!(source.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_is_found_by_asking_again() {
    let (old, new) = (TestKey::new("ES256", "old"), TestKey::new("ES256", "new"));
    let source = Scripted::new([keys_for([&old], None), keys_for([&old, &new], None)]);
    let cache = KeyCache::new(Arc::clone(&source) as _, None);
    assert_eq!(verify(&cache, &token_of(&old), NOW).await, Ok(()));
    assert_eq!(verify(&cache, &token_of(&new), NOW).await, Ok(()));
    assert_eq!(verify(&cache, &token_of(&old), NOW).await, Ok(()));
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_under_an_old_name_or_under_none_is_found_too() {
    for anonymous in [false, true] {
        let make = || {
            let key = TestKey::new("ES256", "same");
            if anonymous { key.without_kid() } else { key }
        };
        let (old, new) = (make(), make());
        let source = Scripted::new([keys_for([&old], None), keys_for([&new], None)]);
        let cache = KeyCache::new(Arc::clone(&source) as _, None);
        assert_eq!(verify(&cache, &token_of(&old), NOW).await, Ok(()));
        assert_eq!(verify(&cache, &token_of(&new), NOW).await, Ok(()));
        // And what the issuer has withdrawn verifies nothing any more.
        assert_eq!(verify(&cache, &token_of(&old), NOW).await, Err(TokenError::Signature));
    }
}

#[tokio::test(start_paused = true)]
async fn nt_16_a_flood_of_unknown_keys_asks_a_few_times_a_minute() {
    let known = TestKey::new("ES256", "known");
    let source = Scripted::new([keys_for([&known], None)]);
    let cache = KeyCache::new(Arc::clone(&source) as _, None);
    let stranger = TestKey::new("ES256", "unknown");
    let payload = claims("https://a.example", NOW.unix_seconds());
    let algorithm = super::super::TokenAlgorithm::Es256;
    for i in 0..600 {
        let header = json!({"alg": "ES256", "kid": format!("unknown {i}")});
        let now = NOW.plus_ms(i * 100);
        let refused = verify(&cache, &stranger.token_with(&header, &payload), now).await;
        assert_eq!(refused, Err(TokenError::NoSuchKey { algorithm }));
        assert_eq!(verify(&cache, &token_of(&known), now).await, Ok(()));
    }
    assert!(source.asked() <= 6, "{}", source.asked());
}

#[tokio::test(start_paused = true)]
async fn nt_16_one_absent_key_is_remembered_and_leaves_the_budget_to_others() {
    let (known, late) = (TestKey::new("ES256", "known"), TestKey::new("ES256", "late"));
    let source = Scripted::new([
        keys_for([&known], None),
        keys_for([&known], None),
        keys_for([&known, &late], None),
    ]);
    let cache = KeyCache::new(Arc::clone(&source) as _, None);
    assert_eq!(verify(&cache, &token_of(&known), NOW).await, Ok(()));
    let absent = token_of(&TestKey::new("ES256", "absent"));
    for _ in 0..100 {
        assert!(matches!(verify(&cache, &absent, NOW).await, Err(TokenError::NoSuchKey { .. })));
    }
    assert_eq!(source.asked(), 2);
    assert_eq!(verify(&cache, &token_of(&late), NOW).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn nt_17_a_withdrawn_key_is_refused_once_its_time_is_over() {
    let (old, new) = (TestKey::new("ES256", "old"), TestKey::new("ES256", "new"));
    let source = Scripted::new([keys_for([&old], Some(120_000)), keys_for([&new], None)]);
    let cache = KeyCache::new(Arc::clone(&source) as _, None);
    let token = token_of(&old);
    assert_eq!(verify(&cache, &token, NOW).await, Ok(()));
    assert_eq!(verify(&cache, &token, NOW.plus_ms(119_999)).await, Ok(()));
    settle().await;
    assert_eq!(source.asked(), 1);
    // The first token after that starts the refresh, and is still judged by the keys at hand.
    assert_eq!(verify(&cache, &token, NOW.plus_ms(120_000)).await, Ok(()));
    settle().await;
    assert_eq!(source.asked(), 2);
    let refused = verify(&cache, &token, NOW.plus_ms(120_001)).await;
    assert!(matches!(refused, Err(TokenError::NoSuchKey { .. })));
}

#[tokio::test(start_paused = true)]
async fn freshness_is_bounded_both_ways() {
    let key = TestKey::new("ES256", "k");
    for (said, fresh_ms) in
        [(Some(0), 60_000), (Some(90_000), 90_000), (Some(u64::MAX), 3_600_000), (None, 600_000)]
    {
        let source = Scripted::new([keys_for([&key], said)]);
        let cache = KeyCache::new(Arc::clone(&source) as _, None);
        assert_eq!(cache.ms_until_due(NOW), Some(0));
        cache.refresh(NOW).await.unwrap();
        assert_eq!(cache.ms_until_due(NOW), Some(fresh_ms));
        assert_eq!(cache.ms_until_due(NOW.plus_ms(fresh_ms)), Some(0));
        // A clock that was set back: nobody knows how old the keys are.
        assert_eq!(cache.ms_until_due(NOW.minus_ms(1)), Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn nt_18_last_good_keys_serve_through_an_outage_and_no_longer_than_stated() {
    let key = TestKey::new("ES256", "k");
    let source = Scripted::new([keys_for([&key], None), Answer::Fails]);
    let cache = KeyCache::new(Arc::clone(&source) as _, None);
    let token = token_of(&key);
    assert_eq!(verify(&cache, &token, NOW).await, Ok(()));
    for ms in [3_600_000, MAX_STALE_MS - 1] {
        assert_eq!(verify(&cache, &token, NOW.plus_ms(ms)).await, Ok(()));
        settle().await;
    }
    let refused = verify(&cache, &token, NOW.plus_ms(MAX_STALE_MS)).await;
    assert_eq!(unavailable(refused), failure());
}

#[tokio::test(start_paused = true)]
async fn nt_18_could_not_ask_is_not_no_such_key() {
    let key = TestKey::new("ES256", "k");
    let source = Scripted::new([keys_for([&key], None), Answer::Fails]);
    let cache = KeyCache::new(Arc::clone(&source) as _, None);
    assert_eq!(verify(&cache, &token_of(&key), NOW).await, Ok(()));
    let newer = token_of(&TestKey::new("ES256", "newer"));
    // Also once the failures have used up the budget, and nothing is asked at all.
    for i in 0..50 {
        let refused = verify(&cache, &newer, NOW.plus_ms(i * 100)).await;
        assert_eq!(unavailable(refused), failure());
    }
    assert!(source.asked() <= 4, "{}", source.asked());
    // A key that we have, and that did not sign this, is the caller's fault whatever the issuer.
    let forged = token_of(&TestKey::new("ES256", "k"));
    assert_eq!(verify(&cache, &forged, NOW).await, Err(TokenError::Signature));
}

#[tokio::test(start_paused = true)]
async fn nt_18_an_issuer_that_hangs_costs_a_bounded_wait_for_a_bounded_crowd() {
    let source = Scripted::new([Answer::Hangs]);
    let cache = KeyCache::new(Arc::clone(&source) as _, None);
    let token = token_of(&TestKey::new("ES256", "k"));
    let started = tokio::time::Instant::now();
    let crowd: Vec<_> = (0..MAX_WAITING + 10)
        .map(|_| {
            let (cache, token) = (Arc::clone(&cache), token.clone());
            tokio::spawn(async move { unavailable(verify(&cache, &token, NOW).await) })
        })
        .collect();
    let mut turned_away = 0;
    for member in crowd {
        match member.await.unwrap() {
            FetchError::TooManyWaiting => turned_away += 1,
            error => assert_eq!(error, FetchError::TimedOut { after_ms: FETCH_TIMEOUT_MS }),
        }
    }
    assert_eq!(turned_away, 10);
    assert_eq!(source.asked(), 1);
    assert!(started.elapsed() < Duration::from_millis(FETCH_TIMEOUT_MS + 100));
}

#[tokio::test(start_paused = true)]
async fn a_failed_issuer_is_asked_again_and_recovers() {
    let key = TestKey::new("ES256", "k");
    let source = Scripted::new([Answer::Fails, Answer::Panics, keys_for([&key], None)]);
    let cache = KeyCache::new(Arc::clone(&source) as _, None);
    let token = token_of(&key);
    assert_eq!(unavailable(verify(&cache, &token, NOW).await), failure());
    // At once: the failure is still the answer.
    assert_eq!(unavailable(verify(&cache, &token, NOW).await), failure());
    assert_eq!(source.asked(), 1);
    let later = NOW.plus_ms(FAILURE_HOLDS_MS);
    assert_eq!(unavailable(verify(&cache, &token, later).await), FetchError::BrokenOff);
    assert_eq!(verify(&cache, &token, later).await, Ok(()));
    assert_eq!(cache.status(later).failure, None);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_hangs_up_does_not_end_the_fetch() {
    let key = TestKey::new("ES256", "k");
    let source = Scripted::new([keys_for([&key], None)]);
    let cache = KeyCache::new(Arc::clone(&source) as _, None);
    let token = token_of(&key);
    let impatient = tokio::time::timeout(Duration::from_millis(1), verify(&cache, &token, NOW));
    assert!(impatient.await.is_err());
    settle().await;
    assert_eq!(verify(&cache, &token, NOW).await, Ok(()));
    assert_eq!(source.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn nt_16_newcomers_share_one_budget() {
    let budget = Arc::new(Mutex::new(Budget::new(2, 1_000)));
    let token = token_of(&TestKey::new("ES256", "k"));
    let mut asked = 0;
    for _ in 0..10 {
        let source = Scripted::new([Answer::Fails]);
        let cache = KeyCache::new(Arc::clone(&source) as _, Some(Arc::clone(&budget)));
        unavailable(verify(&cache, &token, NOW).await);
        asked += source.asked();
    }
    assert_eq!(asked, 2);
}

#[tokio::test(start_paused = true)]
async fn the_background_backs_off_from_a_failing_issuer() {
    let source = Scripted::new([Answer::Fails]);
    let cache = KeyCache::new(Arc::clone(&source) as _, None);
    let mut waits = Vec::new();
    for _ in 0..7 {
        assert_eq!(cache.refresh(NOW).await, Err(failure()));
        waits.push(cache.ms_until_due(NOW).unwrap() / 1000);
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60]);
}
