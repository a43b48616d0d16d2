"""Output that is nobody else's business: to standard output, or to a file that only its owner can read."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from schemas.errors import InvalidInput


@contextmanager
def private_output(path: Path | None) -> Iterator[BinaryIO]:
    """Where to write; a file appears complete or not at all. None is standard output.

    Raises:
        InvalidInput: the file cannot be written.
    """
    with _standard_output() if path is None else _whole_file(path) as out:
        yield out


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    yield sys.stdout.buffer
    sys.stdout.flush()


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    except OSError as error:
        raise InvalidInput(f"'{path}' cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(path)
    except OSError as error:
        raise InvalidInput(f"'{path}' cannot be written: {error.strerror}") from error
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()
