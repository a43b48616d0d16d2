"""Reads what a receiver answers, within limits. No I/O: bytes in, in whatever pieces they come.

Why not an HTTP library: whoever answers may be hostile, and every byte of an answer has to count against a limit. A library's
reader goes on for as long as it likes over what it does not hand out, such as interim answers and chunk extensions, and
occupies the one thread that all other receivers wait for. The parser itself is llhttp, as strict as it comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import httptools

_KEPT_HEADER: Final = 1_024  # bytes of a header's value


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much one delivery may take.

    Attributes:
        seconds: for all of it: name, connection, request and answer.
        connect_seconds: for all addresses of a name together, TLS included.
        body_seconds: from the end of the answer's head. The status is known then; the rest is for the log only.
        head_bytes, answer_bytes: of the status line and headers, interim answers included; and of the whole answer.
        kept_bytes: of the body.
        idle_seconds: so long a connection waits for the next message. Servers close theirs after a minute or so; the
            later we use one, the likelier it has ended.
        idle_connections: that wait, of all receivers together; with TLS some 100 kB each.
        connection_seconds: no connection is used for longer: names, certificates and authorities change.
    """

    seconds: float = 15.0
    connect_seconds: float = 5.0
    body_seconds: float = 5.0
    head_bytes: int = 16_384
    answer_bytes: int = 65_536
    kept_bytes: int = 4_096
    idle_seconds: float = 15.0
    idle_connections: int = 512
    connection_seconds: float = 300.0


class AnswerReader:
    """The answer to one request: ``feed`` until it is ``finished``, and ``end`` when the connection does.

    What follows a status makes no failure of it: the receiver has said what it wanted to say.

    Attributes:
        status: None until the head has come to its end; that of an interim answer is none.
        error: why there is no status and will be none.
        wanted: the first header of the name that was given, in lower case, to the constructor.
        whole: the body came to its end.
        reusable: the connection may take another request.
        untouched: no byte of it came.
    """

    def __init__(self, limits: Limits, wanted: bytes | None) -> None:
        self.status: int | None = None
        self.error = ""
        self.retry_after: bytes | None = None
        self.wanted: bytes | None = None
        self.body = bytearray()
        self.whole = False
        self.reusable = False
        self.untouched = True
        self.finished = False
        self._limits = limits
        self._wanted_name = wanted
        self._read = 0
        self._measured = False  # the body has a length, or says itself where it ends
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Some more bytes."""
        self.untouched = False
        if self.finished:
            self.reusable = False  # nobody asked: it could pass for the answer to the next request
            return
        if self.status is None:
            # In two pieces, so that the head's limit is kept to the byte, however much comes at once.
            head = data[: self._limits.head_bytes - self._read]
            data = data[len(head) :]
            self._parse(head)
            if self.status is None and data:
                self._finish("the answer's headers are too long")
        if self.finished:
            self.reusable = self.reusable and not data
            return
        room = self._limits.answer_bytes - self._read
        self._parse(data[:room])
        if not self.finished and len(data) >= room:
            self._finish("the answer is too long")

    def end(self) -> None:
        """The connection has ended."""
        if self.finished:
            self.reusable = False
            return
        # Without a length, the end of the connection is the end of the body.
        self.whole = self.status is not None and not self._measured
        self._finish("the connection ended before an answer")

    def give_up(self) -> None:
        """It has taken too long."""
        if not self.finished:
            self._finish("no answer in time")

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            return
        self._read += len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # After the end, too: then it is what follows that is not HTTP.
            self.reusable = False
            if not self.finished:
                self._finish("the answer is not HTTP")

    def _finish(self, error: str) -> None:
        self.finished = True
        self.error = error if self.status is None else ""
        self._parser = (
            None  # which knows us: thousands of such pairs a second would be left to the garbage collector
        )

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.finished:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status is not None:
            return  # after a chunked body, or of a second answer: not what was asked for
        name = name.lower()
        if name == b"retry-after":
            self.retry_after = value[:_KEPT_HEADER]
        elif name in (b"content-length", b"transfer-encoding"):
            self._measured = True
        if name == self._wanted_name and self.wanted is None:
            self.wanted = value[:_KEPT_HEADER]

    def on_headers_complete(self) -> None:
        if self._parser is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status <= 199 and status != 101:
            self.retry_after = self.wanted = None
            self._measured = False
        elif self.status is None:
            self.status = status

    def on_body(self, body: bytes) -> None:
        if not self.finished and len(self.body) < self._limits.kept_bytes:
            self.body += body[: self._limits.kept_bytes - len(self.body)]

    def on_message_complete(self) -> None:
        if self.status is not None and self._parser is not None:
            self.whole = True
            self.reusable = self.status != 101 and self._parser.should_keep_alive()
            self._finish("")
