"""Packed numbers are little-endian, whatever the machine is, and in arrays as narrow as they allow."""

from __future__ import annotations

import sys
from array import array
from typing import Final

CODES: Final = {1: "B", 2: "H", 4: "I"}  # bytes a number -> the array's code


def little_endian(numbers: array[int]) -> bytes:
    """An array's numbers, one after another."""
    return native(numbers).tobytes()


def native(numbers: array[int]) -> array[int]:
    """Little-endian numbers on this machine, or the other way round."""
    if sys.byteorder == "little":
        return numbers
    swapped = array(numbers.typecode, numbers)
    swapped.byteswap()
    return swapped


def narrowed(numbers: array[int]) -> array[int]:
    """Numbers of four bytes each, in as few as the largest needs."""
    most = max(numbers, default=0)
    width = 1 if most < 1 << 8 else 2 if most < 1 << 16 else 4
    return numbers if width == numbers.itemsize else array(CODES[width], numbers)
