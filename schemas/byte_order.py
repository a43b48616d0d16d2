"""Packed numbers are little-endian, whatever the machine is."""

from __future__ import annotations

import sys
from array import array


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
