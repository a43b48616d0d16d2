"""Mutations that know nothing of what the bytes mean."""

from __future__ import annotations

from random import Random

_TELLING = b"\"\\{}[]:,<>&;'=/!?-+.eE0195 \t\r\n\x00\x01\x1f\x7f\x80\xbf\xc0\xe2\xed\xef\xf4\xfe\xff"


def garbled(data: bytes, rng: Random) -> bytes:
    """Some bytes flipped, overwritten, put in, taken out or repeated; most often few."""
    result = bytearray(data)
    for _ in range(1 + int(rng.random() ** 3 * 8)):
        at = rng.randrange(len(result) + 1)
        choice = rng.randrange(7)
        if choice == 0 and at < len(result):
            result[at] ^= 1 << rng.randrange(8)
        elif choice == 1 and at < len(result):
            result[at] = rng.choice(_TELLING)
        elif choice == 2:
            result[at:at] = bytes([rng.choice(_TELLING)]) * rng.choice((1, 1, 1, 2, 7, 300))
        elif choice == 3:
            result[at:at] = rng.randbytes(rng.randint(1, 8))
        elif choice == 4:
            del result[at : at + rng.choice((1, 1, 2, 3, 5, 17))]
        elif choice == 5:
            result[at:at] = result[at : at + rng.choice((1, 4, 20, 200))]
        elif rng.random() < 0.2:
            del result[at:]
    return bytes(result)


def spliced(data: bytes, other: bytes, rng: Random) -> bytes:
    """The beginning of one and the end of the other."""
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def framed(data: bytes, rng: Random) -> bytes:
    """The same text with something before or after it, in another encoding, or twice."""
    choice = rng.randrange(10)
    if choice == 0:
        return b"\xef\xbb\xbf" + data
    if choice == 1:
        return rng.choice((b" ", b"\n\t\r", b"\x00", b"\x0b", b"//\n", b"\x1f\x8b", b",")) + data
    if choice == 2:
        return data + rng.choice((b" ", b"\n\n", b"\x00", b"x", b"{}", b"]", b"}", b",", b"\xff", b"<a/>"))
    if choice == 3:
        encoding = rng.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp037", "latin-1"))
        return data.decode("utf-8", "replace").encode(encoding, "replace")
    if choice == 4:
        return data + data
    if choice == 5:
        return b"[" + data + b"]"
    if choice == 6:
        return b'"' + data + b'"'
    if choice == 7:
        return data[: rng.randrange(len(data) + 1)]
    if choice == 8:
        return rng.choice((b"", b"null", b"[]", b"{}", b'""', b"0", b"<a/>", b"\x00" * 9))
    return rng.randbytes(rng.randrange(300))
