//! Modules that are loaded, the tokens they show, and sessions on them.
//!
//! In: the path of a library, what the token must be, the PIN. Out: a [`Session`] that is logged
//! in. Knows nothing of keys.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    session::{Session, UserType},
    slot::Slot,
    types::RawAuthPin,
};

use super::{TokenFault, TokenMatch};
use crate::secret::Secret;

/// A module that is loaded and initialised.
#[derive(Debug)]
pub(super) struct Module {
    context: Pkcs11,
    /// Login is a state of the whole process on a token: one thread at a time changes it.
    login: Mutex<()>,
}

/// C_Initialize is for the whole process, and once (PKCS #11 2.40, 5.4): so this is one of the few
/// things here that really is global. Modules are never unloaded, because sessions of an older
/// configuration may still be in use.
static MODULES: OnceLock<Mutex<HashMap<PathBuf, Arc<Module>>>> = OnceLock::new();

impl Module {
    /// The module in a library, which all keys behind it share.
    pub(super) fn at(path: &Path) -> Result<Arc<Self>, TokenFault> {
        let failed = |reason: String| TokenFault::Module { path: path.to_owned(), reason };
        // The same library by another name has the same state.
        let real = path.canonicalize().map_err(|error| failed(error.to_string()))?;
        let mut modules =
            MODULES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&real) {
            return Ok(Arc::clone(module));
        }
        let context = Pkcs11::new(&real).map_err(|error| failed(error.to_string()))?;
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match context.initialize(arguments) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(failed(TokenFault::from(error).to_string())),
        }
        let module = Arc::new(Self { context, login: Mutex::new(()) });
        modules.insert(real, Arc::clone(&module));
        Ok(module)
    }

    /// A new session on the one token that `wanted` describes.
    pub(super) fn logged_in(
        &self,
        wanted: &TokenMatch,
        pin: &Secret,
    ) -> Result<Session, TokenFault> {
        let _one_at_a_time = self.login.lock().unwrap_or_else(PoisonError::into_inner);
        let session = self.context.open_ro_session(self.slot(wanted)?)?;
        let pin = RawAuthPin::new(Box::new(pin.expose().to_vec()));
        match session.login_with_raw(UserType::User, &pin) {
            // By another session of this process: the token did not look at the PIN.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => Err(error.into()),
        }
    }

    fn slot(&self, wanted: &TokenMatch) -> Result<Slot, TokenFault> {
        let mut fitting = Vec::new();
        let mut tokens = Vec::new();
        for slot in self.context.get_slots_with_token()? {
            // A token that is just being removed is not the one.
            let Ok(token) = self.context.get_token_info(slot) else { continue };
            let equals = |wanted: &Option<String>, is: &str| {
                wanted.as_ref().is_none_or(|wanted| wanted == is)
            };
            let fits = equals(&wanted.token, token.label())
                && equals(&wanted.manufacturer, token.manufacturer_id())
                && equals(&wanted.model, token.model())
                && equals(&wanted.serial, token.serial_number())
                && wanted.slot_id.is_none_or(|id| id == slot.id());
            if fits && token.token_initialized() {
                fitting.push(slot);
            }
            if token.token_initialized() {
                let (label, serial) = (token.label(), token.serial_number());
                tokens.push(format!("'{label}' (serial {serial}, slot-id {slot})"));
            }
        }
        // A module lists its slots in an order of its own, which need not be the same tomorrow.
        tokens.sort();
        let wanted = Box::new(wanted.clone());
        match fitting[..] {
            [slot] => Ok(slot),
            [] => Err(TokenFault::NoToken { wanted, tokens }),
            _ => Err(TokenFault::SeveralTokens { wanted, tokens }),
        }
    }
}

#[cfg(test)]
impl Module {
    pub(super) fn generate_without_sign(&self, wanted: &TokenMatch, pin: &str, label: &str) {
        use cryptoki::{mechanism::Mechanism, object::Attribute};
        use der::Encode as _;
        let session = self.context.open_rw_session(self.slot(wanted).unwrap()).unwrap();
        session.login(UserType::User, Some(&cryptoki::types::AuthPin::new(pin.into()))).unwrap();
        let curve = const_oid::db::rfc5912::SECP_256_R_1.to_der().unwrap();
        let id = Attribute::Id(vec![0x77]);
        let public = [Attribute::Token(true), Attribute::EcParams(curve), id.clone()];
        let label = Attribute::Label(label.into());
        let private =
            [Attribute::Token(true), Attribute::Private(true), Attribute::Sign(false), label, id];
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).unwrap();
    }

    pub(super) fn change_pin(&self, wanted: &TokenMatch, old: &str, new: &str) {
        let pin = |text: &str| cryptoki::types::AuthPin::new(text.into());
        let session = self.context.open_rw_session(self.slot(wanted).unwrap()).unwrap();
        session.set_pin(&pin(old), &pin(new)).unwrap();
    }
}
