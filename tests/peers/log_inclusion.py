"""Checks that a log holds what its SCTs promise, read as any monitor reads it.

    log_inclusion.py LOG_URL TRUST CHECKPOINTS < LEAVES_PEM

Each certificate on standard input must verify under an SCT of the log, and the entry at that SCT's
index, read from the data tiles, must be that precertificate. All entries together must have the
root that the signed checkpoint names, the hash tiles must repeat them, and so must the older
checkpoints: CHECKPOINTS is a file of those seen so far, to which this one is appended. So an entry
that went missing, changed or moved between two runs shows.

Prints `ok N of SIZE`: N certificates, each in a log of SIZE entries.
"""

import json
import os
import sys
import urllib.request

from cryptography import x509

import ct

TILE_WIDTH = 256  # static-ct-api: tiles have 256 hashes or entries
TIMEOUT_SECONDS = 10


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
        return response.read()


def tile_path(index: int, size: int) -> str:
    """c2sp.org/tlog-tiles: three digits a step, `x` before all but the last, `.p/W` if partial."""
    steps = [f"{index % 1000:03}"]
    while index := index // 1000:
        steps.insert(0, f"x{index % 1000:03}")
    width = size % TILE_WIDTH
    return "/".join(steps) + (f".p/{width}" if width else "")


class Reader:
    """Takes TLS presentation language apart."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, length: int) -> bytes:
        part = self.data[self.at : self.at + length]
        assert len(part) == length, "a tile ends in the middle of an entry"
        self.at += length
        return part

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "big")

    def vector(self, prefix_length: int) -> bytes:
        return self.take(self.number(prefix_length))

    def precertificate(self) -> tuple[ct.LoggedPrecertificate, bytes]:
        """static-ct-api `TileLeaf`, and the fingerprints of its chain."""
        timestamp_ms, entry_type = self.number(8), self.number(2)
        assert entry_type == 1, f"entry of type {entry_type} in a log of precertificates"
        issuer_key_hash, tbs, extensions = self.take(32), self.vector(3), self.vector(2)
        self.vector(3)  # the precertificate itself, which no hash covers
        entry = ct.LoggedPrecertificate(timestamp_ms, issuer_key_hash, tbs, extensions)
        return entry, self.vector(2)


class Log:
    """All entries of a log up to a verified checkpoint."""

    def __init__(self, url: str, trust: ct.Trust):
        self.url, self.entries, fingerprints = url, [], set()
        self.checkpoint = ct.verified_checkpoint(fetch(f"{url}/checkpoint"), trust)
        size = self.checkpoint.size
        for first in range(0, size, TILE_WIDTH):
            width = min(TILE_WIDTH, size - first)
            path = tile_path(first // TILE_WIDTH, width)
            tile = Reader(fetch(f"{url}/tile/data/{path}"))
            start = len(self.entries)
            for index in range(first, first + width):
                entry, chain = tile.precertificate()
                assert entry.leaf_index() == index, f"entry {index} names another index"
                self.entries.append(ct.leaf_hash(entry))
                fingerprints.update(chain[at : at + 32] for at in range(0, len(chain), 32))
            assert tile.at == len(tile.data), f"more than {width} entries in data tile {path}"
            hashes = fetch(f"{url}/tile/0/{path}")
            assert hashes == b"".join(self.entries[start:]), f"hash tile 0/{path} differs"
        assert ct.tree_root(self.entries) == self.checkpoint.root, "the checkpoint's root differs"
        assert fingerprints or size == 0, "entries without a chain"
        for fingerprint in fingerprints:
            issuer = fetch(f"{url}/issuer/{fingerprint.hex()}")
            assert ct.sha256(issuer) == fingerprint, f"issuer/{fingerprint.hex()} differs"

    def repeats(self, path: str) -> None:
        """Append-only: every earlier root is the root of a beginning of this log."""
        earlier = []
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                earlier = json.load(file)
        for size, root in earlier:
            assert size <= self.checkpoint.size, f"the log shrank below {size}"
            assert ct.tree_root(self.entries[:size]).hex() == root, f"root of size {size} changed"
        with open(path, "w", encoding="utf-8") as file:
            json.dump([*earlier, [self.checkpoint.size, self.checkpoint.root.hex()]], file)


def main() -> None:
    _, url, trust_file, checkpoints = sys.argv
    trust = ct.Trust(trust_file)
    log = Log(url, trust)
    log.repeats(checkpoints)
    pem = sys.stdin.buffer.read()
    leaves = x509.load_pem_x509_certificates(pem) if pem else []
    for leaf in leaves:
        entry = ct.verified_sct(leaf, trust)
        index = entry.leaf_index()
        assert index < log.checkpoint.size, f"the SCT promises entry {index}, the log has fewer"
        assert log.entries[index] == ct.leaf_hash(entry), f"entry {index} is another one"
    print("ok", len(leaves), "of", log.checkpoint.size)


main()
