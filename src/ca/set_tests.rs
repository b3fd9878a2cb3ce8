use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::ca::fixtures::{TestCa, now};

const HALF_DAY_SECONDS: u64 = 3600 * 12;

/// Three issuers, made once: keys cost time.
fn issuers() -> &'static [Arc<Issuer>; 3] {
    static ISSUERS: OnceLock<[Arc<Issuer>; 3]> = OnceLock::new();
    ISSUERS.get_or_init(|| {
        ["first", "second", "third"].map(|name| TestCa::new(name, HALF_DAY_SECONDS).issuer())
    })
}

fn authority(which: usize, activate: Option<u64>, retire: Option<u64>) -> Authority {
    let at = |minutes: u64| now().plus_ms(minutes * 60_000);
    Authority {
        issuer: Arc::clone(&issuers()[which]),
        activate: activate.map(at),
        retire: retire.map(at),
    }
}

fn minute(minutes: u64) -> Timestamp {
    now().plus_ms(minutes * 60_000)
}

#[test]
fn an_authority_goes_from_pending_to_active_to_retired_to_gone() {
    let authority = authority(0, Some(10), Some(20));
    let just_before = |minutes| minute(minutes).minus_ms(1);
    assert_eq!(authority.phase_at(now()), Phase::Pending);
    assert_eq!(authority.phase_at(just_before(10)), Phase::Pending);
    assert_eq!(authority.phase_at(minute(10)), Phase::Active);
    assert_eq!(authority.phase_at(just_before(20)), Phase::Active);
    assert_eq!(authority.phase_at(minute(20)), Phase::Retired);
    // A certificate signed at the last moment is valid for ten minutes more, its last second
    // included: here the second of the 250th millisecond.
    assert_eq!(authority.phase_at(minute(30).plus_ms(749)), Phase::Retired);
    assert_eq!(authority.phase_at(minute(30).plus_ms(750)), Phase::Gone);
}

/// `notAfter` names a second that belongs to the certificate whole.
#[test]
fn nt_43_an_authority_is_trusted_through_the_last_second_of_its_chain() {
    let authority = authority(0, None, None);
    let last = authority.issuer.valid_until();
    assert_eq!(last.unix_ms() % 1000, 0);
    let chain = authority.issuer.chain();
    for (at, phase) in [(last.plus_ms(999), Phase::Active), (last.plus_ms(1000), Phase::Gone)] {
        assert_eq!(authority.phase_at(at), phase);
        assert_eq!(chain.iter().all(|ca| ca.is_valid_at(at)), phase == Phase::Active);
    }
}

#[test]
fn the_newest_active_authority_signs_and_the_older_one_comes_back_if_it_retires_first() {
    let set = CaSet::new(vec![
        authority(1, Some(10), Some(20)),
        authority(0, None, None),
        authority(2, Some(40), None),
    ])
    .unwrap();
    let signs = |minutes, which: usize| {
        Arc::ptr_eq(&set.signing_at(minute(minutes)).unwrap(), &issuers()[which])
    };
    assert!(signs(0, 0) && signs(10, 1) && signs(19, 1) && signs(20, 0) && signs(40, 2));
}

#[test]
fn an_authority_is_trusted_before_it_signs_and_until_its_last_certificate_has_expired() {
    let set = CaSet::new(vec![authority(0, None, Some(15)), authority(1, Some(10), None)]).unwrap();
    let trusted = |minutes| set.trusted_at(minute(minutes));
    let [first, second, _] = issuers();
    assert_eq!(trusted(0), [first.chain(), second.chain()], "before it signs");
    assert_eq!(trusted(25), [first.chain(), second.chain()], "its last certificate is valid");
    assert_eq!(trusted(26), [second.chain()]);
}

#[test]
fn without_an_active_authority_nothing_is_signed() {
    let set = CaSet::new(vec![authority(0, Some(10), Some(20))]).unwrap();
    for at in [0, 20, 31] {
        assert!(matches!(set.signing_at(minute(at)), Err(CaError::NoneActive)));
    }
    let expired = issuers()[0].valid_until().plus_ms(1000);
    let set = CaSet::new(vec![authority(0, None, None)]).unwrap();
    assert!(matches!(set.signing_at(expired), Err(CaError::NoneActive)));
    assert!(set.trusted_at(expired).is_empty());
}

#[test]
fn authorities_that_leave_open_which_one_signs_are_refused() {
    let error = |authorities| CaSet::new(authorities).unwrap_err();
    assert_eq!(error(vec![]), CaSetError::Empty);
    assert!(matches!(
        error(vec![authority(0, Some(10), Some(10))]),
        CaSetError::NeverActive { position: 1, .. }
    ));
    assert_eq!(
        error(vec![authority(0, None, None), authority(1, None, None)]),
        CaSetError::SameActivation { first: 1, second: 2 }
    );
    assert_eq!(
        error(vec![authority(0, None, None), authority(0, Some(1), None)]),
        CaSetError::SameKey { first: 1, second: 2 }
    );
    let namesake = Authority {
        issuer: TestCa::new("first", HALF_DAY_SECONDS).issuer(),
        activate: Some(minute(5)),
        retire: None,
    };
    assert_eq!(
        error(vec![authority(0, None, None), namesake]),
        CaSetError::SameSubject { first: 1, second: 2 }
    );
}

proptest! {
    /// What a verifier needs, for any plan and any two instants: whoever signs is trusted then,
    /// and for as long as what it signed is valid.
    #[test]
    fn whoever_signs_is_trusted_while_its_certificates_live(
        spans in prop::collection::vec((prop::option::of(0_u64..100), 1_u64..100, any::<bool>()), 1..=3),
        at in 0_u64..200,
        later_ms in 0_u64..=600_000,
    ) {
        let authorities = spans.iter().enumerate().map(|(which, (activate, span, retires))| {
            authority(which, *activate, retires.then_some(activate.unwrap_or(0) + span))
        });
        let Ok(set) = CaSet::new(authorities.collect()) else { return Ok(()) };
        let Ok(signing) = set.signing_at(minute(at)) else { return Ok(()) };
        for instant in [minute(at), minute(at).plus_ms(later_ms)] {
            prop_assert!(set.trusted_at(instant).contains(&signing.chain()));
        }
    }
}
