//! Tag, length, value: the few DER elements that are written on the hot path.
//!
//! In: a tag and content whose length is known beforehand. Out: DER appended to a buffer. Knows
//! nothing of what the bytes mean. Reading DER is the `der` crate's work; writing is ours because
//! one pass into one buffer costs a twentieth of an encoder.

/// OCTET STRING.
pub(crate) const TAG_OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER.
pub(crate) const TAG_OID: u8 = 0x06;
/// UTF8String.
pub(crate) const TAG_UTF8_STRING: u8 = 0x0c;
/// SEQUENCE, constructed.
pub(crate) const TAG_SEQUENCE: u8 = 0x30;

/// Octets of a whole element whose content has `content_bytes` octets; the tag is one octet.
pub(crate) const fn element_bytes(content_bytes: usize) -> usize {
    1 + length_bytes(content_bytes) + content_bytes
}

/// Appends tag and length; the caller appends exactly `content_bytes` octets of content.
pub(crate) fn push_header(tag: u8, content_bytes: usize, out: &mut Vec<u8>) {
    out.push(tag);
    let big_endian = content_bytes.to_be_bytes();
    let significant = length_bytes(content_bytes).saturating_sub(1);
    if significant == 0 {
        // X.690, 8.1.3.4, the short form: the length itself, below 128.
        out.extend_from_slice(&big_endian[big_endian.len() - 1..]);
    } else {
        // X.690, 8.1.3.5, the long form in the fewest octets (10.1); `significant` is at most 8.
        out.push(0x80 | significant.to_be_bytes()[size_of::<usize>() - 1]);
        out.extend_from_slice(&big_endian[big_endian.len() - significant..]);
    }
}

/// Appends a whole element.
pub(crate) fn push_element(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    push_header(tag, content.len(), out);
    out.extend_from_slice(content);
}

/// Octets of the length field for content of `content_bytes` octets.
const fn length_bytes(content_bytes: usize) -> usize {
    if content_bytes < 0x80 {
        1
    } else {
        let significant_bits = usize::BITS - content_bytes.leading_zeros();
        1 + significant_bits.div_ceil(8) as usize
    }
}

#[cfg(test)]
mod tests {
    use der::{Encode, asn1::OctetStringRef};

    use super::*;

    #[test]
    fn elements_of_every_length_form_equal_those_of_the_der_crate() {
        for content_bytes in [0, 1, 127, 128, 255, 256, 65_535, 65_536, 70_000] {
            let content = vec![0xa5; content_bytes];
            let mut ours = Vec::new();
            push_element(TAG_OCTET_STRING, &content, &mut ours);
            assert_eq!(ours, OctetStringRef::new(&content).unwrap().to_der().unwrap());
            assert_eq!(ours.len(), element_bytes(content_bytes));
        }
    }
}
