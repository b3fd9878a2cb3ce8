//! Notes and checkpoints: the specifications' examples, and foreign readers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use mayfly::{
    time::Timestamp,
    tlog::{
        Checkpoint, Hash, KeyId, KeyName, Note, NoteError, OpenCheckpointError, TreeHead,
        TreeHeadKey, VerifyNoteError,
    },
};
use p256::ecdsa::{
    DerSignature, SigningKey, VerifyingKey as EcdsaKey, signature::Signer, signature::Verifier,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// The key and note in the documentation of Go's `golang.org/x/mod/sumdb/note`.
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\
    \n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const GO_KEY: &str = "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

/// The examples of C2SP tlog-checkpoint and C2SP signed-note.
const C2SP_CHECKPOINT: &str = "example.com/behind-the-sofa\n\
    20852163\n\
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
    \n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
const C2SP_NOTE: &str = "Ognuno sta solo sul cuor della terra\n\
    trafitto da un raggio di sole:\n\
    \n\
    ed è subito sera.\n\
    \n\
    — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

fn name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

#[test]
fn gos_note_verifies_under_the_key_id_of_the_specification() {
    let note = Note::parse(GO_NOTE.as_bytes()).unwrap();
    let encoded_key = STANDARD.decode(GO_KEY).unwrap();
    let (&signature_type, public_key) = encoded_key.split_first().unwrap();
    let key_id = KeyId::new(&name("PeterNeumann"), signature_type, public_key);
    assert_eq!(key_id, KeyId([0xc7, 0x4f, 0x20, 0xa3]));
    let key = VerifyingKey::from_bytes(public_key.try_into().unwrap()).unwrap();
    let verify = |signature: &[u8]| {
        let signature = Signature::from_slice(signature).unwrap();
        key.verify_strict(note.text().as_bytes(), &signature).is_ok()
    };
    assert_eq!(note.verify(&name("PeterNeumann"), key_id, verify), Ok(()));
    let unknown = Err(VerifyNoteError::UnknownKey);
    assert_eq!(note.verify(&name("PeterNeumann"), KeyId([0; 4]), |_| true), unknown);
    assert_eq!(note.verify(&name("Peter"), key_id, |_| true), unknown);
    let bad = Err(VerifyNoteError::BadSignature);
    assert_eq!(note.verify(&name("PeterNeumann"), key_id, |_| false), bad);
}

#[test]
fn the_examples_of_the_specifications_read_and_write_byte_exact() {
    for example in [GO_NOTE, C2SP_CHECKPOINT, C2SP_NOTE] {
        assert_eq!(Note::parse(example.as_bytes()).unwrap().to_string(), example);
    }
    let note = Note::parse(C2SP_CHECKPOINT.as_bytes()).unwrap();
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    assert_eq!(checkpoint.origin(), "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size(), 20_852_163);
    let root = STANDARD.encode(checkpoint.root());
    assert_eq!(root, "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=");
    assert_eq!(checkpoint.to_string(), note.text());
    let poem = Note::parse(C2SP_NOTE.as_bytes()).unwrap();
    assert!(poem.text().ends_with("\n\ned è subito sera.\n"));
    assert_eq!(poem.signatures()[0].name.as_str(), "quasimodo.example/salvatore");
}

#[test]
fn bytes_that_are_not_a_note_are_refused() {
    let sig = "— n AAAAAAA=\n";
    let cases: [(&str, NoteError); 17] = [
        ("", NoteError::NoSignature),
        ("\n", NoteError::NoSignature),
        ("\n\n", NoteError::NoSignature),
        ("text\n", NoteError::NoSignature),
        ("text\n\n", NoteError::NoSignature),
        ("text\n\n— n AAAAAAA=", NoteError::NoFinalNewline),
        ("text\n— n AAAAAAA=\n", NoteError::NoSignature),
        ("te\txt\n\n— n AAAAAAA=\n", NoteError::ControlCharacter),
        ("te\rxt\n\n— n AAAAAAA=\n", NoteError::ControlCharacter),
        ("text\n\n- n AAAAAAA=\n", NoteError::SignatureLine),
        ("text\n\n— n  AAAAAAA=\n", NoteError::SignatureLine),
        ("text\n\n—  AAAAAAA=\n", NoteError::SignatureLine),
        ("text\n\n— n+n AAAAAAA=\n", NoteError::SignatureLine),
        ("text\n\n— n AAAAAAA\n", NoteError::SignatureLine),
        ("text\n\n— n AAAAAAB=\n", NoteError::SignatureLine),
        // Four bytes are a key id without a signature.
        ("text\n\n— n AAAAAA==\n", NoteError::SignatureLine),
        ("text\n\n— n AAAA\n", NoteError::SignatureLine),
    ];
    for (note, error) in cases {
        assert_eq!(Note::parse(note.as_bytes()), Err(error), "{note:?}");
    }
    assert_eq!(Note::parse(b"\xff\n\n\xe2\x80\x94 n AAAAAAA=\n"), Err(NoteError::NotUtf8));
    let with_signatures = |count| format!("text\n\n{}", sig.repeat(count));
    assert!(Note::parse(with_signatures(16).as_bytes()).is_ok());
    assert!(Note::parse(with_signatures(100).as_bytes()).is_ok());
    let many = Note::parse(with_signatures(101).as_bytes());
    assert_eq!(many, Err(NoteError::TooManySignatures));
    let large = format!("{}\n\n{sig}", "x".repeat(1 << 20));
    let length_bytes = large.len();
    assert_eq!(Note::parse(large.as_bytes()), Err(NoteError::TooLarge { length_bytes }));
}

#[test]
fn texts_that_are_not_a_checkpoint_are_refused_here_and_by_tlog_tiles() {
    let root = STANDARD.encode([7; 32]);
    let good = format!("o\n12\n{root}\n");
    assert!(Checkpoint::parse(&good).is_ok());
    assert!(tlog_tiles::Checkpoint::from_bytes(good.as_bytes()).is_ok());
    for text in [
        String::new(),
        "\n".to_owned(),
        "o\n".to_owned(),
        "o\n12\n".to_owned(),
        format!("\n12\n{root}\n"),
        format!("o\n012\n{root}\n"),
        format!("o\n-12\n{root}\n"),
        format!("o\n\n{root}\n"),
        format!("o\n18446744073709551616\n{root}\n"),
        "o\n12\nAAAA\n".to_owned(),
        format!("o\n12\n{}\n", root.trim_end_matches('=')),
        format!("o\n12\n{root}"),
        format!("o\n12\n{root}\n\nextension\n"),
    ] {
        assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
        assert!(tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).is_err(), "{text:?}");
    }
    // Here we are stricter than that reader: one text for each size.
    assert!(Checkpoint::parse(&format!("o\n+12\n{root}\n")).is_err());
}

fn log_key() -> (SigningKey, TreeHeadKey) {
    let key = SigningKey::from_slice(&[7; 32]).unwrap();
    let log_id = [9; 32];
    (key, TreeHeadKey::new(name("log.example.com/2026"), &log_id))
}

fn verifier(key: &SigningKey) -> impl Fn(&[u8], &[u8]) -> bool {
    let key = EcdsaKey::from(key);
    move |message, der| {
        DerSignature::try_from(der).is_ok_and(|signature| key.verify(message, &signature).is_ok())
    }
}

fn sealed(key: &SigningKey, log: &TreeHeadKey, head: &TreeHead) -> Note {
    let signature: DerSignature = key.sign(&head.signed_data());
    log.seal(head, signature.as_bytes()).unwrap()
}

fn head(size: u64, unix_ms: u64) -> TreeHead {
    let root = Hash::from_bytes([3; 32]);
    TreeHead { timestamp: Timestamp::from_unix_ms(unix_ms), size, root }
}

#[test]
fn the_signed_tree_head_has_the_bytes_of_rfc_6962_section_3_5() {
    let signed = head(0x0102, 0x0304_0506).signed_data();
    let expected =
        [[0, 1].as_slice(), &[0, 0, 0, 0, 3, 4, 5, 6], &[0, 0, 0, 0, 0, 0, 1, 2], &[3; 32]];
    assert_eq!(signed.as_slice(), expected.concat());
}

#[test]
fn the_checkpoint_line_has_the_bytes_of_static_ct_api() {
    let (_, log) = log_key();
    let note = log.seal(&head(5, 0x0102_0304), b"der").unwrap();
    let message = [b"log.example.com/2026\n\x05".as_slice(), &[9; 32]].concat();
    assert_eq!(log.id().0, Sha256::digest(message)[..4]);
    let [line] = note.signatures() else { panic!("one signature line") };
    assert_eq!(line.name.as_str(), "log.example.com/2026");
    assert_eq!(line.key_id, log.id());
    let body = [[0, 0, 0, 0, 1, 2, 3, 4].as_slice(), &[4, 3, 0, 3], b"der"].concat();
    assert_eq!(line.signature, body);
    assert!(log.seal(&head(5, 1), &[0; 1 << 16]).is_err());
}

#[test]
fn a_checkpoint_that_was_altered_does_not_open() {
    let (key, log) = log_key();
    let note = sealed(&key, &log, &head(5, 1_795_132_800_000)).to_string();
    let open = |note: &str| log.open(note.as_bytes(), verifier(&key));
    assert_eq!(open(&note), Ok(head(5, 1_795_132_800_000)));
    let bad = Err(OpenCheckpointError::Signature(VerifyNoteError::BadSignature));
    assert_eq!(open(&note.replace("\n5\n", "\n6\n")), bad);
    let other_root = STANDARD.encode([4; 32]);
    assert_eq!(open(&note.replace(&STANDARD.encode([3; 32]), &other_root)), bad);
    let extended = note.replace("\n\n", "\nextension\n\n");
    assert_eq!(open(&extended), Err(OpenCheckpointError::ExtensionLines));
    let found = "log.example.com/2027".to_owned();
    let renamed = note.replace("/2026\n5", "/2027\n5");
    assert_eq!(open(&renamed), Err(OpenCheckpointError::Origin { found }));
    let elsewhere = TreeHeadKey::new(name("log.example.com/2026"), &[8; 32]);
    let unknown = Err(OpenCheckpointError::Signature(VerifyNoteError::UnknownKey));
    assert_eq!(elsewhere.open(note.as_bytes(), |_, _| true), unknown);
    // A second line of the same key must verify as well.
    let twice = format!("{note}{}", note.lines().last().unwrap());
    assert!(open(&twice).is_err());
}

#[test]
fn a_signature_line_of_another_shape_does_not_open() {
    let (key, log) = log_key();
    let note = sealed(&key, &log, &head(5, 1));
    let line = note.signatures()[0].clone();
    let good = line.signature.clone();
    let reshaped = |signature: Vec<u8>| {
        let line = mayfly::tlog::NoteSignature { signature, ..line.clone() };
        Note::new(note.text().to_owned(), vec![line]).unwrap().to_string()
    };
    assert!(log.open(reshaped(good.clone()).as_bytes(), |_, _| true).is_ok());
    let mut shapes = vec![[good.as_slice(), &[0]].concat(), vec![0]];
    shapes.extend((1..12).map(|length| good[..length].to_vec()));
    for place in 8..12 {
        let mut shape = good.clone();
        shape[place] ^= 1;
        shapes.push(shape);
    }
    for shape in shapes {
        assert!(log.open(reshaped(shape.clone()).as_bytes(), |_, _| true).is_err(), "{shape:?}");
    }
}

proptest! {
    #[test]
    fn sealed_checkpoints_open_and_tlog_tiles_reads_the_same(
        size: u64, unix_ms: u64, root: [u8; 32],
    ) {
        let (key, log) = log_key();
        let timestamp = Timestamp::from_unix_ms(unix_ms);
        let head = TreeHead { timestamp, size, root: Hash::from_bytes(root) };
        let note = sealed(&key, &log, &head);
        prop_assert_eq!(log.open(note.to_string().as_bytes(), verifier(&key)), Ok(head));
        let foreign = tlog_tiles::Checkpoint::from_bytes(note.text().as_bytes()).unwrap();
        prop_assert_eq!(foreign.origin(), log.origin().as_str());
        prop_assert_eq!(foreign.size(), size);
        prop_assert_eq!(foreign.hash().0, root);
        prop_assert_eq!(foreign.extension(), "");
    }

    #[test]
    fn reading_a_note_never_panics_and_what_is_read_is_canonical(
        note in r"(\PC{0,9}\n){0,3}\n?(— \PC{0,6} [A-Za-z0-9+/]{0,12}={0,2}\n){0,3}",
    ) {
        if let Ok(read) = Note::parse(note.as_bytes()) {
            prop_assert_eq!(read.to_string(), note);
            let _ = Checkpoint::parse(read.text());
        }
    }
}
