"""RFC 6962 and static-ct-api by independent code: what the checks of this folder share.

In: bytes of certificates, checkpoints and tiles. Out: values, or an `AssertionError` that says
what does not hold. Written from RFC 6962 and the C2SP documents; shares nothing with Mayfly.
"""

import base64
import hashlib
import json
import struct
from dataclasses import dataclass
from datetime import timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ECDSA_SHA256 = b"\x04\x03"  # RFC 5246, 7.4.1.4.1: hash sha256(4), signature ecdsa(3)


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


class Trust:
    """The CA chains and log keys of a trusted root, alone or in a client trust config."""

    def __init__(self, path: str):
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        root = document.get("trustedRoot", document)
        self.chains = [
            [
                x509.load_der_x509_certificate(base64.b64decode(certificate["rawBytes"]))
                for certificate in authority["certChain"]["certificates"]
            ]
            for authority in root["certificateAuthorities"]
        ]
        self.log_keys = {}
        for log in root["ctlogs"]:
            der = base64.b64decode(log["publicKey"]["rawBytes"])
            log_id = base64.b64decode(log["logId"]["keyId"])
            # RFC 6962, 3.2: "the SHA-256 hash of the log's public key".
            assert log_id == sha256(der), "the log id is not the hash of the log's key"
            self.log_keys[log_id] = serialization.load_der_public_key(der)

    def issuer_of(self, leaf: x509.Certificate) -> x509.Certificate:
        for issuer, *_ in self.chains:
            if issuer.subject == leaf.issuer:
                leaf.verify_directly_issued_by(issuer)
                return issuer
        raise AssertionError("no issuing CA of the trust config has signed this certificate")


@dataclass(frozen=True)
class LoggedPrecertificate:
    """What an SCT binds: equal to the log's entry, or the log has another one."""

    timestamp_ms: int
    issuer_key_hash: bytes
    tbs: bytes
    extensions: bytes

    def timestamped_entry(self) -> bytes:
        """RFC 6962, 3.4 `TimestampedEntry` of a `precert_entry`."""
        return b"".join(
            (
                struct.pack(">QH", self.timestamp_ms, 1),
                self.issuer_key_hash,
                len(self.tbs).to_bytes(3, "big"),
                self.tbs,
                struct.pack(">H", len(self.extensions)),
                self.extensions,
            )
        )

    def leaf_index(self) -> int:
        """static-ct-api: the one extension is leaf_index(0), a uint40."""
        kind, length = struct.unpack_from(">BH", self.extensions)
        assert (kind, length, len(self.extensions)) == (0, 5, 8), self.extensions.hex()
        return int.from_bytes(self.extensions[3:], "big")


def verified_sct(leaf: x509.Certificate, trust: Trust) -> LoggedPrecertificate:
    """The one SCT in `leaf`, after its signature verified (RFC 6962, 3.2)."""
    scts = leaf.extensions.get_extension_for_class(
        x509.PrecertificateSignedCertificateTimestamps
    ).value
    assert len(scts) == 1, f"{len(scts)} SCTs where clients take exactly one"
    (sct,) = scts
    assert sct.entry_type == x509.certificate_transparency.LogEntryType.PRE_CERTIFICATE
    at = sct.timestamp.replace(tzinfo=timezone.utc)
    entry = LoggedPrecertificate(
        timestamp_ms=int(at.timestamp()) * 1000 + at.microsecond // 1000,
        issuer_key_hash=sha256(spki(trust.issuer_of(leaf))),
        tbs=leaf.tbs_precertificate_bytes,
        extensions=sct.extension_bytes,
    )
    assert sct.log_id in trust.log_keys, f"no log of the trust config has id {sct.log_id.hex()}"
    # version v1(0), signature_type certificate_timestamp(0).
    signed = b"\0\0" + entry.timestamped_entry()
    trust.log_keys[sct.log_id].verify(sct.signature, signed, ec.ECDSA(hashes.SHA256()))
    return entry


@dataclass(frozen=True)
class Checkpoint:
    """A signed tree head."""

    size: int
    root: bytes


def verified_checkpoint(note: bytes, trust: Trust) -> Checkpoint:
    """A checkpoint (c2sp.org/tlog-checkpoint) under a log key of `trust` (static-ct-api)."""
    text, signatures = note.decode().split("\n\n", 1)
    origin, size, root = text.split("\n")[:3]
    checkpoint = Checkpoint(int(size), base64.b64decode(root))
    for line in signatures.splitlines():
        dash, name, blob = line.split(" ")
        if dash != "\u2014" or name != origin:
            continue
        blob = base64.b64decode(blob)
        for log_id, key in trust.log_keys.items():
            # The note's key id of an RFC 6962 tree head signature: type 0x05, then the LogID.
            if blob[:4] == sha256(name.encode(), b"\n\x05", log_id)[:4]:
                verify_tree_head(checkpoint, blob[4:], key)
                return checkpoint
    raise AssertionError("no signature of a known log key on the checkpoint")


def verify_tree_head(checkpoint: Checkpoint, blob: bytes, key) -> None:
    """RFC 6962, 3.5, in the form static-ct-api puts into a note: timestamp, DigitallySigned."""
    timestamp, algorithm, length = blob[:8], blob[8:10], int.from_bytes(blob[10:12], "big")
    signature = blob[12:]
    assert algorithm == ECDSA_SHA256 and length == len(signature), blob.hex()
    # version v1(0), signature_type tree_hash(1).
    head = b"\0\1" + timestamp + struct.pack(">Q", checkpoint.size) + checkpoint.root
    key.verify(signature, head, ec.ECDSA(hashes.SHA256()))


def leaf_hash(entry: LoggedPrecertificate) -> bytes:
    """RFC 6962, 2.1 and 3.4: `MerkleTreeLeaf` is v1(0), timestamped_entry(0), the entry."""
    return sha256(b"\0", b"\0\0", entry.timestamped_entry())


def tree_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, `MTH`."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1", tree_root(leaves[:split]), tree_root(leaves[split:]))
