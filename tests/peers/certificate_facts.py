"""Prints as JSON what python cryptography reads in a certificate: certificate_facts.py LEAF_PEM

`extensions` maps the OID to {critical, value}. The value of a Fulcio extension (arc
1.3.6.1.4.1.57264.1) is its text: raw for 1 to 6, a DER UTF8String from 8 on; of others, its hex. An otherName is its OID and its UTF8String.
"""

import json
import sys

from cryptography import x509

FULCIO = "1.3.6.1.4.1.57264.1."
LAST_RAW = 6
UTF8_STRING = 0x0C


def fulcio_text(number: int, der: bytes) -> str:
    if number <= LAST_RAW:
        return der.decode()
    assert der[0] == UTF8_STRING, f"1.{number} is no UTF8String"
    # X.690, 8.1.3: short form, or the minimal long form as DER demands.
    if der[1] < 0x80:
        length, start = der[1], 2
    else:
        start = 2 + der[1] - 0x80
        length = int.from_bytes(der[2:start], "big")
        assert length >= 0x80 and der[2] != 0, f"1.{number} has a length that is not DER"
    assert len(der) == start + length, f"1.{number} has a wrong length"
    return der[start:].decode()


def value_of(extension: x509.Extension) -> str:
    der = extension.value.public_bytes()
    oid = extension.oid.dotted_string
    return fulcio_text(int(oid.removeprefix(FULCIO)), der) if oid.startswith(FULCIO) else der.hex()


def name_text(name: x509.GeneralName) -> str:
    if not isinstance(name, x509.OtherName):
        return str(name.value)
    assert name.value[0] == UTF8_STRING and name.value[1] == len(name.value) - 2 < 0x80
    return f"{name.type_id.dotted_string} {name.value[2:].decode()}"


with open(sys.argv[1], "rb") as file:
    leaf = x509.load_pem_x509_certificate(file.read())
names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
json.dump(
    {
        "version": leaf.version.name,
        "serial_bits": leaf.serial_number.bit_length(),
        "subject": leaf.subject.rfc4514_string(),
        "issuer": leaf.issuer.rfc4514_string(),
        "lifetime_seconds": (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds(),
        "names": [[type(name).__name__, name_text(name)] for name in names],
        "order": [extension.oid.dotted_string for extension in leaf.extensions],
        "extensions": {
            extension.oid.dotted_string: {
                "critical": extension.critical,
                "value": value_of(extension),
            }
            for extension in leaf.extensions
        },
    },
    sys.stdout,
)
