//! PEM as clients really send it.
//!
//! In: text with `-----BEGIN X-----` blocks. Out: label and bytes of each block. Knows nothing of
//! what the bytes are.
//!
//! This is the lax grammar of RFC 7468 (section 3): any line length, any white space, text around
//! the blocks. It is ours because the readers at hand either insist on 64 columns, which refuses
//! sigstore-java's single line, or skip silently what they do not understand. Each byte is looked
//! at a fixed number of times, so the work is linear in the input.

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// One block. The bytes are wiped on drop, since private keys come this way too.
#[derive(Debug)]
pub struct Block {
    /// What stands between `BEGIN` and the dashes, such as `PUBLIC KEY`.
    pub label: String,
    /// The decoded bytes.
    pub der: Zeroizing<Vec<u8>>,
}

/// Why a text is no PEM.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    #[error("there is no line '-----BEGIN ...-----'")]
    NoBlock,
    #[error("the '-----BEGIN' line is malformed")]
    BeginLine,
    #[error("the block '{label}' has no matching '-----END {label}-----'")]
    Unterminated { label: String },
    #[error("the block '{label}' is not base64")]
    Base64 { label: String },
}

/// Whether `input` is meant to be PEM (and not DER).
pub fn looks_like_pem(input: &[u8]) -> bool {
    std::str::from_utf8(input).is_ok_and(|text| text.contains(BEGIN))
}

/// All blocks in order; at least one.
///
/// # Errors
/// There is none, or one of them is broken.
pub fn blocks(input: &[u8]) -> Result<Vec<Block>, PemError> {
    let mut rest = std::str::from_utf8(input).map_err(|_| PemError::NoBlock)?;
    let mut blocks = Vec::new();
    while let Some(at) = rest.find(BEGIN) {
        let (block, after) = block(&rest[at + BEGIN.len()..])?;
        blocks.push(block);
        rest = after;
    }
    if blocks.is_empty() { Err(PemError::NoBlock) } else { Ok(blocks) }
}

/// `der` as one PEM block with lines of 64 columns and a newline at the end (RFC 7468, section 2).
pub fn encode(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(STANDARD.encode(der));
    let lines = body.len().div_ceil(LINE_COLUMNS);
    // Reserved once, so that a private key leaves no copy behind in a buffer that grew.
    let mut pem = String::with_capacity(body.len() + lines + 2 * (label.len() + 17));
    pem.extend([BEGIN, label, DASHES, "\n"]);
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_COLUMNS));
        pem.extend([line, "\n"]);
        rest = after;
    }
    pem.extend([END, label, DASHES, "\n"]);
    pem
}

/// The block whose label begins at `text`, and what follows it.
fn block(text: &str) -> Result<(Block, &str), PemError> {
    // Only as far as a label can reach: else a text of many BEGINs would be searched to its end
    // once for each of them.
    let head = &text.as_bytes()[..text.len().min(MAX_LABEL_BYTES + DASHES.len())];
    let label_bytes = head
        .windows(DASHES.len())
        .position(|window| window == DASHES.as_bytes())
        .ok_or(PemError::BeginLine)?;
    let (label, body) = (&text[..label_bytes], &text[label_bytes + DASHES.len()..]);
    if !label.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ') {
        return Err(PemError::BeginLine);
    }
    let unterminated = || PemError::Unterminated { label: label.to_owned() };
    // A body has no dashes, so the first ones must be those of the END line.
    let body_bytes = body.find('-').ok_or_else(unterminated)?;
    let after = body[body_bytes..]
        .strip_prefix(END)
        .and_then(|rest| rest.strip_prefix(label)?.strip_prefix(DASHES))
        .ok_or_else(unterminated)?;
    let mut base64 = Zeroizing::new(Vec::with_capacity(body_bytes));
    base64.extend(body[..body_bytes].bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let der =
        STANDARD.decode(&*base64).map_err(|_| PemError::Base64 { label: label.to_owned() })?;
    Ok((Block { label: label.to_owned(), der: Zeroizing::new(der) }, after))
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const LINE_COLUMNS: usize = 64;
/// The longest label in use, `NEW CERTIFICATE REQUEST`, has 23.
const MAX_LABEL_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn only_block(text: &str) -> Block {
        let mut blocks = blocks(text.as_bytes()).unwrap();
        assert_eq!(blocks.len(), 1);
        blocks.remove(0)
    }

    #[test]
    fn lines_of_any_length_and_any_white_space_are_read() {
        for text in [
            "-----BEGIN PUBLIC KEY-----\nAQID\nBAUG\n-----END PUBLIC KEY-----\n",
            "-----BEGIN PUBLIC KEY-----\nAQIDBAUG\n-----END PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----AQIDBAUG-----END PUBLIC KEY-----",
            "\r\n  -----BEGIN PUBLIC KEY-----\r\nAQ\r\n\r\nIDBAUG\r\n-----END PUBLIC KEY-----\t",
            "a comment\n-----BEGIN PUBLIC KEY-----\n AQIDBAUG \n-----END PUBLIC KEY-----\nmore",
        ] {
            let block = only_block(text);
            assert_eq!(
                (block.label.as_str(), &**block.der),
                ("PUBLIC KEY", &[1, 2, 3, 4, 5, 6][..])
            );
        }
    }

    #[test]
    fn broken_blocks_are_refused_by_what_is_broken() {
        let unterminated = PemError::Unterminated { label: "A".to_owned() };
        let base64 = PemError::Base64 { label: "A".to_owned() };
        for (text, expected) in [
            ("", PemError::NoBlock),
            ("AQID", PemError::NoBlock),
            ("-----BEGIN ", PemError::BeginLine),
            ("-----BEGIN a-----\n-----END a-----", PemError::BeginLine),
            ("-----BEGIN A\nAQID\n-----END A-----", PemError::BeginLine),
            ("-----BEGIN A-----\nAQID\n", unterminated.clone()),
            ("-----BEGIN A-----\nAQID\n-----END B-----", unterminated.clone()),
            ("-----BEGIN A-----\nAQID\n-----END A----", unterminated.clone()),
            ("-----BEGIN A-----\n-----BEGIN A-----\nAQID\n-----END A-----", unterminated),
            ("-----BEGIN A-----\nAQI\n-----END A-----", base64.clone()),
            ("-----BEGIN A-----\nAQJ=\n-----END A-----", base64.clone()),
            ("-----BEGIN A-----\nAQ_D\n-----END A-----", base64.clone()),
            (
                "-----BEGIN A-----\nProc-Type: 4\n\nAQID\n-----END A-----",
                PemError::Unterminated { label: "A".to_owned() },
            ),
            ("-----BEGIN A-----\nDek: 4\n\nAQID\n-----END A-----", base64),
        ] {
            assert_eq!(blocks(text.as_bytes()).unwrap_err(), expected, "{text:?}");
        }
    }

    /// Shapes that made other readers quadratic (CVE-2025-61723, CVE-2024-12401). With quadratic
    /// work each would take minutes.
    #[test]
    fn nt_07_ten_mebibytes_of_garbage_take_linear_time() {
        const BYTES: usize = 10 << 20;
        let repeated = |piece: &str| piece.repeat(BYTES / piece.len());
        let started = std::time::Instant::now();
        for text in [
            repeated("-----BEGIN "),
            repeated("-----BEGIN A-----\n"),
            repeated("-----END A-----\n"),
            repeated("-"),
            repeated("-----BEGIN A-----\n\n-----END B-----\n"),
            "-----BEGIN A-----\n".to_owned() + &repeated("A\n"),
        ] {
            blocks(text.as_bytes()).unwrap_err();
        }
        let whole = repeated("-----BEGIN A-----\nAQID\n-----END A-----\n");
        assert!(blocks(whole.as_bytes()).unwrap().len() > 200_000);
        assert!(started.elapsed() < std::time::Duration::from_secs(20));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(der in prop::collection::vec(any::<u8>(), 0..300)) {
            let pem = encode("PUBLIC KEY", &der);
            prop_assert!(pem.lines().all(|line| line.len() <= 64) && pem.ends_with("-----\n"));
            prop_assert_eq!(&**only_block(&pem).der, &der[..]);
        }

        #[test]
        fn nt_02_random_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            text in "(-----|BEGIN |END |A|ü|\n|AQID|=){0,40}",
        ) {
            let _ = blocks(&bytes);
            let _ = blocks(text.as_bytes());
            let _ = looks_like_pem(&bytes);
        }
    }
}
