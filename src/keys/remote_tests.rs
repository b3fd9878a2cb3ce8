//! A back end that does as it is told: throttles, hangs, lies and drops.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future::join_all;

use super::*;
use crate::{
    keys::contract,
    telemetry::{metrics::Metrics, with_causes},
};

/// What the back end does with one attempt.
#[derive(Clone, Copy, Debug)]
enum Act {
    Sign,
    SignRaw,
    SignAfter(Duration),
    Fail(FaultKind),
    Hang,
    /// Signs the hash of the hash, as some emulators of key services do.
    HashTwice,
    OtherKey,
    Rubbish,
    Empty,
}

#[derive(Debug)]
struct Fake {
    key: p256::ecdsa::SigningKey,
    acts: Mutex<VecDeque<Act>>,
    always: Act,
    under_way: AtomicUsize,
    most_at_once: AtomicUsize,
    calls: AtomicUsize,
}

impl Fake {
    fn sign(key: &p256::ecdsa::SigningKey, digest: &[u8], raw: bool) -> Vec<u8> {
        use p256::ecdsa::signature::hazmat::PrehashSigner as _;
        let signature: p256::ecdsa::Signature = key.sign_prehash(digest).unwrap();
        if raw { signature.to_vec() } else { signature.to_der().as_bytes().to_vec() }
    }

    async fn answer(&self, digest: Digest) -> Result<Vec<u8>, Fault> {
        let act = self.acts.lock().unwrap().pop_front().unwrap_or(self.always);
        match act {
            Act::Sign => Ok(Self::sign(&self.key, digest.as_ref(), false)),
            Act::SignRaw => Ok(Self::sign(&self.key, digest.as_ref(), true)),
            Act::SignAfter(pause) => {
                tokio::time::sleep(pause).await;
                Ok(Self::sign(&self.key, digest.as_ref(), false))
            }
            Act::Fail(kind) => Err(Fault { kind, operation: "Sign", code: "E42".to_owned() }),
            Act::Hang => std::future::pending().await,
            Act::HashTwice => {
                let twice = digest::digest(&digest::SHA256, digest.as_ref());
                Ok(Self::sign(&self.key, twice.as_ref(), false))
            }
            Act::OtherKey => {
                let other = p256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap();
                Ok(Self::sign(&other, digest.as_ref(), false))
            }
            Act::Rubbish => Ok(vec![0xa5; 64]),
            Act::Empty => Ok(Vec::new()),
        }
    }
}

/// Counts down also when nobody waits any more.
struct UnderWay<'a>(&'a Fake);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for Arc<Fake> {
    fn sign_digest(&self, digest: Digest) -> BoxFuture<'_, Result<Vec<u8>, Fault>> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            let _under_way = UnderWay(self);
            self.most_at_once.fetch_max(now, Ordering::SeqCst);
            self.answer(digest).await
        })
    }
}

fn bounds() -> RemoteBounds {
    RemoteBounds { in_flight: 4, failures: 5, ..RemoteBounds::default() }
}

/// A key whose first attempts go as `acts` say, and all others as `always`.
fn remote(acts: &[Act], always: Act) -> (Arc<Remote<Arc<Fake>>>, Arc<Fake>) {
    use p256::pkcs8::EncodePublicKey as _;
    let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    let spki_der = key.verifying_key().to_public_key_der().unwrap();
    let public_key = VerifyingKey::parse_der(spki_der.as_bytes()).unwrap();
    let fake = Arc::new(Fake {
        key,
        acts: Mutex::new(acts.iter().copied().collect()),
        always,
        under_way: AtomicUsize::new(0),
        most_at_once: AtomicUsize::new(0),
        calls: AtomicUsize::new(0),
    });
    let series = Metrics::new().key("fake:key");
    let backend = Arc::clone(&fake);
    let no_jitter: Jitter = Box::new(|| 0);
    let name = "fake:key".to_owned();
    let remote = Remote::new(name, public_key, backend, bounds(), no_jitter, series);
    (Arc::new(remote), fake)
}

fn calls(fake: &Fake) -> usize {
    fake.calls.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_key_elsewhere_upholds_the_contract_in_both_forms_of_answer() {
    for act in [Act::Sign, Act::SignRaw] {
        let (remote, _) = remote(&[], act);
        contract::uphold(remote, &[&[7; 32]]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again_and_the_caller_sees_nothing_of_it() {
    for first in [Act::Fail(FaultKind::Transient), Act::Fail(FaultKind::Throttled), Act::Hang] {
        let (remote, fake) = remote(&[first], Act::Sign);
        let signature = remote.sign(b"m").await.unwrap();
        assert!(remote.public_key.verifies(b"m", &signature));
        assert_eq!(calls(&fake), 2, "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_in_number_and_each_result_is_counted() {
    for (kind, result) in [
        (FaultKind::Transient, CallResult::Unavailable),
        (FaultKind::Throttled, CallResult::Throttled),
    ] {
        let (remote, fake) = remote(&[], Act::Fail(kind));
        let error = remote.sign(b"m").await.unwrap_err();
        assert!(matches!(error, SignError::Unavailable { .. }));
        assert_eq!(with_causes(&error), "key fake:key: could not be reached: Sign: E42");
        assert_eq!(calls(&fake), 3);
        assert_eq!(remote.series.calls(result), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_must_mend_is_not_tried_again() {
    for (kind, text, result) in [
        (FaultKind::Permanent, "key fake:key: it was refused: Sign: E42", CallResult::Refused),
        (
            FaultKind::Unauthorized,
            "key fake:key: could not be reached: Sign: E42",
            CallResult::Unauthorized,
        ),
    ] {
        let (remote, fake) = remote(&[], Act::Fail(kind));
        assert_eq!(with_causes(&remote.sign(b"m").await.unwrap_err()), text);
        assert_eq!(calls(&fake), 1);
        assert_eq!(remote.series.calls(result), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_signature_is_never_returned_nor_asked_for_again() {
    for act in [Act::HashTwice, Act::OtherKey, Act::Rubbish, Act::Empty] {
        let (remote, fake) = remote(&[], act);
        let error = remote.sign(b"m").await.unwrap_err();
        assert!(matches!(error, SignError::BadSignature { .. }), "{act:?}: {error}");
        assert_eq!(calls(&fake), 1);
        assert_eq!(remote.series.calls(CallResult::BadSignature), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_is_given_up_at_the_deadline() {
    let (remote, _) = remote(&[], Act::Hang);
    let begun = Instant::now();
    let error = remote.sign(b"m").await.unwrap_err();
    assert_eq!(with_causes(&error), "key fake:key: could not be reached: no answer in time");
    let took = begun.elapsed();
    assert!(took <= bounds().deadline && took > bounds().attempt, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_jitter_takes_off_up_to_half() {
    let (mut remote, _) = remote(&[], Act::Sign);
    let failure = Failure::TimedOut;
    let pause = bounds().pause;
    assert_eq!(remote.pause_after(&failure, 1), Some(pause));
    assert_eq!(remote.pause_after(&failure, 2), Some(pause * 2));
    Arc::get_mut(&mut remote).unwrap().jitter = Box::new(|| u8::MAX);
    let shortest = remote.pause_after(&failure, 1).unwrap();
    assert!(shortest > pause / 2 && shortest < pause * 51 / 100, "{shortest:?}");
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_are_under_way_than_allowed_and_all_get_their_turn() {
    let (remote, fake) = remote(&[], Act::SignAfter(Duration::from_millis(100)));
    let messages: Vec<[u8; 1]> = (0..40).map(|number| [number]).collect();
    let answers = join_all(messages.iter().map(|message| remote.sign(message))).await;
    for (message, answer) in messages.iter().zip(answers) {
        assert!(remote.public_key.verifies(message, &answer.unwrap()));
    }
    assert_eq!(fake.most_at_once.load(Ordering::SeqCst), bounds().in_flight);
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_for_a_turn_is_told_so_and_the_service_is_not_blamed() {
    let (remote, fake) = remote(&[], Act::SignAfter(Duration::from_millis(1400)));
    let messages: Vec<[u8; 1]> = (0..16).map(|number| [number]).collect();
    let answers = join_all(messages.iter().map(|message| remote.sign(message))).await;
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    let texts: Vec<String> = refused.map(|error| with_causes(&error)).collect();
    // Four at a time: eight are signed, four are cut off at the deadline, four never had a turn.
    let ending = |end: &str| texts.iter().filter(|text| text.ends_with(end)).count();
    assert_eq!(ending("too many signatures are waiting for this key"), 4, "{texts:?}");
    assert_eq!(ending("no answer in time"), 4, "{texts:?}");
    assert_eq!(calls(&fake), 12);
    remote.sign(b"afterwards").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_gives_back_its_turn() {
    let (remote, fake) = remote(&[Act::Hang; 4], Act::Sign);
    let message = b"nobody waits".as_slice();
    let mut started: Vec<_> = (0..4).map(|_| remote.sign(message)).collect();
    for signing in &mut started {
        assert!(futures_util::poll!(signing).is_pending());
    }
    assert_eq!(fake.under_way.load(Ordering::SeqCst), 4);
    drop(started);
    assert_eq!(fake.under_way.load(Ordering::SeqCst), 0);
    remote.sign(b"m").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_keeps_failing_is_left_alone_until_one_attempt_finds_it_back() {
    let failing = [Act::Fail(FaultKind::Unauthorized); 6];
    let (remote, fake) = remote(&failing, Act::Sign);
    for _ in 0..5 {
        remote.sign(b"m").await.unwrap_err();
    }
    assert_eq!(calls(&fake), 5);
    let error = remote.sign(b"m").await.unwrap_err();
    assert!(
        with_causes(&error).ends_with("it failed too often in a row and is left alone for a while")
    );
    assert_eq!((calls(&fake), remote.series.rejections()), (5, 1));

    // One finds out that it still fails; the rest lengthens, and others are not let through.
    tokio::time::advance(bounds().rest).await;
    remote.sign(b"m").await.unwrap_err();
    remote.sign(b"m").await.unwrap_err();
    assert_eq!((calls(&fake), remote.series.rejections()), (6, 2));

    tokio::time::advance(bounds().rest).await;
    remote.sign(b"m").await.unwrap();
    remote.sign(b"m").await.unwrap();
    assert_eq!((calls(&fake), remote.series.rejections()), (8, 2));
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_probe_does_not_keep_the_circuit_open_for_ever() {
    let mut acts = vec![Act::Fail(FaultKind::Unauthorized); 5];
    acts.push(Act::Hang);
    let (remote, _) = remote(&acts, Act::Sign);
    for _ in 0..5 {
        remote.sign(b"m").await.unwrap_err();
    }
    tokio::time::advance(bounds().rest).await;
    let mut probe = remote.sign(b"m");
    assert!(futures_util::poll!(&mut probe).is_pending());
    drop(probe);
    tokio::time::advance(bounds().rest).await;
    remote.sign(b"m").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_opens_a_key_is_asked_again_only_where_that_may_help() {
    let outcome = |kind, good_at: u32| async move {
        let asked = std::cell::Cell::new(0);
        let answer = persistently(&bounds(), &random_jitter(), || {
            asked.set(asked.get() + 1);
            let fault = Fault { kind, operation: "Open", code: "Sick".to_owned() };
            std::future::ready(if asked.get() == good_at { Ok(()) } else { Err(fault) })
        })
        .await;
        (answer.is_ok(), asked.get())
    };
    let attempts = bounds().attempts;
    for kind in [FaultKind::Transient, FaultKind::Throttled] {
        assert_eq!(outcome(kind, 2).await, (true, 2));
        assert_eq!(outcome(kind, 0).await, (false, attempts));
    }
    for kind in [FaultKind::Unauthorized, FaultKind::Permanent] {
        assert_eq!(outcome(kind, 2).await, (false, 1));
    }
}

#[test]
fn a_raw_signature_becomes_der_and_what_is_none_does_not() {
    let raw = [&[0; 31][..], &[5], &[0xff; 32]].concat();
    let der = ecdsa_der_of_raw(SignatureAlgorithm::EcdsaP256Sha256, &raw).unwrap();
    // Shortest integers, with a zero before a first bit that is set (X.690, 8.3.2).
    assert_eq!(der, [&[0x30, 0x26, 2, 1, 5, 2, 0x21, 0][..], &[0xff; 32]].concat());
    assert!(SignatureAlgorithm::EcdsaP256Sha256.has_form(&der));
    for (algorithm, length) in [
        (SignatureAlgorithm::EcdsaP256Sha256, 63),
        (SignatureAlgorithm::EcdsaP256Sha256, 96),
        (SignatureAlgorithm::EcdsaP384Sha384, 64),
        (SignatureAlgorithm::RsaPkcs1Sha256, 64),
        (SignatureAlgorithm::EcdsaP256Sha256, 0),
    ] {
        assert_eq!(ecdsa_der_of_raw(algorithm, &vec![1; length]), None);
    }
}

#[test]
fn the_default_deadline_leaves_room_in_that_of_an_issuance() {
    let RemoteBounds { deadline, attempt, .. } = RemoteBounds::default();
    assert!(deadline < Duration::from_secs(5) && attempt < deadline);
}
