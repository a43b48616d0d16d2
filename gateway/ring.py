"""Sending to many sockets by one system call, where the kernel has io_uring.

A tick writes the same few bytes to thousands of sockets. One call for each costs more in entering and leaving the kernel, and
the interpreter, than nginx's own work for it; here up to ``SENDS_AT_ONCE`` are handed over together. All of them
are done, or refused, when the call returns (``MSG_DONTWAIT``), so no buffer has to outlive it and nothing completes later. The
kernel reports only those that did not take everything.

Layout and constants are the kernel's (``include/uapi/linux/io_uring.h``), stable since 5.17.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
from array import array
from collections.abc import Iterator, Sequence
from struct import Struct, unpack_from
from typing import Final, NamedTuple, Self

from schemas.errors import ScoreStreamError

SENDS_AT_ONCE: Final = 256

_SETUP, _ENTER = 425, 426  # system calls, the same on every architecture
_OFFSET_OF_ENTRIES: Final = 0x10000000
_ENTRY_BYTES, _RESULT_BYTES = 64, 16
_OPERATION_SEND: Final = 26
_ONLY_FAILURES: Final = 1 << 6  # IOSQE_CQE_SKIP_SUCCESS
_HAS_ONLY_FAILURES: Final = 1 << 11  # IORING_FEAT_CQE_SKIP
_SINGLE_MAPPING: Final = 1 << 0  # IORING_FEAT_SINGLE_MMAP
# Less than everything counts as a failure, so that it is reported (MSG_WAITALL); and nothing waits (MSG_DONTWAIT).
_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_WAITALL | socket.MSG_NOSIGNAL

# operation, flags, priority, descriptor, offset, address, length, message flags, which send this is
_ENTRY: Final = Struct("=BBHiQQIIQ")
_RESULT: Final = Struct("=QiI")


class RingUnavailable(ScoreStreamError):
    """This kernel, or what confines this process, has no io_uring that does what we need."""


class Unfinished(NamedTuple):
    """A send that did not take everything."""

    number: int  # which of the descriptors
    sent: int  # bytes that were taken


class Ring:
    """Sends the same bytes to many sockets. For one thread."""

    def __init__(self) -> None:
        """Ask the kernel for a ring, and try it.

        Raises:
            RingUnavailable: it gives none, or one that does otherwise than we rely on.
        """
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        parameters = (ctypes.c_char * 120)()
        self._descriptor = self._call(_SETUP, SENDS_AT_ONCE, parameters)
        if self._descriptor < 0:
            raise RingUnavailable(f"io_uring: {os.strerror(ctypes.get_errno())}")
        entries, results, _, _, _, features = unpack_from("=6I", parameters, 0)
        # Where head, tail, mask, number, flags, dropped and the array of entries are; and of results.
        _, tail, _, _, _, _, order = unpack_from("=7I", parameters, 40)
        head_of_results, tail_of_results, _, _, _, first_result = unpack_from("=6I", parameters, 80)
        if not features & _HAS_ONLY_FAILURES or not features & _SINGLE_MAPPING:
            os.close(self._descriptor)
            raise RingUnavailable("io_uring: this kernel is older than 5.17")
        size = max(order + 4 * entries, first_result + _RESULT_BYTES * results)
        self._shared = mmap.mmap(self._descriptor, size)
        self._entries = mmap.mmap(self._descriptor, entries * _ENTRY_BYTES, offset=_OFFSET_OF_ENTRIES)
        whole = memoryview(self._entries)
        self._descriptors, self._addresses, self._lengths = whole.cast("i"), whole.cast("Q"), whole.cast("I")
        self._words = memoryview(self._shared).cast("I")
        self._tail, self._head_of_results, self._tail_of_results = (
            place // 4 for place in (tail, head_of_results, tail_of_results)
        )
        self._first_result, self._results = first_result, results
        for number in range(entries):
            self._words[order // 4 + number] = number  # entry n always stands in place n
            # Everything of an entry but descriptor, address and length stays as it is.
            _ENTRY.pack_into(
                self._entries,
                number * _ENTRY_BYTES,
                _OPERATION_SEND,
                _ONLY_FAILURES,
                0,
                0,
                0,
                0,
                0,
                _FLAGS,
                number,
            )
        self._ever = 0  # sends since the beginning, modulo 2^32, as the kernel counts
        try:
            self._try()
        except BaseException:
            self.close()
            raise

    def send(self, descriptors: Sequence[int], data: bytes) -> list[Unfinished]:
        """Send the same to some sockets, at most ``SENDS_AT_ONCE``; says which of them did not take everything.

        Raises:
            OSError: the kernel did not take the ring; what was sent is not known.
        """
        count, begin = len(descriptors), self._ever & SENDS_AT_ONCE - 1
        wanted = array("i", descriptors)
        address, length = array("Q", (address_of(data),)), array("I", (len(data),))
        first = min(count, SENDS_AT_ONCE - begin)  # then on from the first place
        for place, some in ((begin, wanted[:first]), (0, wanted[first:])):
            if some:
                end = place + len(some)
                self._descriptors[16 * place + 1 : 16 * end : 16] = some
                self._addresses[8 * place + 2 : 8 * end : 8] = address * len(some)
                self._lengths[16 * place + 6 : 16 * end : 16] = length * len(some)
        self._ever = self._words[self._tail] = self._ever + count & 0xFFFFFFFF
        self._enter(count)
        return [Unfinished(place - begin & SENDS_AT_ONCE - 1, sent) for place, sent in self._reports()]

    def _enter(self, count: int) -> None:
        while count:
            taken = self._call(_ENTER, self._descriptor, count, 0, 0, None, 0)
            if taken >= 0:
                count -= taken
            elif (number := ctypes.get_errno()) != errno.EINTR:
                raise OSError(number, os.strerror(number))

    def _reports(self) -> Iterator[tuple[int, int]]:
        """Place and bytes taken of each send that did not take everything."""
        words = self._words
        head, tail = words[self._head_of_results], words[self._tail_of_results]
        while head != tail:
            at = self._first_result + (head & self._results - 1) * _RESULT_BYTES
            place, result, _ = _RESULT.unpack_from(self._shared, at)
            yield place, max(0, result)
            head = head + 1 & 0xFFFFFFFF
        words[self._head_of_results] = head

    def close(self) -> None:
        """Give it back."""
        for view in (self._words, self._descriptors, self._addresses, self._lengths):
            view.release()
        self._entries.close()
        self._shared.close()
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _try(self) -> None:
        """What takes all is not reported; what takes a part says how much; what takes nothing, or is closed, says so."""
        data = bytes(1 << 20)
        near, far = socket.socketpair()
        with near, far:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
            far.setblocking(False)
            unfinished = [*self.send([near.fileno()], data[:100]), *self.send([near.fileno()] * 2, data)]
            arrived = 0
            while part := _received(far):
                arrived += part
        partial = unfinished[0].sent if unfinished else 0
        if (
            [one.number for one in unfinished] != [0, 1]
            or unfinished[1].sent
            or arrived != 100 + partial
            or not 0 <= partial < len(data)
        ):
            raise RingUnavailable(f"io_uring: it answered {unfinished} to a trial, {arrived} bytes arrived")


def address_of(data: bytes) -> int:
    """Where the bytes of an object are, for as long as there is the object."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def _received(connection: socket.socket) -> int:
    try:
        return len(connection.recv(1 << 16))
    except BlockingIOError:
        return 0
