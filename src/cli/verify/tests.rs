//! Certificates, SCTs and trees made by other code (rcgen and hand-written bytes), whole and
//! then broken in one place: each check must find its own fault.

use std::sync::OnceLock;

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
    SanType, SerialNumber, date_time_ymd,
};

use super::{
    chain::{self, ChainFault},
    inclusion::{self, InclusionFault, KnownLog},
    presented::Presented,
    sct::{self, Promise, SctFault},
};
use crate::{
    cli::client::ClientError,
    ct::{LeafIndex, LogId},
    time::Timestamp,
    tlog::{Hash, KeyName, Tree, TreeHead, TreeHeadKey, leaf_hash},
};

/// 2026-11-21T00:05:00Z, inside every certificate made here.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_219_500);
const SCT_OID: [u64; 10] = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];

/// What the makers of a test PKI may get wrong.
#[derive(Clone, Copy, Default)]
struct Flaws {
    leaf_days_late: i64,
    leaf_is_ca: bool,
    leaf_for_servers: bool,
    leaf_without_san: bool,
    leaf_with_critical_extra: bool,
    issuing_is_no_ca: bool,
    issuing_for_servers: bool,
    root_path_length: Option<u8>,
    scts: Option<usize>,
}

struct Pki {
    root: Presented,
    issuing: Presented,
    leaf: Presented,
    log: EcdsaKeyPair,
}

impl Pki {
    fn with(flaws: Flaws) -> Self {
        let root_key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let issuing_key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let root_params = ca("root", flaws.root_path_length.unwrap_or(1));
        let root = root_params.self_signed(&root_key).unwrap();
        let mut issuing_params = ca("issuing", 0);
        issuing_params.extended_key_usages = vec![purpose(flaws.issuing_for_servers)];
        if flaws.issuing_is_no_ca {
            issuing_params.is_ca = IsCa::ExplicitNoCa;
        }
        let root_issuer = Issuer::from_params(&root_params, &root_key);
        let issuing = issuing_params
            .signed_by(&issuing_key, &root_issuer)
            .unwrap();
        let issuing = presented(issuing.der());
        let log = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let issuer = Issuer::from_params(&issuing_params, &issuing_key);
        let leaf_key = KeyPair::generate().unwrap();
        let mut params = leaf(flaws);
        // The same certificate twice: without SCT list, to learn what the log signs, and with it.
        let bare = presented(params.signed_by(&leaf_key, &issuer).unwrap().der());
        let sct = sct_bytes(&log, &issuing, bare.tbs_der(), 7);
        let list = sct_list(&vec![sct; flaws.scts.unwrap_or(1)]);
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&SCT_OID, list));
        let leaf = presented(params.signed_by(&leaf_key, &issuer).unwrap().der());
        Self {
            root: presented(root.der()),
            issuing,
            leaf,
            log,
        }
    }

    fn sound() -> &'static Self {
        static SOUND: OnceLock<Pki> = OnceLock::new();
        SOUND.get_or_init(|| Self::with(Flaws::default()))
    }

    fn chain(&self) -> Result<(), ChainFault> {
        let above = [self.issuing.clone(), self.root.clone()];
        chain::verify(&self.leaf, &above, &self.root, NOW)
    }

    fn sct(&self) -> Result<Promise, SctFault> {
        sct::verify(&self.leaf, &self.issuing, &self.log_spki(), NOW)
    }

    fn log_spki(&self) -> Vec<u8> {
        use aws_lc_rs::encoding::AsDer;

        self.log.public_key().as_der().unwrap().as_ref().to_vec()
    }
}

fn ca(name: &str, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2026, 11, 1);
    params.not_after = date_time_ymd(2026, 12, 1);
    params.use_authority_key_identifier_extension = true;
    params
}

fn leaf(flaws: Flaws) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from(4711_u64));
    params.is_ca =
        if flaws.leaf_is_ca { IsCa::Ca(BasicConstraints::Constrained(0)) } else { IsCa::NoCa };
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose(flaws.leaf_for_servers)];
    if !flaws.leaf_without_san {
        let email = "you@example.com".try_into().unwrap();
        params.subject_alt_names = vec![SanType::Rfc822Name(email)];
    }
    if flaws.leaf_with_critical_extra {
        let mut extra = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 9999, 1], vec![5, 0]);
        extra.set_criticality(true);
        params.custom_extensions.push(extra);
    }
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let begin = date_time_ymd(2026, 11, 21);
    params.not_before = if flaws.leaf_days_late > 0 {
        begin + day
    } else {
        begin
    };
    params.not_after = params.not_before + std::time::Duration::from_secs(600);
    params.use_authority_key_identifier_extension = true;
    params
}

fn purpose(servers: bool) -> ExtendedKeyUsagePurpose {
    if servers {
        ExtendedKeyUsagePurpose::ServerAuth
    } else {
        ExtendedKeyUsagePurpose::CodeSigning
    }
}

fn presented(der: &[u8]) -> Presented {
    Presented::parse(der).unwrap()
}

/// RFC 6962, 3.2, written out: what the log signs, then the SCT around the signature.
fn sct_bytes(log: &EcdsaKeyPair, issuing: &Presented, tbs: &[u8], index: u8) -> Vec<u8> {
    let timestamp = (NOW.unix_ms() - 1000).to_be_bytes();
    let extensions = [0, 8, 0, 0, 5, 0, 0, 0, 0, index];
    let length = u32::try_from(tbs.len()).unwrap().to_be_bytes();
    let mut signed = vec![0, 0];
    signed.extend(timestamp);
    signed.extend([0, 1]);
    signed.extend(digest(&SHA256, issuing.spki_der()).as_ref());
    signed.extend(&length[1..]);
    signed.extend(tbs);
    signed.extend(extensions);
    let signature = log.sign(&SystemRandom::new(), &signed).unwrap();
    let spki = {
        use aws_lc_rs::encoding::AsDer;
        log.public_key().as_der().unwrap()
    };
    let mut sct = vec![0];
    sct.extend(digest(&SHA256, spki.as_ref()).as_ref());
    sct.extend(timestamp);
    sct.extend(extensions);
    sct.extend([4, 3]);
    sct.extend(
        u16::try_from(signature.as_ref().len())
            .unwrap()
            .to_be_bytes(),
    );
    sct.extend(signature.as_ref());
    sct
}

/// The list with its two length prefixes, inside its OCTET STRING.
fn sct_list(scts: &[Vec<u8>]) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let inner: Vec<u8> = scts
        .iter()
        .flat_map(|sct| [&length(sct)[..], sct].concat())
        .collect();
    let list = [&length(&inner)[..], &inner].concat();
    der::Encode::to_der(&der::asn1::OctetString::new(list).unwrap()).unwrap()
}

/// The certificate with one bit of one of its bytes turned.
fn with_bit_turned(certificate: &Presented, at: usize) -> Option<Presented> {
    let mut der = certificate.der().to_vec();
    der[at] ^= 1;
    Presented::parse(&der).ok()
}

#[test]
fn a_sound_chain_and_promise_verify() {
    let pki = Pki::sound();
    assert_eq!(pki.chain(), Ok(()));
    assert_eq!(pki.sct().unwrap().index, LeafIndex::new(7).unwrap());
    assert_eq!(pki.leaf.identities(), ["you@example.com"]);
}

#[test]
fn a_bit_turned_anywhere_in_the_leaf_is_found() {
    let pki = Pki::sound();
    let above = [pki.issuing.clone(), pki.root.clone()];
    let mut still_parsed = 0;
    for at in 0..pki.leaf.der().len() {
        let Some(turned) = with_bit_turned(&pki.leaf, at) else {
            continue;
        };
        still_parsed += 1;
        let verified = chain::verify(&turned, &above, &pki.root, NOW);
        assert!(verified.is_err(), "byte {at}");
    }
    assert!(
        still_parsed > 100,
        "only {still_parsed} turned certificates were looked at"
    );
}

#[test]
fn a_bit_turned_in_the_signed_part_breaks_the_promise() {
    let pki = Pki::sound();
    let signed = pki.leaf.tbs_without_sct_list().unwrap();
    // The TBS begins after the outer header and is covered but for the SCT list at its end.
    let covered = pki
        .leaf
        .der()
        .windows(20)
        .position(|w| w == &signed[signed.len() - 20..]);
    let covered = covered.unwrap();
    let mut looked_at = 0;
    for at in 8..covered {
        let Some(turned) = with_bit_turned(&pki.leaf, at) else {
            continue;
        };
        looked_at += 1;
        let verified = sct::verify(&turned, &pki.issuing, &pki.log_spki(), NOW);
        assert!(verified.is_err(), "byte {at}");
    }
    assert!(
        looked_at > 50,
        "only {looked_at} turned certificates were looked at"
    );
}

#[test]
fn a_server_cannot_bring_its_own_root() {
    let (pki, other) = (Pki::sound(), Pki::with(Flaws::default()));
    let above = [other.issuing.clone(), other.root.clone()];
    let verified = chain::verify(&other.leaf, &above, &pki.root, NOW);
    assert_eq!(verified, Err(ChainFault::OtherRoot));
    let verified = chain::verify(&other.leaf, &[], &pki.root, NOW);
    assert_eq!(verified, Err(ChainFault::Empty));
}

#[test]
fn a_foreign_issuing_ca_under_the_trusted_root_is_found() {
    let (pki, other) = (Pki::sound(), Pki::with(Flaws::default()));
    let above = [other.issuing.clone(), pki.root.clone()];
    let verified = chain::verify(&other.leaf, &above, &pki.root, NOW);
    assert!(verified.is_err(), "{verified:?}");
    let above = [pki.issuing.clone(), pki.root.clone()];
    let verified = chain::verify(&other.leaf, &above, &pki.root, NOW);
    assert!(verified.is_err(), "{verified:?}");
}

#[expect(clippy::too_many_lines, reason = "one table of flaws, each with its fault")]
#[test]
fn each_flaw_of_a_chain_is_found() {
    let flawless = Flaws::default();
    let leaf_profile = |flaws| matches!(flaws, ChainFault::LeafProfile { .. });
    let no_authority = |flaws| matches!(flaws, ChainFault::NoAuthority { .. });
    type Expected = fn(ChainFault) -> bool;
    let cases: [(&str, Flaws, Expected); 8] = [
        (
            "CA as leaf",
            Flaws {
                leaf_is_ca: true,
                ..flawless
            },
            leaf_profile,
        ),
        (
            "server leaf",
            Flaws {
                leaf_for_servers: true,
                ..flawless
            },
            leaf_profile,
        ),
        (
            "nameless leaf",
            Flaws {
                leaf_without_san: true,
                ..flawless
            },
            leaf_profile,
        ),
        (
            "critical extension",
            Flaws {
                leaf_with_critical_extra: true,
                ..flawless
            },
            |fault| matches!(fault, ChainFault::UnknownCritical { .. }),
        ),
        (
            "tomorrow's leaf",
            Flaws {
                leaf_days_late: 1,
                ..flawless
            },
            |fault| matches!(fault, ChainFault::NotValidNow { .. }),
        ),
        (
            "no CA",
            Flaws {
                issuing_is_no_ca: true,
                ..flawless
            },
            no_authority,
        ),
        (
            "server CA",
            Flaws {
                issuing_for_servers: true,
                ..flawless
            },
            no_authority,
        ),
        (
            "short path",
            Flaws {
                root_path_length: Some(0),
                ..flawless
            },
            no_authority,
        ),
    ];
    for (name, flaws, expected) in cases {
        let fault = Pki::with(flaws).chain().expect_err(name);
        assert!(expected(fault.clone()), "{name}: {fault}");
    }
}

#[test]
fn validity_ends_are_inclusive_seconds() {
    let pki = Pki::sound();
    let above = [pki.issuing.clone(), pki.root.clone()];
    let at = |at| chain::verify(&pki.leaf, &above, &pki.root, at);
    assert_eq!(at(pki.leaf.not_before()), Ok(()));
    assert_eq!(at(pki.leaf.not_after().plus_ms(999)), Ok(()));
    assert!(at(pki.leaf.not_before().minus_ms(1)).is_err());
    assert!(at(pki.leaf.not_after().plus_ms(1000)).is_err());
}

#[test]
fn neither_zero_nor_two_promises_are_one() {
    let two = Pki::with(Flaws {
        scts: Some(2),
        ..Flaws::default()
    });
    assert!(matches!(two.sct(), Err(SctFault::Count { count: 2 })));
    let zero = Pki::with(Flaws {
        scts: Some(0),
        ..Flaws::default()
    });
    assert!(zero.sct().is_err());
}

#[test]
fn a_promise_of_another_log_or_of_the_future_is_none() {
    let (pki, other) = (Pki::sound(), Pki::with(Flaws::default()));
    let verified = sct::verify(&pki.leaf, &pki.issuing, &other.log_spki(), NOW);
    assert!(matches!(verified, Err(SctFault::OtherLog { .. })));
    let early = NOW.minus_ms(2000);
    let verified = sct::verify(&pki.leaf, &pki.issuing, &pki.log_spki(), early);
    assert!(matches!(verified, Err(SctFault::Future { .. })));
    // RFC 6962, 3.2: the issuer's key hash is signed along.
    let verified = sct::verify(&pki.leaf, &other.issuing, &pki.log_spki(), NOW);
    assert!(matches!(verified, Err(SctFault::BadSignature)));
}

/// A log of 300 entries, the promised one at 7, that can be made to lie.
struct FakeLog {
    promise: Promise,
    known: KnownLog,
    checkpoint: Vec<u8>,
    leaves: Vec<Hash>,
}

impl FakeLog {
    fn new() -> Self {
        let pki = Pki::sound();
        let promise = pki.sct().unwrap();
        let mut leaves: Vec<Hash> = (0..300_u16).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        leaves[7] = promise.leaf;
        let origin = KeyName::new("log.example.com").unwrap();
        let root = leaves.iter().copied().collect::<Tree>().root();
        let head = TreeHead {
            timestamp: NOW,
            size: leaves.len() as u64,
            root,
        };
        let signature = pki
            .log
            .sign(&SystemRandom::new(), &head.signed_data())
            .unwrap();
        let key = TreeHeadKey::new(origin.clone(), &LogId::from_spki(&pki.log_spki()).0);
        let checkpoint = key
            .seal(&head, signature.as_ref())
            .unwrap()
            .to_string()
            .into_bytes();
        let known = KnownLog {
            origin,
            spki_der: pki.log_spki(),
        };
        Self {
            promise,
            known,
            checkpoint,
            leaves,
        }
    }

    fn tile(&self, path: &str) -> Vec<u8> {
        let bytes = |hashes: &[Hash]| hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        match path {
            "tile/0/000" => bytes(&self.leaves[..256]),
            "tile/0/001.p/44" => bytes(&self.leaves[256..]),
            "tile/1/000.p/1" => {
                bytes(&[self.leaves[..256].iter().copied().collect::<Tree>().root()])
            }
            other => panic!("{other} was fetched"),
        }
    }

    /// Verifies over the files of this log, after `lie` has changed them.
    fn verify(&self, lie: impl Fn(&str, &mut Vec<u8>)) -> Result<TreeHead, InclusionFault> {
        let fetch = async |path: String| {
            let checkpoint = path == "checkpoint";
            let mut file = if checkpoint {
                self.checkpoint.clone()
            } else {
                self.tile(&path)
            };
            lie(&path, &mut file);
            Ok::<_, ClientError>(file)
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(inclusion::verify(&self.promise, &self.known, fetch))
    }
}

#[test]
fn an_entry_in_the_signed_tree_is_found() {
    let log = FakeLog::new();
    assert_eq!(log.verify(|_, _| ()).unwrap().size, 300);
}

#[test]
fn a_bit_turned_in_any_file_of_the_log_is_found() {
    let log = FakeLog::new();
    for turned in ["checkpoint", "tile/0/000", "tile/0/001.p/44"] {
        let verified = log.verify(|path, file| {
            if path == turned {
                // Of the tile with the entry, a hash beside it: its own is known from the promise.
                file[6 * 32] ^= 1;
            }
        });
        assert!(verified.is_err(), "{turned}");
    }
}

#[test]
fn a_tile_cut_short_is_no_tile() {
    let log = FakeLog::new();
    let verified = log.verify(|path, file| {
        if path.starts_with("tile/0/000") {
            file.pop();
        }
    });
    assert!(matches!(verified, Err(InclusionFault::Tile(_))));
}

#[test]
fn a_log_that_dropped_the_entry_is_found_out() {
    let mut log = FakeLog::new();
    log.promise.leaf = leaf_hash(b"never taken up");
    assert!(matches!(
        log.verify(|_, _| ()),
        Err(InclusionFault::Proof(_))
    ));
}

#[test]
fn a_tree_that_ends_before_the_entry_keeps_no_promise() {
    let mut log = FakeLog::new();
    log.promise.index = LeafIndex::new(300).unwrap();
    assert!(matches!(
        log.verify(|_, _| ()),
        Err(InclusionFault::NotYet(_))
    ));
}

#[test]
fn another_logs_checkpoint_is_refused() {
    let mut log = FakeLog::new();
    log.known.origin = KeyName::new("other.example.com").unwrap();
    assert!(matches!(
        log.verify(|_, _| ()),
        Err(InclusionFault::Checkpoint(_))
    ));
    let mut log = FakeLog::new();
    log.known.spki_der = Pki::with(Flaws::default()).log_spki();
    assert!(matches!(
        log.verify(|_, _| ()),
        Err(InclusionFault::Checkpoint(_))
    ));
}
