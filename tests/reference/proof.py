"""Checks a proof of `hgad audit prove` without hgad, by Python's standard library alone.

    python3 tests/reference/proof.py part.tlog-proof line-3.key.pub

Written from the formats: https://c2sp.org/tlog-proof, https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note, RFC 6962 (section 2.1,
the tree) and RFC 8032 (section 5.1, Ed25519). It is slow and small; it checks one proof and keeps no secret.
"""

import base64
import hashlib
import sys

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def sha256(data):
    return hashlib.sha256(data).digest()


def point(data):
    """The point that 32 bytes are, as (X, Y, Z, T)."""
    y = int.from_bytes(data, "little")
    odd, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and odd):
        raise ValueError("no point of the curve")
    if x & 1 != odd:
        x = P - x
    return x, y, 1, x * y % P


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(count, p):
    total = (0, 1, 1, 0)
    while count:
        if count & 1:
            total = add(total, p)
        p, count = add(p, p), count >> 1
    return total


BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def signed(key, text, signature):
    """Whether the Ed25519 `signature` is that of `key` over `text`."""
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + text).digest(), "little") % L
    left, right = times(s, BASE), add(point(signature[:32]), times(h, point(key)))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))


def root(leaf, index, size, path):
    """The root of a tree of `size` leaves that has `leaf` in the place `index` (RFC 9162, section 2.1.3.2)."""
    if index >= size:
        sys.exit("the record is not among those that were signed")
    here, last, node = index, size - 1, leaf
    for other in path:
        if last == 0:
            sys.exit("the path is too long")
        if here & 1 or here == last:
            node = sha256(b"\1" + other + node)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            node = sha256(b"\1" + node + other)
        here, last = here >> 1, last >> 1
    if last:
        sys.exit("the path is too short")
    return node


def main(proof, public):
    statement, text, signatures = open(proof, "rb").read().decode().split("\n\n")
    header, extra, index, *path = statement.split("\n")
    if header != "c2sp.org/tlog-proof@v1" or not extra.startswith("extra ") or not index.startswith("index "):
        sys.exit("this is no proof")
    # NAME+ID+KEY, of which KEY is the algorithm (1: Ed25519) and 32 bytes.
    name, _, encoded = open(public).read().strip().split("+", 2)
    algorithm_and_key = base64.b64decode(encoded, validate=True)
    number = sha256(name.encode() + b"\n" + algorithm_and_key)[:4]
    rows = [row.split(" ") for row in signatures.strip("\n").split("\n")]
    found = [base64.b64decode(row[2]) for row in rows if row[:2] == ["\u2014", name]]
    text = (text + "\n").encode()
    if algorithm_and_key[0] != 1 or not any(
        bytes[:4] == number and signed(algorithm_and_key[1:], text, bytes[4:]) for bytes in found
    ):
        sys.exit(f"the checkpoint is not signed by {name}")
    origin, size, top = text.decode().split("\n")[:3]
    line = base64.b64decode(extra.removeprefix("extra "), validate=True)
    index, path = int(index.removeprefix("index ")), [base64.b64decode(row, validate=True) for row in path]
    if origin != name or root(sha256(b"\0" + line), index, int(size), path) != base64.b64decode(top):
        sys.exit(f"the line is not record {index} of the log that {name} signed")
    print(f"OK {name} signed: this is record {index} of {size}, counted from 0")
    print(line.decode())


main(*sys.argv[1:])
