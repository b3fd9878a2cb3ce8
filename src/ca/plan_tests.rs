use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::{
    ca::{
        Authority, CaError, CaSet, Issuer, Serial,
        ceremony::create_intermediate,
        fixtures::{TestCa, approved, make_root, new_ca, now, p256_signer},
    },
    keys::{self, SignatureAlgorithm},
};

/// Three issuers whose chains end at different times, made once: keys cost time.
fn issuers() -> &'static [Arc<Issuer>; 3] {
    static ISSUERS: OnceLock<[Arc<Issuer>; 3]> = OnceLock::new();
    ISSUERS.get_or_init(|| {
        [("first", 2), ("second", 3), ("third", 12)]
            .map(|(name, hours)| TestCa::new(name, hours * 3600).issuer())
    })
}

fn minute(minutes: u64) -> Timestamp {
    // The fixtures' certificates begin with a whole second.
    Timestamp::from_unix_seconds(now().unix_seconds()).plus_ms(minutes * 60_000)
}

fn authority(which: usize, activate: Option<u64>, retire: Option<u64>) -> Authority {
    let issuer = Arc::clone(&issuers()[which]);
    Authority { issuer, activate: activate.map(minute), retire: retire.map(minute) }
}

fn planned(authorities: &[Authority]) -> Vec<Planned<'_>> {
    authorities.iter().map(Authority::planned).collect()
}

fn plan_of(authorities: &[Authority]) -> Plan {
    plan(&planned(authorities), minute(0))
}

fn mistakes_of(authorities: &[Authority]) -> Vec<String> {
    plan_of(authorities).mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_rotation_is_told_event_by_event() {
    let plan = plan_of(&[authority(0, None, Some(60)), authority(2, Some(60), None)]);
    assert!(plan.mistakes.is_empty(), "{:?}", plan.mistakes);
    let told: Vec<(u64, EventKind, usize)> = plan
        .events
        .iter()
        .map(|event| (event.at.ms_since(minute(0)) / 60_000, event.kind, event.authority))
        .collect();
    assert_eq!(
        told,
        [
            (0, EventKind::InTrustBundle, 1),
            (0, EventKind::InTrustBundle, 2),
            (0, EventKind::StartsSigning, 1),
            (60, EventKind::StopsSigning, 1),
            (60, EventKind::StartsSigning, 2),
            (70, EventKind::LastCertificateExpires, 1),
            (70, EventKind::LeavesTrustBundle, 1),
            (120, EventKind::ChainExpires, 1),
            (710, EventKind::StopsSigning, 2),
            (720, EventKind::LastCertificateExpires, 2),
            (720, EventKind::LeavesTrustBundle, 2),
            (720, EventKind::ChainExpires, 2),
        ]
    );
    let by = |authority, minutes| Deadline { authority, by: minute(minutes) };
    assert_eq!(plan.deadlines, [by(1, 0), by(2, 60)]);
    let (from, at) = (minute(60), minute(710).plus_ms(1000));
    assert_eq!(
        plan.warnings,
        [PlanWarning::ShortNotice { authority: 2, from }, PlanWarning::EndsSoon { at }]
    );
}

#[test]
fn every_mistake_is_found_and_not_only_the_first() {
    let told = mistakes_of(&[
        authority(0, None, Some(119)),
        authority(0, None, None),
        authority(2, Some(10), Some(10)),
    ]);
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(told[0].contains("authorities 1 and 2 are activated at the same time"), "{told:?}");
    assert!(told[1].contains("authorities 1 and 2 have the same key"), "{told:?}");
    assert!(told[2].contains("same subject"), "{told:?}");
    assert!(told[3].starts_with("authority 3 retires at"), "{told:?}");
    assert!(told[4].contains("its chain expires at"), "{told:?}");
    assert!(mistakes_of(&[])[0].contains("there is no authority"));
}

#[test]
fn times_in_which_nobody_signs_are_mistakes() {
    let nobody = |from, until: Option<u64>| {
        PlanMistake::NobodySigns { from: minute(from), until: until.map(minute) }.to_string()
    };
    let apart = [authority(0, None, Some(30)), authority(2, Some(40), None)];
    assert_eq!(mistakes_of(&apart), [nobody(30, Some(40))]);
    assert_eq!(mistakes_of(&[authority(0, Some(5), None)]), [nobody(0, Some(5))]);
    let over = plan(&planned(&[authority(0, None, Some(30))]), minute(35));
    let told: Vec<String> = over.mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(told, [nobody(35, None)]);
}

/// The ten minutes before a chain ends cover no whole certificate.
#[test]
fn nt_43_a_chain_that_expires_before_its_last_certificate_is_a_mistake() {
    let told = mistakes_of(&[authority(0, None, Some(111)), authority(2, Some(111), None)]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("authority 1 retires at"), "{told:?}");
    assert!(told[1].starts_with("nobody signs from"), "{told:?}");
    let in_time = [authority(0, None, Some(110)), authority(2, Some(110), None)];
    assert_eq!(mistakes_of(&in_time), Vec::<String>::new());
}

#[test]
fn an_authority_whose_turn_never_comes_is_a_mistake() {
    let late = [authority(2, None, None), authority(0, Some(115), None)];
    assert!(mistakes_of(&late)[0].starts_with("authority 2 never signs"));
    let shadowed = [authority(0, Some(115), Some(116)), authority(2, Some(0), None)];
    assert!(mistakes_of(&shadowed).iter().any(|told| told.starts_with("authority 1 never signs")));
}

#[test]
fn chains_that_no_server_takes_are_mistakes_each_fault_for_itself() {
    let authorities = [authority(0, None, None)];
    let chain = authorities[0].issuer.chain();
    let turned = [chain[1].clone(), chain[0].clone()];
    let told = plan(&[Planned::new(&turned, None, None)], minute(0)).mistakes;
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    assert!(told.len() >= 3, "{told:?}");
    assert!(told[0].starts_with("authority 1: certificate 1 of the chain"), "{told:?}");
    assert!(told.iter().any(|told| told.contains("is the last but not self-signed")), "{told:?}");
    let expired = plan(&planned(&authorities), minute(121)).mistakes;
    let told: Vec<String> = expired.iter().map(ToString::to_string).collect();
    assert!(told[0].contains("expired at"), "{told:?}");
}

#[test]
fn an_algorithm_that_clients_refuse_is_a_mistake() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(1));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let root = crate::x509::Certificate::parse_der(params.self_signed(&key).unwrap().der());
    let chain = [root.unwrap()];
    let told = plan(&[Planned::new(&chain, None, None)], minute(0)).mistakes;
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|told| told.contains("another kind than P-256 and P-384")), "{told:?}");
}

#[test]
fn what_may_not_be_meant_is_a_warning() {
    let superseded = [authority(2, None, None), authority(1, Some(30), Some(60))];
    let plan = plan_of(&superseded);
    assert!(plan.mistakes.is_empty(), "{:?}", plan.mistakes);
    assert!(plan.warnings.contains(&PlanWarning::ComesBack { authority: 1, from: minute(60) }));
    let stays = plan_of(&[authority(0, None, None), authority(2, Some(30), None)]).warnings;
    let trusted_until = issuers()[0].valid_until();
    assert!(stays.contains(&PlanWarning::StaysTrusted {
        authority: 1,
        signs_until: minute(30),
        trusted_until
    }));
}

/// RFC 5280 allows it and clients take it, so that it is no mistake.
#[test]
fn a_key_below_a_weaker_one_is_a_warning() {
    let root_signer = p256_signer();
    let root = make_root(&*root_signer, "weaker root");
    let strong = keys::file::generate(SignatureAlgorithm::EcdsaP384Sha384).unwrap().signer;
    let new = new_ca("stronger", 3600);
    let made = create_intermediate(&root, &*root_signer, &*strong, &new);
    let chain = [made.now_or_never().unwrap().unwrap(), root];
    let plan = plan(&[Planned::new(&chain, None, None)], minute(1));
    assert!(plan.mistakes.is_empty(), "{:?}", plan.mistakes);
    assert!(plan.warnings.contains(&PlanWarning::WeakerIssuer { authority: 1, position: 1 }));
}

/// Found by the random schedules below.
#[test]
fn an_older_authority_comes_back_when_the_chain_of_the_newer_one_has_expired() {
    let plan = plan_of(&[authority(0, Some(2), None), authority(1, None, None)]);
    let signing: Vec<usize> = plan.shifts.iter().map(|shift| shift.authority).collect();
    assert_eq!(signing, [2, 1, 2]);
    assert_eq!(plan.shifts[2].from, issuers()[0].valid_until().plus_ms(1000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// For any schedule: the plan says who signs exactly as the set that signs does, at most one at
    /// a time, and as the issuer itself would refuse.
    #[test]
    fn nt_46_the_plan_agrees_with_the_set_that_signs(
        spans in prop::collection::vec(
            (prop::option::of(0_u64..240), prop::option::of(1_u64..400)), 1..=3),
        probes in prop::collection::vec(0_u64..760_000, 1..40),
    ) {
        let authorities: Vec<Authority> = spans
            .iter()
            .enumerate()
            .map(|(which, (activate, retire))| authority(which, *activate, *retire))
            .collect();
        let plan = plan_of(&authorities);
        for pair in plan.shifts.windows(2) {
            prop_assert!(pair[0].until <= pair[1].from, "two sign at once: {pair:?}");
        }
        let Ok(set) = CaSet::new(authorities.clone()) else {
            prop_assert!(plan.mistakes.iter().any(|m| matches!(m, PlanMistake::Conflict(_))));
            return Ok(());
        };
        for probe in probes {
            let at = minute(0).plus_ms(probe * 60);
            let mut on_shift = plan.shifts.iter().filter(|s| s.from <= at && at < s.until);
            let shift = on_shift.next();
            prop_assert!(on_shift.next().is_none());
            // The set names who signs; in its chain's last ten minutes that one refuses.
            let signs = set.signing_at(at).ok().filter(|issuer| {
                at.unix_seconds() + LEAF_LIFETIME_SECONDS <= issuer.valid_until().unix_seconds()
            });
            match (shift, signs) {
                (Some(shift), Some(signs)) => {
                    prop_assert!(Arc::ptr_eq(&authorities[shift.authority - 1].issuer, &signs));
                    // What it signs is trusted at that time and until it has expired.
                    let not_after =
                        Timestamp::from_unix_seconds(at.unix_seconds() + LEAF_LIFETIME_SECONDS);
                    for later_ms in [0, 1, 300_000, 599_999, 600_000] {
                        let instant = at.plus_ms(later_ms).min(not_after);
                        let trusted = set.trusted_at(instant);
                        prop_assert!(trusted.contains(&signs.chain()));
                    }
                }
                (None, None) => {}
                (shift, signs) => prop_assert!(false, "{at}: {shift:?} but {signs:?}"),
            }
        }
    }

    /// A plan without mistakes signs at every minute until its end.
    #[test]
    fn nt_46_a_plan_without_mistakes_has_no_minute_without_a_signer(
        second in 1_u64..100, overlap in 0_u64..10, retires in any::<bool>(),
    ) {
        let authorities = [
            authority(0, None, retires.then_some(second + overlap)),
            authority(2, Some(second), None),
        ];
        let plan = plan_of(&authorities);
        prop_assert!(plan.mistakes.is_empty(), "{:?}", plan.mistakes);
        let set = CaSet::new(authorities.to_vec()).unwrap();
        let end = plan.shifts.last().unwrap().until;
        let mut at = minute(0);
        while at < end {
            let signs = set.signing_at(at).unwrap();
            prop_assert!(set.trusted_at(at).contains(&signs.chain()));
            at = at.plus_ms(60_000);
        }
    }
}

/// The last second of a shift that a chain's end cuts off, against the issuer that really signs.
#[test]
fn nt_43_the_plan_and_the_issuer_stop_in_the_same_second() {
    let plan = plan_of(&[authority(0, None, None)]);
    let until = plan.shifts[0].until;
    let precertify = |at| {
        let serial = Serial::from_random([7; 20]);
        let issuer = Arc::clone(&issuers()[0]);
        issuer.precertify(approved(), at, serial).now_or_never().unwrap().map(drop)
    };
    precertify(until.minus_ms(1)).unwrap();
    assert!(matches!(precertify(until), Err(CaError::IssuerExpiring { .. })));
}
