//! What the browser brings back from the provider.
//!
//! In: the query of the redirect, and what was asked. Out: the authorization code, or why the
//! answer is not ours. Pure. The checks stand in the order in which an attacker could profit from
//! a wrong one: whose answer is it (`state`), who gave it (`iss`), what does it say.

use std::borrow::Cow;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use openidconnect::{AuthorizationCode, CsrfToken, url::form_urlencoded};

use crate::cli::client::printable;

/// What an answer to our request must hold.
#[derive(Debug)]
pub(super) struct Expected {
    /// What we sent as `state`.
    pub(super) state: CsrfToken,
    /// Whom we asked.
    pub(super) issuer: String,
    /// Whether this provider promises `iss` in its answers (RFC 9207, section 3).
    pub(super) names_itself: bool,
}

/// Why the browser's answer was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CallbackError {
    /// A parameter twice: two readers could see two answers (RFC 6749, section 3.1).
    #[error("the browser came back with '{name}' twice")]
    Repeated {
        /// Which one.
        name: &'static str,
    },
    /// Not the answer to our request: another sign-in's, or a forged one (RFC 6749, 10.12).
    #[error("the browser came back with an answer that is not to our request (`state`)")]
    OtherState,
    /// Mix-up: another provider answered (RFC 9207, section 2.4).
    #[error("the browser came back from another provider than the one asked (`iss`)")]
    OtherIssuer,
    /// The provider said no.
    #[error("the provider refused: {said}")]
    Refused {
        /// `error` and `error_description`, safe for a terminal.
        said: String,
    },
    /// Neither a code nor an error.
    #[error("the browser came back without a code")]
    NoCode,
}

impl Expected {
    /// The code in `query`, if it answers our request.
    pub(super) fn code_in(&self, query: &str) -> Result<AuthorizationCode, CallbackError> {
        let [state, issuer, error, description, code] = parameters(query)?;
        let state = state.ok_or(CallbackError::OtherState)?;
        verify_slices_are_equal(state.as_bytes(), self.state.secret().as_bytes())
            .map_err(|_| CallbackError::OtherState)?;
        match issuer {
            Some(issuer) if issuer != self.issuer => return Err(CallbackError::OtherIssuer),
            None if self.names_itself => return Err(CallbackError::OtherIssuer),
            Some(_) | None => {}
        }
        if let Some(error) = error {
            let said = match description {
                Some(description) => printable(&format!("{error}: {description}")),
                None => printable(&error),
            };
            return Err(CallbackError::Refused { said });
        }
        code.filter(|code| !code.is_empty())
            .map(|code| AuthorizationCode::new(code.into_owned()))
            .ok_or(CallbackError::NoCode)
    }
}

/// The values of [`NAMES`], in that order; other parameters are not for us.
fn parameters(query: &str) -> Result<[Option<Cow<'_, str>>; NAMES.len()], CallbackError> {
    let mut values = [const { None }; NAMES.len()];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(index) = NAMES.iter().position(|known| *known == name) else { continue };
        if values[index].replace(value).is_some() {
            return Err(CallbackError::Repeated { name: NAMES[index] });
        }
    }
    Ok(values)
}

const NAMES: [&str; 5] = ["state", "iss", "error", "error_description", "code"];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, names_itself: bool) -> Result<String, CallbackError> {
        let expected = Expected {
            state: CsrfToken::new("s+1".to_owned()),
            issuer: "https://id.example.com".to_owned(),
            names_itself,
        };
        expected.code_in(query).map(|code| code.secret().clone())
    }

    #[test]
    fn a_code_with_our_state_is_taken() {
        assert_eq!(read("code=abc&state=s%2B1", false), Ok("abc".to_owned()));
        let named = "code=abc&state=s%2B1&iss=https%3A%2F%2Fid.example.com&session_state=x";
        assert_eq!(read(named, true), Ok("abc".to_owned()));
    }

    #[test]
    fn an_answer_with_another_state_is_refused_whatever_else_it_says() {
        for query in ["", "code=abc", "code=abc&state=", "code=abc&state=s", "error=x&state=t"] {
            assert_eq!(read(query, false), Err(CallbackError::OtherState), "{query}");
        }
    }

    #[test]
    fn an_answer_of_another_issuer_is_refused() {
        let other = "code=abc&state=s%2B1&iss=https%3A%2F%2Fid.example.com%2F";
        assert_eq!(read(other, false), Err(CallbackError::OtherIssuer));
        assert_eq!(read("code=abc&state=s%2B1", true), Err(CallbackError::OtherIssuer));
    }

    #[test]
    fn a_repeated_parameter_is_refused() {
        let state = read("code=abc&state=s%2B1&state=s%2B1", false);
        assert_eq!(state, Err(CallbackError::Repeated { name: "state" }));
        let code = read("code=abc&state=s%2B1&code=abd", false);
        assert_eq!(code, Err(CallbackError::Repeated { name: "code" }));
    }

    #[test]
    fn nt_64_the_words_of_a_refusal_cannot_steer_the_terminal() {
        let refused = read("error=access_denied&error_description=%1B%5B2Jno&state=s%2B1", false);
        let said = "access_denied: \u{fffd}[2Jno".to_owned();
        assert_eq!(refused, Err(CallbackError::Refused { said }));
        // A code beside an error is no code.
        assert!(read("error=e&code=abc&state=s%2B1", false).is_err());
        assert_eq!(read("state=s%2B1&code=", false), Err(CallbackError::NoCode));
    }
}
