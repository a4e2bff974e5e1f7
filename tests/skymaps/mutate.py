"""Broken sky maps made from good ones, for tests of the loader."""

from __future__ import annotations

import base64
import gzip

import numpy as np

CARD_VALUES = (
    b"-1",
    b"0",
    b"1",
    b"9223372036854775807",
    b"1E400",
    b"'NUNIQ'",
    b"'RING'",
    b"T",
    b"NaN",
    b"'1024E'",
    b"'PQ(1)'",
    b"'K'",
    b"'D'",
    b"'99999999999D'",
    b"''",
    b"65536",
    b"-64",
)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """A few random changes of a FITS file: bytes, cards, blocks, length, wrapping."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        _change(out, rng)
    wrapping = rng.integers(12)
    if wrapping == 0:
        packed = bytearray(gzip.compress(bytes(out), 1))
        _change(packed, rng)
        return bytes(packed)
    if wrapping == 1:
        text = bytearray(base64.b64encode(bytes(out)))
        _change(text, rng)
        return bytes(text)
    return bytes(out)


def _change(out: bytearray, rng: np.random.Generator) -> None:
    n = len(out)
    if n < 100:
        return
    kind = rng.integers(7)
    if kind == 0:  # some bytes anywhere
        for at in rng.integers(0, n, int(rng.integers(1, 20))):
            out[at] = int(rng.integers(256))
    elif kind == 1:  # one byte of the headers
        out[int(rng.integers(0, min(n, 12_000)))] = int(rng.integers(256))
    elif kind == 2:  # the value of a card
        card = int(rng.integers(0, min(n, 12_000) // 80)) * 80
        value = CARD_VALUES[int(rng.integers(len(CARD_VALUES)))]
        out[card + 10 : card + 10 + 20] = value.ljust(20)[:20]
    elif kind == 3:  # cut short
        del out[int(rng.integers(0, n)) :]
    elif kind == 4:  # a hole, or a piece twice
        at, length = int(rng.integers(0, n)), int(rng.integers(1, 5000))
        if rng.uniform() < 0.5:
            del out[at : at + length]
        else:
            out[at:at] = out[at : at + length]
    elif kind == 5:  # a number of the data replaced by an awkward one
        at = int(rng.integers(0, n - 8)) // 8 * 8
        awkward = (0.0, -1.0, np.nan, np.inf, 1e308, -1e308, 5e-324, -1.6375e30)
        out[at : at + 8] = np.array(awkward[int(rng.integers(8))], ">f8").tobytes()
    else:  # two cards swapped
        cards = rng.integers(0, min(n, 12_000) // 80, 2) * 80
        a, b = (slice(int(c), int(c) + 80) for c in cards)
        out[a], out[b] = out[b], out[a]
