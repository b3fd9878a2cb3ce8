//! RFC 6962 and static-ct-api bytes: written out by hand, and read by `x509-parser`.

use mayfly::{
    ct::{
        DecodeError, Entry, EntryKind, Extensions, LeafIndex, LogId, MerkleTreeLeaf, OutOfBounds,
        SignedCertificateTimestamp, SignedCertificateTimestampList, SignedEntry, TileLeaf,
        TileLeaves, decode_signature,
    },
    time::Timestamp,
    tlog::{leaf_hash, leaf_hash_of_parts},
};
use p256::pkcs8::EncodePublicKey;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use x509_parser::extensions::parse_ct_signed_certificate_timestamp_list;

const AT: Timestamp = Timestamp::from_unix_ms(0x0102_0304_0506_0708);

fn index(number: u64) -> LeafIndex {
    LeafIndex::new(number).unwrap()
}

fn precert_entry() -> Entry {
    let kind = EntryKind::Precert {
        issuer_key_hash: [0xaa; 32],
        tbs_certificate: b"tbs".to_vec(),
        precertificate: b"precert".to_vec(),
    };
    Entry::new(kind, vec![[0xbb; 32], [0xcc; 32]]).unwrap()
}

fn x509_entry() -> Entry {
    let kind = EntryKind::X509 { certificate: b"certificate".to_vec() };
    Entry::new(kind, vec![[0xbb; 32]]).unwrap()
}

fn sct(extensions: Vec<u8>, signature: Vec<u8>) -> SignedCertificateTimestamp {
    let extensions = Extensions::try_from(extensions).unwrap();
    SignedCertificateTimestamp { log_id: LogId([0x11; 32]), timestamp: AT, extensions, signature }
}

#[test]
fn nt_55_a_log_id_is_the_sha256_of_the_whole_spki() {
    let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    let spki = key.verifying_key().to_public_key_der().unwrap();
    let expected: [u8; 32] = Sha256::digest(spki.as_bytes()).into();
    assert_eq!(LogId::from_spki(spki.as_bytes()), LogId(expected));
    let point_only: [u8; 32] = Sha256::digest(key.verifying_key().to_sec1_bytes()).into();
    assert_ne!(LogId::from_spki(spki.as_bytes()), LogId(point_only));
}

#[test]
fn nt_56_extensions_are_signed_and_encoded_byte_exact() {
    let odd = b"\xff\x00\x00not even a list".to_vec();
    let promise = sct(odd.clone(), b"sig".to_vec());
    let encoded = promise.encode().unwrap();
    assert_eq!(SignedCertificateTimestamp::decode(&encoded), Ok(promise.clone()));
    let signed = precert_entry().sct_signed_data(AT, &promise.extensions);
    let end = [&[0, 18], odd.as_slice()].concat();
    assert!(signed.ends_with(&end) && encoded[41..].starts_with(&end));
    let without = precert_entry().sct_signed_data(AT, &Extensions::default());
    assert!(without.ends_with(b"tbs\x00\x00"));
}

#[test]
fn the_leaf_and_the_signed_data_of_a_precertificate_are_those_of_rfc_6962() {
    let fields: [&[u8]; 7] = [
        &[0, 0],                   // v1; timestamped_entry or certificate_timestamp
        &[1, 2, 3, 4, 5, 6, 7, 8], // timestamp
        &[0, 1],                   // precert_entry
        &[0xaa; 32],               // issuer_key_hash
        b"\x00\x00\x03tbs",        // tbs_certificate
        &[0, 8],                   // extensions
        &[0, 0, 5, 0, 0, 1, 2, 3], // leaf_index 0x010203
    ];
    let entry = precert_entry();
    let expected = fields.concat();
    assert_eq!(entry.merkle_tree_leaf(AT, index(0x01_0203)), expected);
    let extensions = Extensions::from(index(0x01_0203));
    assert_eq!(entry.sct_signed_data(AT, &extensions), expected);
    let tile_leaf = [&expected[2..], b"\0\0\x07precert\x00\x40", &[0xbb; 32], &[0xcc; 32]].concat();
    assert_eq!(entry.tile_leaf(AT, index(0x01_0203)), tile_leaf);
    assert_eq!(entry.tile_leaf_bytes(), tile_leaf.len());
}

#[test]
fn the_leaf_and_the_tile_entry_of_a_final_certificate_are_those_of_rfc_6962() {
    let fields: [&[u8]; 4] = [
        &[0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0],
        b"\x00\x00\x0bcertificate",
        &[0, 8],
        &[0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    let last = index((1 << 40) - 1);
    let leaf = x509_entry().merkle_tree_leaf(AT, last);
    assert_eq!(leaf, fields.concat());
    let tile_leaf = [&leaf[2..], &[0, 0x20], &[0xbb; 32]].concat();
    assert_eq!(x509_entry().tile_leaf(AT, last), tile_leaf);
    assert_eq!(x509_entry().tile_leaf_bytes(), tile_leaf.len());
}

#[test]
fn an_entrys_digest_depends_on_kind_issuer_and_certificate_alone() {
    let precert = |issuer, tbs: &[u8], precertificate: &[u8]| {
        let kind = EntryKind::Precert {
            issuer_key_hash: [issuer; 32],
            tbs_certificate: tbs.to_vec(),
            precertificate: precertificate.to_vec(),
        };
        Entry::new(kind, Vec::new()).unwrap().digest()
    };
    let digest = precert(1, b"tbs", b"signed once");
    assert_eq!(digest, precert(1, b"tbs", b"signed again"));
    assert_ne!(digest, precert(2, b"tbs", b"signed once"));
    assert_ne!(digest, precert(1, b"tbt", b"signed once"));
    let certificate = [[1; 32].as_slice(), b"tbs"].concat();
    let x509 = Entry::new(EntryKind::X509 { certificate }, Vec::new()).unwrap();
    assert_ne!(digest, x509.digest());
}

#[test]
fn what_has_no_encoding_cannot_be_made() {
    let x509 = |length| {
        let kind = EntryKind::X509 { certificate: vec![0; length] };
        Entry::new(kind, Vec::new()).map(|entry| entry.tile_leaf(AT, index(0)).len())
    };
    let refused = |field, length_bytes| OutOfBounds { field, length_bytes };
    assert_eq!(x509(0), Err(refused("certificate", 0)));
    assert_eq!(x509(1 << 24), Err(refused("certificate", 1 << 24)));
    assert_eq!(x509((1 << 24) - 1), Ok(8 + 2 + 3 + (1 << 24) - 1 + 10 + 2));
    let precert = |tbs: usize, signed: usize| {
        let kind = EntryKind::Precert {
            issuer_key_hash: [0; 32],
            tbs_certificate: vec![0; tbs],
            precertificate: vec![0; signed],
        };
        Entry::new(kind, Vec::new()).map(drop)
    };
    assert_eq!(precert(1, 1), Ok(()));
    assert_eq!(precert(0, 1), Err(refused("tbs_certificate", 0)));
    assert_eq!(precert(1, 0), Err(refused("pre_certificate", 0)));
    let chain = |count| Entry::new(x509_entry().kind().clone(), vec![[0; 32]; count]).map(drop);
    assert_eq!(chain(2047), Ok(()));
    assert_eq!(chain(2048), Err(refused("certificate_chain", 1 << 16)));
    assert!(LeafIndex::new(1 << 40).is_none());
    assert!(Extensions::try_from(vec![0; (1 << 16) - 1]).is_ok());
    assert!(Extensions::try_from(vec![0; 1 << 16]).is_err());
    assert_eq!(sct(Vec::new(), Vec::new()).encode(), Err(refused("signature", 0)));
    assert_eq!(sct(Vec::new(), vec![0; 1 << 16]).encode(), Err(refused("signature", 1 << 16)));
    let long = sct(Vec::new(), vec![0; 40_000]);
    let list = |scts: Vec<_>| SignedCertificateTimestampList(scts).encode().map(drop);
    assert_eq!(list(vec![long.clone()]), Ok(()));
    assert!(list(vec![long.clone(), long]).is_err());
    assert_eq!(list(Vec::new()), Err(refused("sct_list", 0)));
    assert!(list(vec![sct(Vec::new(), vec![0; (1 << 16) - 1])]).is_err());
}

#[test]
fn the_leaf_index_is_found_among_other_extensions_but_only_once() {
    let read = LeafIndex::from_extensions;
    assert_eq!(read(b"\x00\x00\x05\x00\x00\x00\x00\x07"), Ok(index(7)));
    assert_eq!(read(b"\x09\x00\x01z\x00\x00\x05\x00\x00\x00\x00\x07"), Ok(index(7)));
    assert_eq!(read(b""), Err(DecodeError::NoLeafIndex));
    assert_eq!(read(b"\x09\x00\x00"), Err(DecodeError::NoLeafIndex));
    let twice = b"\x00\x00\x05\x00\x00\x00\x00\x07".repeat(2);
    assert_eq!(read(&twice), Err(DecodeError::DuplicateExtension { extension_type: 0 }));
    for bad in [
        b"\x00\x00\x04\x00\x00\x00\x07".as_slice(),
        b"\x00\x00\x06\x00\x00\x00\x00\x00\x07",
        b"\x00\x00\x05\x00\x00\x00\x00",
        b"\x00\x00\x05\x00\x00\x00\x00\x07\x00",
        b"\x00\x00",
    ] {
        assert!(read(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn an_sct_of_another_version_or_algorithm_is_refused() {
    let good = sct(Vec::new(), b"sig".to_vec()).encode().unwrap();
    let with = |place: usize, byte| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        SignedCertificateTimestamp::decode(&bytes)
    };
    let unsupported = |field, value| Err(DecodeError::Unsupported { field, value });
    assert_eq!(with(0, 1), unsupported("sct_version", 1));
    assert_eq!(with(43, 5), unsupported("signature algorithm", 0x0503));
    assert_eq!(with(44, 1), unsupported("signature algorithm", 0x0401));
    assert_eq!(decode_signature(b"\x04\x03\x00\x03sig"), Ok(b"sig".as_slice()));
    let empty = Err(DecodeError::Empty { field: "signature" });
    assert_eq!(decode_signature(b"\x04\x03\x00\x00"), empty);
    assert!(decode_signature(b"\x04\x03\x00\x03sigh").is_err());
}

#[test]
fn a_data_tile_reads_entry_by_entry_and_stops_at_the_first_error() {
    let mut tile = Vec::new();
    precert_entry().put_tile_leaf(AT, index(0), &mut tile);
    x509_entry().put_tile_leaf(AT, index(1), &mut tile);
    let whole: Vec<TileLeaf<'_>> = TileLeaves::new(&tile).collect::<Result<_, _>>().unwrap();
    assert_eq!(whole.iter().map(|leaf| leaf.index.get()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(whole[0].to_entry(), Ok(precert_entry()));
    assert_eq!(whole[1].to_entry(), Ok(x509_entry()));
    tile.extend_from_slice(b"rest");
    let mut leaves = TileLeaves::new(&tile);
    assert!(leaves.next().unwrap().is_ok() && leaves.next().unwrap().is_ok());
    assert_eq!(leaves.next(), Some(Err(DecodeError::Truncated { field: "timestamp" })));
    assert_eq!(leaves.next(), None);
    assert_eq!(TileLeaves::new(b"").next(), None);
}

#[test]
fn a_tile_entry_with_half_a_fingerprint_or_an_unknown_type_is_refused() {
    let mut half = x509_entry().tile_leaf(AT, index(1));
    let chain_at = half.len() - 34;
    half[chain_at + 1] = 31;
    half.pop();
    let error = DecodeError::PartialElement { field: "certificate_chain", length_bytes: 31 };
    assert_eq!(TileLeaf::decode_first(&half), Err(error));
    let mut unknown = x509_entry().tile_leaf(AT, index(1));
    unknown[9] = 2;
    let error = DecodeError::Unsupported { field: "entry_type", value: 2 };
    assert_eq!(TileLeaf::decode_first(&unknown), Err(error));
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..600);
    let x509 = bytes().prop_map(|certificate| EntryKind::X509 { certificate });
    let precert = (any::<[u8; 32]>(), bytes(), bytes()).prop_map(
        |(issuer_key_hash, tbs_certificate, precertificate)| EntryKind::Precert {
            issuer_key_hash,
            tbs_certificate,
            precertificate,
        },
    );
    let chain = prop::collection::vec(any::<[u8; 32]>(), 0..4);
    (prop_oneof![x509, precert], chain).prop_map(|(kind, chain)| Entry::new(kind, chain).unwrap())
}

fn any_sct() -> impl Strategy<Value = SignedCertificateTimestamp> {
    let bytes = |least| prop::collection::vec(any::<u8>(), least..90);
    (any::<[u8; 32]>(), any::<u64>(), bytes(0), bytes(1)).prop_map(
        |(log_id, unix_ms, extensions, signature)| SignedCertificateTimestamp {
            log_id: LogId(log_id),
            timestamp: Timestamp::from_unix_ms(unix_ms),
            extensions: extensions.try_into().unwrap(),
            signature,
        },
    )
}

proptest! {
    #[test]
    fn entries_survive_the_tile_and_hash_alike(
        entry in any_entry(), unix_ms: u64, number in 0_u64..1 << 40, after: [u8; 3],
    ) {
        let timestamp = Timestamp::from_unix_ms(unix_ms);
        let mut bytes = entry.tile_leaf(timestamp, index(number));
        prop_assert_eq!(bytes.len(), entry.tile_leaf_bytes());
        bytes.extend_from_slice(&after);
        let (leaf, rest) = TileLeaf::decode_first(&bytes).unwrap();
        prop_assert_eq!(rest, after);
        prop_assert_eq!(leaf.index, index(number));
        prop_assert_eq!(leaf.timestamped_entry.timestamp, timestamp);
        prop_assert_eq!(leaf.to_entry(), Ok(entry.clone()));
        let tree_leaf = entry.merkle_tree_leaf(timestamp, index(number));
        let parts = leaf.timestamped_entry.merkle_tree_leaf_parts();
        prop_assert_eq!(leaf_hash_of_parts(&parts), leaf_hash(&tree_leaf));
        let decoded = MerkleTreeLeaf::decode(&tree_leaf).unwrap();
        prop_assert_eq!(decoded.timestamped_entry, leaf.timestamped_entry);
        let is_precert = matches!(leaf.timestamped_entry.signed_entry, SignedEntry::Precert { .. });
        prop_assert_eq!(leaf.precertificate.is_some(), is_precert);
    }

    #[test]
    fn no_cut_and_no_longer_value_decodes(entry in any_entry(), one in any_sct()) {
        let exact = entry.merkle_tree_leaf(AT, index(3));
        prop_assert!(MerkleTreeLeaf::decode(&[exact.as_slice(), &[0]].concat()).is_err());
        prop_assert!((0..exact.len()).all(|end| MerkleTreeLeaf::decode(&exact[..end]).is_err()));
        let tile = entry.tile_leaf(AT, index(3));
        prop_assert!((0..tile.len()).all(|end| TileLeaf::decode_first(&tile[..end]).is_err()));
        let single = one.encode().unwrap();
        let decode = SignedCertificateTimestamp::decode;
        prop_assert!(decode(&[single.as_slice(), &[0]].concat()).is_err());
        prop_assert!((0..single.len()).all(|end| decode(&single[..end]).is_err()));
        let list = SignedCertificateTimestampList(vec![one]).encode().unwrap();
        let decode = SignedCertificateTimestampList::decode;
        prop_assert!(decode(&[list.as_slice(), &[0]].concat()).is_err());
        prop_assert!((0..list.len()).all(|end| decode(&list[..end]).is_err()));
    }

    #[test]
    fn decoding_never_panics_and_what_decodes_is_canonical(
        mut bytes in prop::collection::vec(prop_oneof![Just(0_u8), 0_u8..8, any::<u8>()], 0..200),
    ) {
        if let Ok(one) = SignedCertificateTimestamp::decode(&bytes) {
            prop_assert_eq!(one.encode(), Ok(bytes.clone()));
        }
        if let Ok(list) = SignedCertificateTimestampList::decode(&bytes) {
            prop_assert_eq!(list.encode(), Ok(bytes.clone()));
        }
        let _ = LeafIndex::from_extensions(&bytes);
        let _ = decode_signature(&bytes);
        prop_assert!(TileLeaves::new(&bytes).count() <= bytes.len());
        if let Some(first_two) = bytes.first_chunk_mut() {
            *first_two = [0, 0];
            let _ = MerkleTreeLeaf::decode(&bytes);
        }
    }

    #[test]
    fn x509_parser_reads_our_sct_lists(scts in prop::collection::vec(any_sct(), 1..4)) {
        let list = SignedCertificateTimestampList(scts.clone()).encode().unwrap();
        prop_assert_eq!(&SignedCertificateTimestampList::decode(&list).unwrap().0, &scts);
        // That parser takes the extension's inner OCTET STRING.
        let length = u16::try_from(list.len()).unwrap().to_be_bytes();
        let header = match list.len() {
            0..128 => vec![4, length[1]],
            128..256 => vec![4, 0x81, length[1]],
            _ => vec![4, 0x82, length[0], length[1]],
        };
        let octets = [header, list].concat();
        let (rest, foreign) = parse_ct_signed_certificate_timestamp_list(&octets).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(foreign.len(), scts.len());
        for (theirs, ours) in foreign.iter().zip(&scts) {
            prop_assert_eq!(theirs.version.0, 0);
            prop_assert_eq!(theirs.id.key_id, &ours.log_id.0);
            prop_assert_eq!(theirs.timestamp, ours.timestamp.unix_ms());
            prop_assert_eq!(theirs.extensions.0, &*ours.extensions);
            let algorithm = (theirs.signature.hash_alg_id, theirs.signature.sign_alg_id);
            prop_assert_eq!(algorithm, (4, 3));
            prop_assert_eq!(theirs.signature.data, ours.signature.as_slice());
        }
    }
}
