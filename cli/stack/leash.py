"""Run a program that the kernel kills as soon as our process ends, however it ends.

Run as a script, ``leash.py PARENT PROGRAM ARGUMENT...``: it ties itself to its parent and becomes the program. A
script rather than a ``preexec_fn``, which runs Python between fork and exec and may deadlock in a threaded process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def leashed(argv: list[str]) -> list[str]:
    """The command line that runs ``argv`` on a leash; only Linux has one, elsewhere ``argv`` itself."""
    if sys.platform != "linux":
        return argv
    # -I and -S: nothing from the environment or site-packages, which halves the 20 ms that this costs.
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *argv]


def main(parent: int, argv: list[str]) -> None:
    """Tie this process to ``parent`` and become ``argv``."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the leash was on
        os._exit(0)
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        sys.exit(f"{argv[0]} cannot be run: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
