//! The floor: the signature operations that no issuance can do without, and nothing else.
//!
//! The token's signature verified (ES256), the proof of possession verified (P-256), two
//! signatures by the CA, one by the log (P-256). Keys are prepared as a server prepares them.

use std::{error::Error, hint::black_box, time::Instant};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED,
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, KeyPair, ParsedPublicKey,
    },
};
use mayfly::keys::SignatureAlgorithm;
use serde::Serialize;

/// Microseconds on one core.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Floor {
    pub(crate) token_verify_us: f64,
    pub(crate) proof_verify_us: f64,
    pub(crate) ca_sign_us: f64,
    pub(crate) sct_sign_us: f64,
    /// Verify, verify, CA, CA, SCT.
    pub(crate) total_us: f64,
}

/// Times each operation `rounds` times.
pub(crate) fn measure(ca: SignatureAlgorithm, rounds: u32) -> Result<Floor, Box<dyn Error>> {
    let ca_algorithm = match ca {
        SignatureAlgorithm::EcdsaP384Sha384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        _ => &ECDSA_P256_SHA256_ASN1_SIGNING,
    };
    let token = Signed::new(&ECDSA_P256_SHA256_FIXED_SIGNING, 700)?;
    let token_key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, token.public_key())?;
    let proof = Signed::new(&ECDSA_P256_SHA256_ASN1_SIGNING, 15)?;
    let proof_key = proof.public_key();
    let ca_key = Signed::new(ca_algorithm, 700)?;
    let log_key = Signed::new(&ECDSA_P256_SHA256_ASN1_SIGNING, 750)?;

    let token_verify_us = time(rounds, || token_key.verify_sig(&token.message, &token.signature));
    // A client's key is new each time, so parsing it is part of the floor.
    let proof_verify_us = time(rounds, || {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, proof_key)
            .map_err(|_| aws_lc_rs::error::Unspecified)?
            .verify_sig(&proof.message, &proof.signature)
    });
    let ca_sign_us = time(rounds, || ca_key.sign().map(drop));
    let sct_sign_us = time(rounds, || log_key.sign().map(drop));
    let total_us = token_verify_us + proof_verify_us + 2.0 * ca_sign_us + sct_sign_us;
    Ok(Floor { token_verify_us, proof_verify_us, ca_sign_us, sct_sign_us, total_us })
}

struct Signed {
    key: EcdsaKeyPair,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    fn new(
        algorithm: &'static EcdsaSigningAlgorithm,
        message_bytes: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let key = EcdsaKeyPair::generate(algorithm)?;
        let message = vec![0x5a; message_bytes];
        let signature = key.sign(&SystemRandom::new(), &message)?.as_ref().to_vec();
        Ok(Self { key, message, signature })
    }

    fn public_key(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    fn sign(&self) -> Result<aws_lc_rs::signature::Signature, aws_lc_rs::error::Unspecified> {
        self.key.sign(&SystemRandom::new(), &self.message)
    }
}

#[expect(clippy::expect_used, reason = "a signature made here verifies here")]
/// Microseconds for one run of `work`: the median of ten batches, so that a neighbour's burst on
/// the machine does not count.
fn time(rounds: u32, mut work: impl FnMut() -> Result<(), aws_lc_rs::error::Unspecified>) -> f64 {
    let per_batch = rounds.div_ceil(BATCHES);
    let mut batches: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..per_batch {
                black_box(work()).expect("a signature made here verifies here");
            }
            begun.elapsed().as_secs_f64() * 1e6 / f64::from(per_batch)
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    batches[batches.len() / 2]
}

const BATCHES: u32 = 10;
