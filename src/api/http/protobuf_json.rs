//! What the JSON of both versions of the API has in common: the protobuf mapping.
//!
//! In: a body. Out: a value, or where it is not of the API's form. Knows nothing of what the
//! members mean.

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::error::Category;

use crate::api::status::{BodyFault, Malformed};

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(body).map_err(|error| body_fault(&error))
}

/// Where and of which kind, but not in the words of the JSON reader: those repeat what stands
/// there, which may be a token in the wrong place (NT-60).
fn body_fault(error: &serde_json::Error) -> Malformed {
    let fault = match error.classify() {
        Category::Eof => BodyFault::EndsEarly,
        Category::Data => BodyFault::Member,
        Category::Syntax | Category::Io => BodyFault::NotJson,
    };
    Malformed::Body { fault, line: error.line(), column: error.column() }
}

/// Protobuf JSON `bytes`: either base64 alphabet, padded or not.
#[derive(Default)]
pub(super) struct Base64(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let url_safe = text.bytes().any(|byte| matches!(byte, b'-' | b'_'));
        let engine = if url_safe { &LENIENT_URL_SAFE } else { &LENIENT_STANDARD };
        engine.decode(text).map(Self).map_err(|_| D::Error::custom("a member is not base64"))
    }
}

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const LENIENT_STANDARD: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const LENIENT_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
