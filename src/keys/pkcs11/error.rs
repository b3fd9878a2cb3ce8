//! What can be wrong with a key on a token, and what may help.

use std::{io, path::PathBuf};

use cryptoki::error::{Error, RvError};

use super::TokenMatch;
use crate::keys::{
    VerifyingKeyError,
    remote::{Fault, FaultKind},
};

/// A key on a token does not open.
#[derive(Debug, thiserror::Error)]
#[error("key {key}: {fault}")]
pub struct OpenTokenKeyError {
    /// Which.
    pub key: String,
    /// Why.
    pub fault: Box<TokenFault>,
}

/// What is wrong. No variant carries the PIN.
#[derive(Debug, thiserror::Error)]
pub enum TokenFault {
    #[error("the library '{}' cannot be loaded as a PKCS #11 module: {reason}", path.display())]
    Module { path: PathBuf, reason: String },
    #[error("there is no token that is {wanted}; {}", there_are(tokens))]
    NoToken { wanted: Box<TokenMatch>, tokens: Vec<String> },
    #[error(
        "more than one token is {wanted}; {}; name it by 'serial' or 'slot-id' too",
        there_are(tokens)
    )]
    SeveralTokens { wanted: Box<TokenMatch>, tokens: Vec<String> },
    #[error("no PIN is configured; say 'passphrase: env:NAME' or 'passphrase: file:PATH'")]
    PinMissing,
    #[error("both 'passphrase' and 'pin-source' say where the PIN is; keep one")]
    TwoPins,
    #[error("the file of the PIN, '{}', cannot be read: {source}", path.display())]
    PinUnreadable { path: PathBuf, source: io::Error },
    #[error(
        "the token refuses the PIN (CKR_PIN_INCORRECT). It counts wrong PINs and locks itself \
         after some: it is not tried again until the key is opened anew"
    )]
    PinWrong,
    #[error("the token's user PIN is locked (CKR_PIN_LOCKED); its security officer can reset it")]
    PinLocked,
    #[error("the token has no private key with {wanted}")]
    NoKey { wanted: String },
    #[error("the token has {count} private keys with {wanted}; name one by 'id' and 'object'")]
    SeveralKeys { wanted: String, count: usize },
    #[error("the key may not sign: its CKA_SIGN is false")]
    MayNotSign,
    #[error("the key wants the PIN for each signature (CKA_ALWAYS_AUTHENTICATE)")]
    AlwaysAuthenticate,
    #[error("its kind is not permitted; P-256, P-384 and RSA of 2048, 3072 or 4096 bits are")]
    Kind,
    #[error(
        "the public key cannot be found: the token has no public key object with the id of the \
         private key, and the private key does not tell it"
    )]
    NoPublicKey,
    #[error("the public key on the token is not usable: {source}")]
    PublicKey { source: VerifyingKeyError },
    #[error("the token has another key in its place now")]
    KeyChanged,
    #[error("the module did not answer within {seconds} seconds")]
    Hangs { seconds: u64 },
    #[error("the module's thread panicked")]
    Panicked,
    #[error("{operation} failed: {code}")]
    Call { kind: FaultKind, operation: &'static str, code: String },
}

impl TokenFault {
    /// As an attempt to sign tells it.
    pub(super) fn while_signing(self) -> Fault {
        let (kind, operation) = match &self {
            Self::Call { kind, operation, code } => {
                return Fault { kind: *kind, operation, code: code.clone() };
            }
            // A token that is away may come back, and one that was set up anew is another matter.
            Self::NoToken { .. } | Self::Hangs { .. } | Self::Panicked => {
                (FaultKind::Transient, "C_GetSlotList")
            }
            Self::PinWrong | Self::PinLocked | Self::PinMissing => {
                (FaultKind::Unauthorized, "C_Login")
            }
            _ => (FaultKind::Permanent, "C_FindObjects"),
        };
        Fault { kind, operation, code: self.to_string() }
    }
}

impl From<Error> for TokenFault {
    fn from(error: Error) -> Self {
        let (rv, function) = match error {
            Error::Pkcs11(RvError::PinIncorrect, _) => return Self::PinWrong,
            Error::Pkcs11(RvError::PinLocked, _) => return Self::PinLocked,
            Error::Pkcs11(rv, function) => (rv, function),
            other => {
                let code = other.to_string();
                return Self::Call { kind: FaultKind::Permanent, operation: "PKCS #11", code };
            }
        };
        let operation = OPERATIONS
            .iter()
            .find(|(name, _)| *name == format!("{function:?}"))
            .map_or("PKCS #11", |(_, operation)| operation);
        Self::Call { kind: kind_of(&rv), operation, code: code_of(&rv) }
    }
}

/// Most faults pass, or show themselves as something else after a new session. These do not.
fn kind_of(rv: &RvError) -> FaultKind {
    match rv {
        RvError::KeyFunctionNotPermitted
        | RvError::KeyTypeInconsistent
        | RvError::KeySizeRange
        | RvError::MechanismInvalid
        | RvError::MechanismParamInvalid
        | RvError::FunctionNotSupported
        | RvError::ActionProhibited
        | RvError::DataLenRange
        | RvError::DataInvalid => FaultKind::Permanent,
        RvError::PinExpired | RvError::PinInvalid | RvError::PinLenRange => FaultKind::Unauthorized,
        RvError::SessionCount => FaultKind::Throttled,
        _ => FaultKind::Transient,
    }
}

/// The name in the specification: `CKR_DEVICE_REMOVED`. The library's own text is prose.
fn code_of(rv: &RvError) -> String {
    if let RvError::UnknownErrorCode(number) = rv {
        return format!("CKR {number:#010x}");
    }
    let mut code = "CKR".to_owned();
    for letter in format!("{rv:?}").chars() {
        if letter.is_ascii_uppercase() {
            code.push('_');
        }
        code.push(letter.to_ascii_uppercase());
    }
    code
}

fn there_are(tokens: &[String]) -> String {
    if tokens.is_empty() {
        return "the module shows none".to_owned();
    }
    format!("there are {}", tokens.join(", "))
}

/// The functions that are called here, as the library and as the specification name them.
const OPERATIONS: &[(&str, &str)] = &[
    ("Initialize", "C_Initialize"),
    ("GetSlotList", "C_GetSlotList"),
    ("GetTokenInfo", "C_GetTokenInfo"),
    ("OpenSession", "C_OpenSession"),
    ("Login", "C_Login"),
    ("FindObjectsInit", "C_FindObjectsInit"),
    ("FindObjects", "C_FindObjects"),
    ("FindObjectsFinal", "C_FindObjectsFinal"),
    ("GetAttributeValue", "C_GetAttributeValue"),
    ("SignInit", "C_SignInit"),
    ("Sign", "C_Sign"),
];

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn a_failed_call_is_told_by_the_names_of_the_specification() {
        for (rv, function, kind, text) in [
            (
                RvError::SessionHandleInvalid,
                Function::SignInit,
                FaultKind::Transient,
                "C_SignInit: CKR_SESSION_HANDLE_INVALID",
            ),
            (
                RvError::TokenNotPresent,
                Function::OpenSession,
                FaultKind::Transient,
                "C_OpenSession: CKR_TOKEN_NOT_PRESENT",
            ),
            (
                RvError::KeyFunctionNotPermitted,
                Function::SignInit,
                FaultKind::Permanent,
                "C_SignInit: CKR_KEY_FUNCTION_NOT_PERMITTED",
            ),
            (
                RvError::SessionCount,
                Function::OpenSession,
                FaultKind::Throttled,
                "C_OpenSession: CKR_SESSION_COUNT",
            ),
            (
                RvError::UnknownErrorCode(0x8000_0001),
                Function::Sign,
                FaultKind::Transient,
                "C_Sign: CKR 0x80000001",
            ),
        ] {
            let fault = TokenFault::from(Error::Pkcs11(rv, function)).while_signing();
            assert_eq!((fault.kind, fault.to_string().as_str()), (kind, text));
        }
    }

    #[test]
    fn a_refused_pin_is_a_matter_for_an_operator() {
        for rv in [RvError::PinIncorrect, RvError::PinLocked] {
            let fault = TokenFault::from(Error::Pkcs11(rv, Function::Login)).while_signing();
            assert_eq!(fault.kind, FaultKind::Unauthorized);
        }
    }
}
