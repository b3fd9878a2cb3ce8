//! Serial numbers of leaves.

use std::fmt;

/// A serial number: positive and of exactly 20 octets (RFC 5280, 4.1.2.2: at most 20), of which
/// 158 bits are random (CA/Browser Forum Baseline Requirements, 7.1: at least 64).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serial([u8; SERIAL_BYTES]);

impl Serial {
    /// From the output of a cryptographic generator; two bits of it are overwritten.
    pub fn from_random(mut random: [u8; SERIAL_BYTES]) -> Self {
        // The first bit is the sign and must be zero. The second is set, so that the number is
        // never zero and always takes 20 octets: DER would drop leading zero octets.
        random[0] = random[0] & 0x7f | 0x40;
        Self(random)
    }

    /// Content octets of the INTEGER, most significant first.
    pub fn as_bytes(&self) -> &[u8; SERIAL_BYTES] {
        &self.0
    }
}

/// Lower-case hexadecimal without separators.
impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The most that RFC 5280, 4.1.2.2 allows.
pub const SERIAL_BYTES: usize = 20;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nt_45_ten_thousand_serials_are_positive_distinct_and_of_twenty_octets() {
        let mut seen = HashSet::new();
        let mut bits_seen_set = [0_u8; SERIAL_BYTES];
        let mut bits_seen_clear = [0_u8; SERIAL_BYTES];
        for _ in 0..10_000 {
            let mut random = [0; SERIAL_BYTES];
            aws_lc_rs::rand::fill(&mut random).unwrap();
            let serial = Serial::from_random(random);
            let first = serial.as_bytes()[0];
            assert!((0x40..0x80).contains(&first), "sign bit or leading zeros: {first:#x}");
            for (octet, value) in serial.as_bytes().iter().enumerate() {
                bits_seen_set[octet] |= value;
                bits_seen_clear[octet] |= !value;
            }
            assert!(seen.insert(serial.to_string()), "drawn twice: {serial}");
        }
        // Every bit but the two fixed ones varies: 158 random bits.
        let varying: u32 = bits_seen_set
            .iter()
            .zip(bits_seen_clear)
            .map(|(set, clear)| (set & clear).count_ones())
            .sum();
        assert_eq!(varying, 158);
    }

    #[test]
    fn nt_45_the_worst_random_octets_still_make_a_positive_serial() {
        for worst in [[0_u8; SERIAL_BYTES], [0xff; SERIAL_BYTES]] {
            let serial = Serial::from_random(worst);
            assert!((0x40..0x80).contains(&serial.as_bytes()[0]));
        }
    }
}
