"""Checks the SCT embedded in a certificate: sct_verify.py LEAF_PEM TRUST"""

import sys

from cryptography import x509

import ct

_, leaf_file, trust_file = sys.argv
with open(leaf_file, "rb") as file:
    leaf = x509.load_pem_x509_certificate(file.read())
entry = ct.verified_sct(leaf, ct.Trust(trust_file))
print("SCT ok: entry", entry.leaf_index(), "at", entry.timestamp_ms)
