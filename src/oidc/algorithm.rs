//! Names of signature algorithms (RFC 7518, section 3.1; RFC 8037).
//!
//! In: `alg` texts. Out: algorithms that we verify. Knows nothing of keys. `none` and the HMAC
//! family have no value here, so nothing below can be talked into using them.

use std::fmt;

/// A signature algorithm of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of RFC 7518")]
pub enum TokenAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

impl TokenAlgorithm {
    /// All names, for a reader.
    pub const NAMES: &'static str =
        "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA";

    pub(super) const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// The algorithm of this exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// As `alg` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for TokenAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The algorithms that an issuer advertises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlgorithmSet(u16);

impl AlgorithmSet {
    /// Every algorithm that we verify: for key sets that the operator keeps.
    pub const ALL: Self = Self((1 << TokenAlgorithm::ALL.len()) - 1);

    /// What a discovery document that names none means (OpenID Connect Core, section 3.1.3.7).
    pub const DEFAULT: Self = Self(1 << TokenAlgorithm::Rs256 as u16);

    /// The known ones of these names; what we do not verify (`none`, `HS256`) is left out.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let known = names.into_iter().filter_map(TokenAlgorithm::from_name);
        Self(known.fold(0, |bits, algorithm| bits | 1 << algorithm as u16))
    }

    /// Whether it is one of them.
    pub fn contains(self, algorithm: TokenAlgorithm) -> bool {
        self.0 & (1 << algorithm as u16) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_exactly_and_listed_completely() {
        for algorithm in TokenAlgorithm::ALL {
            assert_eq!(TokenAlgorithm::from_name(algorithm.name()), Some(algorithm));
            assert!(TokenAlgorithm::NAMES.contains(algorithm.name()));
            assert!(AlgorithmSet::ALL.contains(algorithm));
            let only = AlgorithmSet::from_names([algorithm.name()]);
            assert!(TokenAlgorithm::ALL.iter().all(|&a| only.contains(a) == (a == algorithm)));
        }
    }

    #[test]
    fn nt_20_none_and_hmac_are_no_algorithms() {
        for name in
            ["none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "rs256", "ES256K"]
        {
            assert_eq!(TokenAlgorithm::from_name(name), None, "{name}");
        }
        assert_eq!(AlgorithmSet::from_names(["none", "HS256"]), AlgorithmSet::from_names([]));
    }
}
