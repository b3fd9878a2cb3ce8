//! Tokens that sign something else, or become something else while Mayfly serves: none of it
//! becomes a certificate.
use serde_json::{Value, json};

use super::hsm::{jane, value};
use crate::support::{
    clients::PlainClient,
    issuers,
    kryoptic::Kryoptic,
    mayfly::{CaKey, Mayfly},
    peers::CiOidc,
    softhsm::{SoftHsm, token::Token},
    tpm::Tpm,
};

#[test]
fn softhsm_that_signs_with_another_key_than_it_shows_is_told_before_a_port_opens() {
    a_lie_is_told_by_the_keys_name(&SoftHsm::new());
}

#[test]
fn kryoptic_that_signs_with_another_key_than_it_shows_is_told_before_a_port_opens() {
    a_lie_is_told_by_the_keys_name(&Kryoptic::new());
}

fn a_lie_is_told_by_the_keys_name(hsm: &Token) {
    hsm.generate("EC:prime256v1", "ca", "01");
    hsm.forge("ca", "01");
    for command in [&["config", "check"][..], &["serve"]] {
        let said = Mayfly::failure_on_hsm(CaKey::P256, hsm, "ca", command);
        let wrong = "key pkcs11:token=mayfly;object=ca: the signature it returned does not verify";
        assert!(said.contains(wrong), "{command:?}: {said}");
        assert!(!said.contains("in use"), "{command:?}: {said}");
    }
}

#[test]
fn softhsm_that_begins_to_lie_while_it_serves_yields_no_certificate() {
    a_lie_is_no_certificate(&SoftHsm::new());
}

#[test]
fn kryoptic_that_begins_to_lie_while_it_serves_yields_no_certificate() {
    a_lie_is_no_certificate(&Kryoptic::new());
}

fn a_lie_is_no_certificate(hsm: &Token) {
    hsm.generate("EC:prime256v1", "ca", "01");
    let (mayfly, request, _oidc) = issuing(hsm);
    hsm.forge("ca", "01");
    for _ in 0..3 {
        refused(&mayfly, &request, 500, 13);
    }
    let lies = "mayfly_key_calls_total{key=\"pkcs11:token=mayfly;object=ca\",\
                result=\"bad_signature\"}";
    assert_eq!(value(&mayfly, lies), 3.0);
    assert!(mayfly.log().contains("the signature it returned does not verify"));
}

#[test]
fn a_key_of_softhsm_that_is_swapped_while_it_serves_yields_no_certificate() {
    another_key_of_the_same_name_is_refused(&SoftHsm::new());
}

#[test]
fn a_key_of_kryoptic_that_is_swapped_while_it_serves_yields_no_certificate() {
    another_key_of_the_same_name_is_refused(&Kryoptic::new());
}

fn another_key_of_the_same_name_is_refused(hsm: &Token) {
    hsm.generate("EC:prime256v1", "ca", "01");
    let (mayfly, request, _oidc) = issuing(hsm);
    hsm.remove_pair("ca");
    hsm.generate("EC:prime256v1", "ca", "01");
    for _ in 0..3 {
        refused(&mayfly, &request, 500, 13);
    }
    assert!(mayfly.log().contains("the token has another key in its place now"));
    let said = mayfly.command(&["config", "check"]).failure();
    assert!(said.contains("pkcs11:token=mayfly;object=ca is not the key of"), "{said}");
}

/// Where SoftHSM's sessions outlive that, the key is missed; the next ones get the wrong PIN.
#[test]
fn a_token_that_is_set_up_anew_with_another_pin_yields_no_certificate() {
    let hsm = SoftHsm::new();
    hsm.generate("EC:prime256v1", "ca", "01");
    let (mayfly, request, _oidc) = issuing(&hsm);
    hsm.set_up_anew("another-pin");
    for _ in 0..3 {
        let answer = mayfly.ask(&request);
        assert!(matches!(answer.status, 500 | 503), "{answer:?}");
        assert!(!answer.text.contains("CERTIFICATE"), "{answer:?}");
    }
    let log = mayfly.log();
    assert!(log.contains("C_FindObjects: the token has no private key with object 'ca'"), "{log}");
    let said = mayfly.command(&["config", "check"]).failure();
    assert!(said.contains("the token refuses the PIN (CKR_PIN_INCORRECT)"), "{said}");
}

#[test]
fn a_tpm_that_loses_its_power_is_an_outage_that_a_restart_ends_when_it_is_back() {
    let mut tpm = Tpm::new();
    tpm.generate("EC:prime256v1", "ca", "01");
    let (mut mayfly, request, _oidc) = issuing(&tpm);
    tpm.cut_power();
    for _ in 0..3 {
        refused(&mayfly, &request, 503, 14);
    }
    let unavailable = "mayfly_key_calls_total{key=\"pkcs11:token=mayfly;object=ca\",\
                       result=\"unavailable\"}";
    assert!(value(&mayfly, unavailable) >= 3.0);
    assert!(mayfly.stop().success());
    tpm.power_on();
    mayfly.restart();
    assert_eq!(mayfly.ask(&request).status, 200);
}

/// Mayfly on the P-256 key `ca`, after a request that it granted.
fn issuing(hsm: &Token) -> (Mayfly, Value, CiOidc) {
    let oidc = CiOidc::start();
    let mayfly = Mayfly::start_on_hsm(CaKey::P256, hsm, "ca", &issuers::email(oidc.url()));
    let request = PlainClient::new().request(&oidc.token(&jane()), "jane@example.com");
    assert_eq!(mayfly.ask(&request).status, 200);
    (mayfly, request, oidc)
}

#[track_caller]
fn refused(mayfly: &Mayfly, request: &Value, status: u16, code: u32) {
    let answer = mayfly.ask(request);
    assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{answer:?}");
    assert!(!answer.text.contains("CERTIFICATE"), "{answer:?}");
}
