"""Peers that are not Python: nginx with Nchan from Debian's packages, Go programs from their modules."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from bench.environments import CannotSetUp

_ROOT: Final = Path(".scores/bench")
_NCHAN: Final = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


def nginx_with_nchan() -> tuple[str, Path]:
    """nginx, and its module.

    Raises:
        CannotSetUp: they are not installed.
    """
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or not _NCHAN.exists():
        raise CannotSetUp("not installed; apt-get install nginx-light libnginx-mod-nchan")
    return program, _NCHAN


def go_program(name: str, module: str) -> str:
    """The program ``name``: from the PATH, or built once from its module below ``.scores/bench``.

    Raises:
        CannotSetUp: there is neither the program nor a way to build it.
    """
    folder = (_ROOT / "go").absolute()
    built = folder / name
    found = shutil.which(name) or (str(built) if built.exists() else None)
    if found is not None:
        return found
    go = shutil.which("go")
    if go is None:
        raise CannotSetUp(f"neither {name} nor go is on the PATH")
    environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
    done = subprocess.run(
        [go, "install", module], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode or not built.exists():
        # Without the address that was asked: it belongs to the machine, not to the peer.
        said = [line.rsplit(": ", 1)[-1].strip() for line in done.stderr.splitlines() if line.strip()]
        raise CannotSetUp(f"go install {module}: {'; '.join(said[:2]) or 'no such program in it'}")
    return str(built)
