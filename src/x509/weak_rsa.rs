//! RSA moduli whose factors anybody can find.
//!
//! In: a modulus. Out: what is wrong with it, if anything is. Knows nothing of encodings and of
//! which sizes are permitted.
//!
//! These are the three mistakes of key generators that were found in the wild and show in the
//! modulus alone. The reference tests for the same three.

use num_bigint::BigUint;

use super::public_key::WeakKey;

/// Looks for a small factor, for the pattern of ROCA, and for primes that are close together. Takes
/// about 0.2 ms for 4096 bits.
pub(super) fn weakness(modulus_big_endian: &[u8]) -> Option<WeakKey> {
    let modulus = BigUint::from_bytes_be(modulus_big_endian);
    if let Some(factor) = small_factor(&modulus) {
        return Some(WeakKey::RsaSmallFactor { factor });
    }
    if is_roca(&modulus) {
        return Some(WeakKey::RsaRoca);
    }
    are_primes_close(&modulus).then_some(WeakKey::RsaClosePrimes)
}

/// The smallest odd factor up to [`LARGEST_SMALL_FACTOR`]; a composite never comes before the
/// primes in it.
fn small_factor(modulus: &BigUint) -> Option<u32> {
    (3..=LARGEST_SMALL_FACTOR).step_by(2).find(|&factor| residue(modulus, factor) == 0)
}

/// CVE-2017-15361: a library made primes of the form `k * M + 65537^a mod M`, M being a product of
/// many small primes. The modulus is then a power of 65537 modulo each of these. Of other moduli
/// one in 2^27 is.
fn is_roca(modulus: &BigUint) -> bool {
    ROCA_PRIMES.iter().all(|&prime| is_power_of_f4(residue(modulus, prime), prime))
}

fn is_power_of_f4(residue: u32, prime: u32) -> bool {
    let powers = std::iter::successors(Some(1), |power| Some(power * (65_537 % prime) % prime));
    powers.take(prime as usize - 1).any(|power| power == residue)
}

/// Fermat's method: `n = a^2 - b^2 = (a + b)(a - b)`, `a` from the root of n upwards. If few steps
/// find the primes, they share about half of their digits, which chance does not do
/// (CVE-2022-26320).
fn are_primes_close(modulus: &BigUint) -> bool {
    let mut a = modulus.sqrt();
    if &a * &a < *modulus {
        a += 1u32;
    }
    for _ in 0..FERMAT_ROUNDS {
        if is_square(&(&a * &a - modulus)) {
            return true;
        }
        a += 1u32;
    }
    false
}

fn is_square(number: &BigUint) -> bool {
    // A root is dear. Of all residues modulo this product only 0.7 in a hundred are of squares.
    let residue = residue(number, SQUARE_SIEVE.iter().product());
    let may_be = SQUARE_SIEVE.iter().all(|&modulus| {
        let residue = residue % modulus;
        (0..modulus).any(|root| root * root % modulus == residue)
    });
    may_be && {
        let root = number.sqrt();
        &root * &root == *number
    }
}

fn residue(number: &BigUint, modulus: u32) -> u32 {
    (number % modulus).iter_u32_digits().next().unwrap_or(0)
}

const LARGEST_SMALL_FACTOR: u32 = 751;
const FERMAT_ROUNDS: usize = 100;
/// Pairwise coprime.
const SQUARE_SIEVE: [u32; 4] = [64, 63, 65, 11];
/// Those that are in M for every size of key.
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn weakness_of(modulus: &BigUint) -> Option<WeakKey> {
        weakness(&modulus.to_bytes_be())
    }

    /// The next number from `start` on that has no small factor: as good as a prime here.
    fn rough(start: BigUint) -> BigUint {
        let mut number = start | BigUint::from(1u32);
        while small_factor(&number).is_some() {
            number += 2u32;
        }
        number
    }

    /// A number of `bits` bits, of which chance chose most.
    fn large(bits: u64, seed: u32) -> BigUint {
        let mut number = BigUint::from(seed);
        while number.bits() < bits {
            number = &number * &number + BigUint::from(0x9e37_79b9_u32);
        }
        let excess = number.bits() - bits;
        number >> excess
    }

    #[test]
    fn nt_40_a_product_of_two_distant_numbers_is_fine() {
        for (bits, seed) in [(1024, 3), (1024, 5), (1536, 7), (2048, 11)] {
            let modulus = rough(large(bits, seed)) * rough(large(bits, seed + 100));
            assert_eq!(weakness_of(&modulus), None);
        }
    }

    #[test]
    fn nt_40_a_small_factor_is_found_and_named() {
        let rest = rough(large(2040, 3));
        for factor in [3u32, 5, 7, 367, 743, 751] {
            let expected = Some(WeakKey::RsaSmallFactor { factor });
            assert_eq!(weakness_of(&(&rest * factor)), expected);
        }
        assert_eq!(small_factor(&(&rest * 757u32)), None);
        assert_eq!(weakness_of(&(&rest * 15u32)), Some(WeakKey::RsaSmallFactor { factor: 3 }));
    }

    #[test]
    fn nt_40_primes_that_are_close_together_are_found() {
        let p = rough(large(1024, 3));
        let root_of_distance = BigUint::from(1u32) << 500;
        for q in [rough(&p + 2u32), rough(&p + 100_000u32), rough(&p + &root_of_distance)] {
            assert_eq!(weakness_of(&(&p * q)), Some(WeakKey::RsaClosePrimes));
        }
        assert_eq!(weakness_of(&(&p * &p)), Some(WeakKey::RsaClosePrimes));
        let far = rough(&p + (BigUint::from(1u32) << 600));
        assert_eq!(weakness_of(&(&p * far)), None);
    }

    /// Primes are made as that library made them; that they are prime plays no part.
    #[test]
    fn nt_40_roca_is_recognised() {
        let m: BigUint = ROCA_PRIMES.iter().fold(BigUint::from(2u32), |m, prime| m * prime);
        let f4 = BigUint::from(65_537u32);
        let like_theirs =
            |k: u32, a: u32| large(1024 - m.bits(), k) * &m + f4.modpow(&BigUint::from(a), &m);
        let mut recognised = 0;
        for (k, a) in [(3, 1001), (5, 77), (7, 123_456)] {
            let modulus = like_theirs(k, a) * like_theirs(k + 100, a + 1);
            assert!(is_roca(&modulus));
            // Larger primes are not in this M, and may divide by chance.
            match weakness_of(&modulus) {
                Some(WeakKey::RsaRoca) => recognised += 1,
                other => assert!(
                    matches!(other, Some(WeakKey::RsaSmallFactor { factor }) if factor > 167)
                ),
            }
            assert!(!is_roca(&(modulus + 2u32)));
        }
        assert!(recognised > 0);
    }
}
